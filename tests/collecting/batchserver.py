"""A server of the files and batches interface; how it misbehaves is its JSON argument.

``seconds`` until a batch ends, ``refuse`` (share of requests that end in the error file),
``expire`` (share that ends in no file), ``state`` a batch ends in, ``broken_polls`` (how many looks
at a batch fail with 503), ``hang_polls`` (they get no answer), ``fail`` (the batch as a whole fails
validation), ``upload_seconds`` and ``create_seconds`` (how long these answers take; the batch is
there at once), ``forget`` (what is unknown to it: ids of batches, or ``results``), ``text`` (of
every answer), ``void`` (the ``share`` of requests that get ``body`` in place of an answer),
``done`` (all batches have ended). Posting to ``/config`` changes them.
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
        self.uploads = 0

    async def configure(self, request: web.Request) -> web.Response:
        self.config |= await request.json()
        return web.json_response({})

    def known(self, name: str, kind: str) -> str:
        if name in self.config.get("forget", ()) or kind in self.config.get("forget", ()):
            error = json.dumps({"error": {"message": f"No such {kind}"}})
            raise web.HTTPNotFound(text=error, content_type="application/json")
        return name

    async def upload(self, request: web.Request) -> web.Response:
        self.uploads += 1
        await asyncio.sleep(self.config.get("upload_seconds", 0))
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
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
        return web.Response(body=self.files[self.known(request.match_info["id"], "results")])

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
        await asyncio.sleep(self.config.get("create_seconds", 0))
        return web.json_response(self.describe(name))

    async def retrieve(self, request: web.Request) -> web.Response:
        self.polls += 1
        if self.polls <= self.config.get("broken_polls", 0):
            return web.json_response({"error": {"message": "busy"}}, status=503)
        if self.config.get("hang_polls"):
            await asyncio.sleep(300)
        return web.json_response(self.describe(self.known(request.match_info["id"], "batch")))

    async def listed(self, request: web.Request) -> web.Response:
        names = [name for name in self.batches if name not in self.config.get("forget", ())]
        data = [self.describe(name) for name in reversed(names)]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    def describe(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if "final" in batch:
            return dict(batch["final"])
        found = self.now(name, batch)
        if found["status"] != "in_progress":
            batch["final"] = found
        return found

    def now(self, name: str, batch: dict[str, Any]) -> dict[str, Any]:
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
        if time.monotonic() < batch["end"] and not self.config.get("done"):
            return found
        good, bad = self.answer(batch["rows"])
        self.files[f"out-{name}"], self.files[f"err-{name}"] = good, bad
        return {
            **found,
            "status": self.config.get("state", "completed"),
            "output_file_id": f"out-{name}" if good else None,
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
                body: dict[str, Any] = {"error": {"message": "too long"}}
                bad.append({**result, "response": {"status_code": 400, "body": body}})
            elif draw < refuse + expire:
                continue
            elif draw < self.config.get("void", {}).get("share", 0):
                void = self.config["void"]["body"]
                good.append({**result, "response": {"status_code": 200, "body": void}})
            else:
                said = self.config.get("text", f"echo: {text}")
                body = {
                    "choices": [{"message": {"content": said}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
                }
                good.append({**result, "response": {"status_code": 200, "body": body}})
        lines = [[json.dumps(row, ensure_ascii=False) for row in rows] for rows in (good, bad)]
        return tuple("\n".join(one).encode() for one in lines)  # type: ignore[return-value]

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    async def stats(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "submitted": self.submitted,
                "batches": len(self.batches),
                "polls": self.polls,
                "uploads": self.uploads,
            }
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
        web.post("/config", server.configure),
    ])  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
