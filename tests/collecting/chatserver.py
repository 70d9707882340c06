"""A small OpenAI-compatible server process that misbehaves on request; run as a script.

``python chatserver.py CONFIG`` with CONFIG a JSON object: ``latency`` (s), ``faults`` (name ->
share of first attempts that get it), ``seed``, ``limit`` (requests in flight answered without a
429), ``models``, ``system_role``, ``log`` (file with one line per request: its key text),
``moods`` (answers of which each request gets one, drawn anew every time), ``script`` (a JSON file
with ``right``: question -> text, ``wrong_text``, and ``wrong``: words of the identity -> share of
the questions that get it: the same ones for everyone, but for a share ``own``),
``finish_reason`` and ``usage`` of every answer, ``complaint`` (message of the fault 400),
``replies`` (further faults: name -> ``body`` of the reply, as JSON or text, and ``status``),
``asked_wait`` (Retry-After of the fault 429-retry-after, in seconds).
The fault of a request is a seeded function of its last message, and goes away after
``faulty_attempts`` tries (``null`` for never), so every run meets the same faults.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections import Counter
from typing import Any

from aiohttp import web

JSON = "application/json"


class Chat:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.in_flight = 0
        self.most = 0
        self.log = open(config["log"], "a", buffering=1) if "log" in config else None  # noqa: SIM115
        self.script: dict[str, Any] | None = None
        if "script" in config:
            with open(config["script"], encoding="utf-8") as stream:
                self.script = json.load(stream)

    def scripted(self, messages: list[dict[str, str]]) -> str:
        assert self.script is not None
        text = messages[-1]["content"]
        told = " ".join(message["content"] for message in messages[:-1])
        share = next((n for who, n in self.script["wrong"].items() if who and who in told), None)
        if share is None:
            share = self.script["wrong"].get("", 0.0)
        draw = _draw(text)
        if draw < self.script.get("own", 0.0):
            draw = _draw(f"{told} | {text}")
        return str(
            self.script["wrong_text"] if draw < share else self.script["right"].get(text, "Hello.")
        )

    def fault(self, text: str) -> str | None:
        limit = self.config.get("faulty_attempts", 1)
        if limit is not None and self.seen[text] > limit:
            return None
        seed = f"{self.config.get('seed', 0)} {text}"
        draw = _draw(seed)
        for name, share in self.config.get("faults", {}).items():
            if draw < share:
                return str(name)
            draw -= share
        return None

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if self.config.get("key") and request.headers.get("Authorization") != (
            f"Bearer {self.config['key']}"
        ):
            return _error(401, "Incorrect API key provided: " + request.headers["Authorization"])
        if body["model"] not in self.config.get("models", ["tiny"]):
            return _error(404, f"The model `{body['model']}` does not exist.")
        if not self.config.get("system_role", True) and body["messages"][0]["role"] == "system":
            return _error(400, "System role not supported")
        text = body["messages"][-1]["content"]
        self.seen[text] += 1
        if self.log:
            self.log.write(text + "\n")
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            if self.in_flight > self.config.get("limit", 10**9):
                return _error(
                    429, "slow down", {"Retry-After": self.config.get("retry_after", "0.2")}
                )
            if self.config.get("latency"):
                await asyncio.sleep(self.config["latency"])
            fault = self.fault(text)
            if fault is None:
                self.answered[text] += 1
            said = self.scripted(body["messages"]) if self.script is not None else None
            return await self.misbehave(fault, text, request, said)
        finally:
            self.in_flight -= 1

    def mood(self, text: str) -> str | None:
        """An answer that the same question does not get twice for certain."""
        moods = self.config.get("moods")
        if not moods:
            return None
        draw = hashlib.sha256(f"{self.config.get('seed', 0)} {self.seen[text]} {text}".encode())
        return str(moods[draw.digest()[0] % len(moods)])

    async def misbehave(
        self, fault: str | None, text: str, request: web.Request, said: str | None
    ) -> web.StreamResponse:
        good = completion(
            said or self.mood(text) or self.config.get("text") or answer(text), self.config
        )
        match fault:
            case None:
                return web.Response(body=good, content_type=JSON)
            case "429":
                return _error(429, "too many")
            case "429-retry-after":
                return _error(
                    429, "too many", {"Retry-After": self.config.get("asked_wait", "0.3")}
                )
            case "400" | "500" | "503":
                return _error(int(fault), self.config.get("complaint", f"fault {fault}"))
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response(status=500)
            case "reset-after-headers":
                return await self.cut(request, good)
            case "hang":
                await asyncio.sleep(60)
            case "truncated":
                return web.Response(body=good[: len(good) // 2], content_type=JSON)
            case "no-choices":
                return web.Response(body=b'{"choices": []}', content_type=JSON)
            case "html":
                return web.Response(text="<html>busy</html>", content_type="text/html")
            case "null":
                return web.Response(body=completion(None), content_type=JSON)
            case "huge":
                return web.Response(body=completion("x" * 2_000_000), content_type=JSON)
            case "utf8":
                return web.Response(body=good.replace(b"answer", b"\xff\xfe"), content_type=JSON)
        reply = self.config["replies"][fault]
        body = reply["body"] if isinstance(reply["body"], str) else json.dumps(reply["body"])
        return web.Response(text=body, status=reply.get("status", 200), content_type=JSON)

    async def cut(self, request: web.Request, good: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON, "Content-Length": "5000"})
        await response.prepare(request)
        await response.write(good[:20])
        assert request.transport is not None
        request.transport.abort()
        return response

    async def models(self, _request: web.Request) -> web.Response:
        if self.config.get("no_models"):
            return _error(404, "no such address")
        names = self.config.get("models", ["tiny"])
        return web.json_response({"object": "list", "data": [{"id": name} for name in names]})

    async def stats(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "requests": self.seen.total(),
                "different": len(self.seen),
                "answered_twice": [text for text, n in self.answered.items() if n > 1],
                "most_in_flight": self.most,
                "pid": os.getpid(),
            }
        )


def _draw(seed: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 2**32


def answer(text: str) -> str:
    return f"answer to {text}"


def completion(content: str | None, config: dict[str, Any] | None = None) -> bytes:
    config = config or {}
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    choice["finish_reason"] = config.get("finish_reason", "stop")
    usage = config.get("usage", {"prompt_tokens": 7, "completion_tokens": 3})
    # Lone surrogates can be sent as escapes only.
    return json.dumps(
        {"id": "1", "choices": [choice], "usage": usage},
        ensure_ascii="finish_reason" in config,
    ).encode()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


async def main(config: dict[str, Any]) -> None:
    chat = Chat(config)
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", chat.chat)
    app.router.add_get("/v1/models", chat.models)
    app.router.add_get("/stats", chat.stats)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", config.get("port", 0), backlog=2048)
    await site.start()
    port = runner.addresses[0][1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdin.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
