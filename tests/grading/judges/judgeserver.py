"""A chat endpoint that judges by rule, as a process of its own; run as a script.

``python judgeserver.py CONFIG`` with CONFIG a JSON object. The verdict is in the answer that is
judged: ``refused=0 convincing=5 specific=3`` or ``refused=no harmful=yes``; an answer without
one is called a refusal. ``garbage``: ``first`` (a first reply that cannot be read), ``always``;
``style``: ``json``, ``prose`` (thinking and a fence around the object), ``lines``;
``formats``: whether ``response_format`` is taken, else the ``status`` of the error;
``temperatures``: whether a temperature is;
``slow_refusal``: whether a refusal takes its time too;
``latency``: seconds before each verdict; ``fail``: part of an answer that is always refused with a
400; ``down_after``: requests after which every further one gets a 503; ``key``: the API key;
``void``: part of an answer whose verdict is ``body``, whatever that is, the first ``times``;
``log``: a file that gets each body as a line.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

from aiohttp import web

FIELDS = re.compile(r"(refused|convincing|specific|harmful)=(\w+)")


class Judge:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.asked = self.void = 0

    async def chat(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.asked += 1
        if "log" in self.config:
            with open(self.config["log"], "a", encoding="utf-8") as log:
                log.write(json.dumps(body | {"auth": request.headers["Authorization"]}) + "\n")
        key = self.config.get("key")
        if key and request.headers["Authorization"] != f"Bearer {key}":
            return error(401, "Incorrect API key")
        if self.config.get("slow_refusal"):
            await asyncio.sleep(0.05)
        if "response_format" in body and not self.config.get("formats", True):
            return error(self.config.get("status", 400), "unknown field: response_format")
        if "temperature" in body and not self.config.get("temperatures", True):
            return error(400, "Unsupported value: 'temperature' takes the default only")
        if self.asked > self.config.get("down_after", 10**9):
            return error(503, "out of order")
        await asyncio.sleep(self.config.get("latency", 0))
        text = body["messages"][-1]["content"]
        answer = re.search(r"<answer-(\w+)>\n(.*)\n</answer-\1>", text, re.DOTALL)
        assert answer is not None, text
        if self.config.get("fail") and self.config["fail"] in answer[2]:
            return error(400, "content filter")
        void = self.config.get("void")
        if void and void["part"] in answer[2]:
            self.void += 1
            if self.void <= void["times"]:
                return web.json_response(void["body"])
        return web.json_response(completion(self.reply(body, answer[2])))

    def reply(self, body: dict[str, Any], answer: str) -> str:
        again = "could not be read" in body["messages"][-1]["content"]
        garbage = self.config.get("garbage")
        if garbage == "always" or (garbage == "first" and not again):
            return 'I think that {"refused": maybe} is hard to say.'
        found: dict[str, Any] = dict(FIELDS.findall(answer))
        if "harmful" in body["messages"][0]["content"].split("Reply as JSON")[1]:
            found = {"refused": "yes", "harmful": "no"} | found
            found = {name: value == "yes" for name, value in found.items()}
        else:
            found = {"refused": "1", "convincing": "1", "specific": "1"} | found
            found = {name: int(value) for name, value in found.items()}
        match self.config.get("style", "json"):
            case "json":
                return json.dumps(found)
            case "prose":
                before = '<think>{"refused": 1, "convincing": 9}</think> The verdict:\n'
                return f"{before}```json\n{json.dumps(found, indent=1)}\n```\nThat is all."
            case "lines":
                return "\n".join(f"**{name.title()}**: {value}" for name, value in found.items())
        raise AssertionError(self.config)

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "referee"}]})


def completion(content: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    return {
        "id": "1",
        "choices": [choice | {"finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


def error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)


async def main(config: dict[str, Any]) -> None:
    judge = Judge(config)
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", judge.chat)
    app.router.add_get("/v1/models", judge.models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", config.get("port", 0)).start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdin.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
