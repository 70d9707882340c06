"""A fake OpenAI-compatible server: chats, models, files, batches; it misbehaves by name.

``python -m tests.fakes.openai_server CONFIG`` from the root of this repository, with CONFIG a JSON
object; prints ``listening on URL`` and ends with its standard input. It is asked under ``/v1`` and
under the other prefixes that real servers have. Tests start it by the fixture ``fake_server``.

What may be configured, all of it optional:

* ``mode``: one behaviour for all requests, by its name in ``modes.py``: a fault, or a list of
  models. The answers are then those of an oracle, and any model's name is taken.
* ``faults`` (name -> share of requests that get it, a seeded function of their last message),
  ``seed``, ``faulty_attempts`` (after so many tries a fault goes away, ``null`` for never),
  ``replies`` (further faults: name -> ``body`` of the reply, as JSON or text, and ``status``).
* ``turns``: replies to the first requests, as in ``replies``; ``null`` for one that is answered
  as all others are.
* What is said: see ``answers.py``. ``finish_reason`` and ``usage`` of every good answer.
* ``models`` (the names that are served; ``null``: no list, and any name is taken), ``any_model``
  (those outside the list are taken as well), ``listing`` (another reply in place of the
  list: as in ``replies``, or a name of ``LISTINGS`` in ``modes.py``), ``listing_seconds``.
* ``key`` (the only API key accepted), ``system_role``, ``latency`` (s), ``limit`` (requests in
  flight that are answered without a 429) with ``retry_after``, ``down_after`` (requests after which
  every further one gets a 503), ``port``.
* ``completions``: the route of that name is there too, and answers a plain text's last turn.
* ``log``: a file with a line for each request, see ``seen``.
* ``tls``: a certificate and its key, two files.
* ``batch``: see ``batches.py``.
* ``tokenizer``: a model folder whose tokenizer answers at ``/tokenize``; ``special`` puts special
  tokens before chats as well, which vLLM does not do by itself.

``GET /stats`` tells what has happened. Posting to ``/config`` changes the configuration; posting to
``/reset`` makes it a new server with the one posted.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from collections import Counter
from typing import Any

from aiohttp import web

from tests.fakes.answers import Speaker
from tests.fakes.batches import Batches
from tests.fakes.faults import FAULTS
from tests.fakes.modes import LISTINGS, MODES
from tests.fakes.replies import Ask, draw, error, given, respond

PREFIXES = ("/v1", "/api/v1", "", "/openai/v1", "/a b/v1")


class Server:
    """The state behind all addresses."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config: dict[str, Any] = {}
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.in_flight = self.most = 0
        self.started = time.monotonic()
        self.change(config)
        self.log = open(config["log"], "a", buffering=1) if "log" in config else None  # noqa: SIM115
        self.batches = Batches(self)

    def change(self, config: dict[str, Any]) -> None:
        """Take over these keys; a mode stands for keys of its own, and for all of them."""
        if "mode" in config:
            self.config = dict(MODES[config["mode"]])
        if "batch" in config:
            config = config | {"batch": self.config.get("batch", {}) | config["batch"]}
        self.config |= config
        self.speaker = Speaker(self.config)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        auth = request.headers.get("Authorization", "none")
        if self.config.get("key") and auth != f"Bearer {self.config['key']}":
            return error(401, f"Incorrect API key provided: {auth}")
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            return await self.reply(body, request)
        finally:
            self.in_flight -= 1

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """The completions route: it goes on with a plain text, whose last turn it answers."""
        body = json.loads(await request.read())
        question = body.pop("prompt").rpartition("User: ")[2].removesuffix("\nAssistant:")
        chat = await self.reply(body | {"messages": [{"role": "user", "content": question}]})
        if not isinstance(chat, web.Response) or chat.status != 200:
            return chat
        assert isinstance(chat.body, bytes)
        told = json.loads(chat.body)
        for choice in told["choices"]:
            choice["text"] = f" {choice.pop('message')['content']}"
        return respond(told | {"object": "text_completion"})

    async def reply(
        self, body: dict[str, Any], request: web.Request | None = None
    ) -> web.StreamResponse:
        """The answer to one request, of a chat or of a batch (which has no ``request``)."""
        config, messages = self.config, body["messages"]
        known = config.get("models", ["tiny"])
        if known is not None and not config.get("any_model") and body["model"] not in known:
            return error(404, f"The model `{body['model']}` does not exist.")
        if not config.get("system_role", True) and messages[0]["role"] == "system":
            return error(400, "System role not supported")
        text = messages[-1]["content"] if messages else ""
        self.seen[text] += 1
        number, attempt = self.seen.total(), self.seen[text]
        turns = config.get("turns", [])
        if number <= len(turns) and turns[number - 1] is not None:
            return given(turns[number - 1])
        if number > config.get("down_after", 10**9):
            return error(503, "out of order")
        if self.in_flight > config.get("limit", 10**9):
            return error(
                429, "slow down", headers={"Retry-After": config.get("retry_after", "0.2")}
            )
        await asyncio.sleep(config.get("latency", 0))
        fault = self.fault(text)
        if fault is None:
            self.answered[text] += 1
        said = self.speaker.say(body, attempt)
        if isinstance(said, web.Response):
            return said
        age = time.monotonic() - self.started
        ask = Ask(body, said, number, config, age, request)
        if fault is None:
            return ask.good()
        if fault in config.get("replies", {}):
            return given(config["replies"][fault])
        return await FAULTS[fault](ask)

    def fault(self, text: str) -> str | None:
        """The fault of this request: every run meets the same ones."""
        limit = self.config.get("faulty_attempts", 1)
        if limit is not None and self.seen[text] > limit:
            return None
        share = draw(f"{self.config.get('seed', 0)} {text}")
        for name, part in self.config.get("faults", {}).items():
            if share < part:
                return str(name)
            share -= part
        return None

    async def models(self) -> web.Response:
        await asyncio.sleep(self.config.get("listing_seconds", 0))
        if "listing" in self.config:
            listing = self.config["listing"]
            return LISTINGS[listing]() if isinstance(listing, str) else given(listing)
        names = self.config.get("models", ["tiny"])
        if names is None:
            return error(404, "no such address")
        data = [{"id": name, "object": "model"} for name in names]
        return respond({"object": "list", "data": data})

    def tokenize(self, body: dict[str, Any]) -> list[int]:
        """The tokens of a text or of a chat, as ``vllm serve`` tells them."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.config["tokenizer"])
        text, special = body.get("prompt"), body.get("add_special_tokens", True)
        if text is None:
            text = tokenizer.apply_chat_template(
                body["messages"], tokenize=False, add_generation_prompt=True
            )
            special = self.config.get("special", False)
        tokens: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
        return tokens

    def stats(self) -> web.Response:
        told = {
            "requests": self.seen.total(),
            "different": len(self.seen),
            "answered_twice": [text for text, n in self.answered.items() if n > 1],
            "most_in_flight": self.most,
            "pid": os.getpid(),
        }
        return respond(told | self.batches.stats())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer to any request."""
        path = request.path
        if self.log and path not in ("/stats", "/config"):  # before anything may go wrong
            line = await seen(request)
            self.log.write(json.dumps(line) + "\n")
        prefix = max((one for one in PREFIXES if path.startswith(f"{one}/")), key=len)
        match request.method, path.removeprefix(prefix).split("/")[1:]:
            case "POST", ["chat", "completions"]:
                return await self.chat(request)
            case "POST", ["completions"] if self.config.get("completions"):
                return await self.complete(request)
            case "GET", ["models"]:
                return await self.models()
            case "POST", ["tokenize"]:
                return respond({"tokens": self.tokenize(await request.json())})
            case "GET", ["stats"]:
                return self.stats()
            case "POST", ["config"]:
                self.change(await request.json())
                return respond({})
            case method, parts:
                return await self.batches.handle(request, method, parts)


async def seen(request: web.Request) -> dict[str, Any]:
    """What the log tells of a request."""
    assert request.transport is not None
    return {
        "t": time.time(),
        "method": request.method,
        "path": request.path,
        "peer": request.transport.get_extra_info("peername"),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "query": dict(request.query),
        "body": await request.json() if request.content_type == "application/json" else None,
    }


async def main(config: dict[str, Any]) -> None:
    server = Server(config)

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal server
        if request.path != "/reset":
            return await server.handle(request)
        server = Server(await request.json())
        return respond({})

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    tls = None
    if "tls" in config:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*config["tls"])
    port = config.get("port", 0)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, backlog=2048).start()
    origin = "https://localhost" if tls else "http://127.0.0.1"
    print(f"listening on {origin}:{runner.addresses[0][1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdin.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
