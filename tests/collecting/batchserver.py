"""A server of the files and batches interface; how it misbehaves is its JSON argument.

``seconds`` until a batch ends, ``refuse`` (share of requests that end in the error file),
``expire`` (share that ends in no file), ``state`` a batch ends in, ``broken_polls`` (how many looks
at a batch fail with 503), ``fail`` (the batch as a whole fails validation).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from typing import Any

from aiohttp import web


class Server:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls = 0
        self.submitted: list[str] = []

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": 1,
                "created_at": 1,
                "filename": "f",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = f"batch_{len(self.batches)}"
        rows = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        self.submitted += [row["custom_id"] for row in rows]
        self.batches[name] = {
            "rows": rows,
            "end": time.monotonic() + self.config.get("seconds", 0),
            "metadata": body.get("metadata"),
            "input": body["input_file_id"],
        }
        return web.json_response(self.describe(name))

    async def retrieve(self, request: web.Request) -> web.Response:
        self.polls += 1
        if self.polls <= self.config.get("broken_polls", 0):
            return web.json_response({"error": {"message": "busy"}}, status=503)
        return web.json_response(self.describe(request.match_info["id"]))

    async def listed(self, request: web.Request) -> web.Response:
        data = [self.describe(name) for name in reversed(self.batches)]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    def describe(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        found = {
            "id": name, "object": "batch", "endpoint": "/v1/chat/completions",
            "input_file_id": batch["input"], "completion_window": "24h", "created_at": 1,
            "status": "in_progress", "metadata": batch["metadata"],
        }  # fmt: skip
        if self.config.get("fail"):
            return {
                **found,
                "status": "failed",
                "errors": {
                    "object": "list",
                    "data": [{"code": "bad", "message": "line 3 is not valid"}],
                },
            }
        if time.monotonic() < batch["end"]:
            return found
        good, bad = self.answer(batch["rows"])
        self.files[f"out-{name}"], self.files[f"err-{name}"] = good, bad
        return {
            **found,
            "status": self.config.get("state", "completed"),
            "output_file_id": f"out-{name}",
            "error_file_id": f"err-{name}" if bad else None,
        }

    def answer(self, rows: list[dict[str, Any]]) -> tuple[bytes, bytes]:
        good, bad = [], []
        refuse, expire = self.config.get("refuse", 0), self.config.get("expire", 0)
        for row in reversed(rows):  # the order is not promised
            draw = hashlib.sha256(row["custom_id"].encode()).digest()[0] / 256
            text = row["body"]["messages"][-1]["content"]
            result = {"id": "x", "custom_id": row["custom_id"], "error": None}
            if draw < refuse:
                body = {"error": {"message": "too long"}}
                bad.append({**result, "response": {"status_code": 400, "body": body}})
            elif draw < refuse + expire:
                continue
            else:
                body = {
                    "choices": [{"message": {"content": f"echo: {text}"}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
                }
                good.append({**result, "response": {"status_code": 200, "body": body}})
        return tuple("\n".join(map(json.dumps, rows)).encode() for rows in (good, bad))  # type: ignore[return-value]

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    async def stats(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"submitted": self.submitted, "batches": len(self.batches), "polls": self.polls}
        )


async def main() -> None:
    server = Server(json.loads(sys.argv[1]))
    app = web.Application(client_max_size=10**9)
    app.add_routes([
        web.post("/v1/files", server.upload),
        web.get("/v1/files/{id}/content", server.content),
        web.post("/v1/batches", server.create),
        web.get("/v1/batches", server.listed),
        web.get("/v1/batches/{id}", server.retrieve),
        web.get("/v1/models", server.models),
        web.get("/stats", server.stats),
    ])  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
