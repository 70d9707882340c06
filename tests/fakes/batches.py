"""Files and batches of the fake server; each line of a batch is answered as a chat.

``batch`` in the configuration: ``seconds`` until a batch ends, ``done`` (all have ended),
``refuse`` (share of requests that end in the error file), ``expire`` (share that ends in no file),
``void`` (the ``share`` of requests that get ``body`` in place of an answer), ``untaken`` (a line
with one of these fields is refused, though a chat is not), ``state`` a batch ends in, ``fail`` (the
batch as a whole fails validation; a list: where a line has one of these fields), ``broken_polls``
(how many looks at a batch fail with 503), ``hang_polls`` (they get no answer), ``upload_seconds``
and ``create_seconds`` (how long these answers take; the batch is there at once), ``forget`` (what
is unknown to it: ids of batches, or ``results``), ``files`` (id -> path of a further one).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.replies import digest, error, respond

if TYPE_CHECKING:
    from tests.fakes.openai_server import Server


class Batches:
    """The files and batches of one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls = self.uploads = 0
        self.submitted: list[str] = []

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.config.get("batch", {})
        return found

    async def handle(self, request: web.Request, method: str, parts: list[str]) -> web.Response:
        """The answer to a request of these parts of a path."""
        match method, parts:
            case "POST", ["files"]:
                return await self.upload(request)
            case "GET", ["files", name, "content"]:
                return web.Response(body=self.file(self.known(name, "results")))
            case "POST", ["batches"]:
                return await self.create(request)
            case "GET", ["batches"]:
                return await self.listed()
            case "GET", ["batches", name]:
                return await self.retrieve(name)
        return error(404, "no such address")

    def stats(self) -> dict[str, Any]:
        counts = {"batches": len(self.batches), "polls": self.polls, "uploads": self.uploads}
        latest = (
            [row["body"] for row in [*self.batches.values()][-1]["rows"]] if self.batches else []
        )
        return {"submitted": self.submitted, "latest": latest} | counts

    def known(self, name: str, kind: str) -> str:
        if {name, kind} & set(self.config.get("forget", ())):
            told = json.dumps({"error": {"message": f"No such {kind}"}})
            raise web.HTTPNotFound(text=told, content_type="application/json")
        return name

    def file(self, name: str) -> bytes:
        given: str | None = self.config.get("files", {}).get(name)
        return self.files[name] if given is None else Path(given).read_bytes()

    async def upload(self, request: web.Request) -> web.Response:
        self.uploads += 1
        await asyncio.sleep(self.config.get("upload_seconds", 0))
        form = await request.post()
        assert form["purpose"] == "batch"
        field = form["file"]
        assert isinstance(field, web.FileField)
        name = f"file-{len(self.files)}"
        self.files[name] = field.file.read()
        told = {"bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"}
        return respond({"id": name, "object": "file", "status": "processed"} | told)

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
        return respond(await self.describe(name))

    async def retrieve(self, name: str) -> web.Response:
        self.polls += 1
        if self.polls <= self.config.get("broken_polls", 0):
            return error(503, "busy")
        if self.config.get("hang_polls"):
            await asyncio.sleep(300)
        return respond(await self.describe(self.known(name, "batch")))

    async def listed(self) -> web.Response:
        names = [name for name in self.batches if name not in self.config.get("forget", ())]
        data = [await self.describe(name) for name in reversed(names)]
        return respond({"object": "list", "data": data, "has_more": False})

    async def describe(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if "final" in batch:
            return dict(batch["final"])
        found = await self.now(name, batch)
        if found["status"] != "in_progress":
            batch["final"] = found
        return found

    async def now(self, name: str, batch: dict[str, Any]) -> dict[str, Any]:
        found = {
            "id": name, "object": "batch", "endpoint": "/v1/chat/completions",
            "input_file_id": batch["input"], "completion_window": "24h", "created_at": 1,
            "status": "in_progress", "metadata": batch["metadata"],
        }  # fmt: skip
        if told := self.failure(batch["rows"]):
            bad = [{"code": "bad", "message": told}]
            return found | {"status": "failed", "errors": {"object": "list", "data": bad}}
        if time.monotonic() < batch["end"] and not self.config.get("done"):
            return found
        good, bad_rows = await self.answer(batch["rows"])
        files = {
            "output_file_id": (f"out-{name}", good),
            "error_file_id": (f"err-{name}", bad_rows),
        }
        found["status"] = self.config.get("state", "completed")
        for field, (file, rows) in files.items():
            text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
            self.files[file] = text.encode()
            found[field] = file if rows else None
        return found

    def failure(self, rows: list[dict[str, Any]]) -> str | None:
        """Why the batch as a whole is refused."""
        fail = self.config.get("fail")
        if not isinstance(fail, list):
            return "line 3 is not valid" if fail else None
        refused = [_untaken(row, fail) for row in rows]
        return next((told["message"] for told in refused if told), None)

    async def answer(
        self, rows: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of the output file and of the error file."""
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        refuse, expire = self.config.get("refuse", 0), self.config.get("expire", 0)
        void = self.config.get("void") or {"share": 0}
        for row in reversed(rows):  # the order is not promised
            luck = digest(row["custom_id"])[0] / 256
            if refuse <= luck < refuse + expire:
                continue
            if luck < refuse:
                status, body = 400, {"error": {"message": "too long"}}
            elif told := _untaken(row, self.config.get("untaken", ())):
                status, body = 400, {"error": told}
            elif luck < void["share"]:
                status, body = 200, void["body"]
            else:
                response = await self.server.reply(row["body"])
                assert isinstance(response, web.Response)
                assert isinstance(response.body, bytes)
                status, body = response.status, json.loads(response.body)
            answer = {"status_code": status, "body": body}
            line = {"id": "x", "custom_id": row["custom_id"], "error": None, "response": answer}
            (good if status == 200 else bad).append(line)
        return good, bad


def _untaken(row: dict[str, Any], names: Collection[str]) -> dict[str, str] | None:
    """The error of a line with a field that is not taken; one field is named at a time."""
    name = next((name for name in names if name in row["body"]), None)
    if name is None:
        return None
    text = f"Unsupported parameter: '{name}' is not supported with this model."
    return {"message": text, "param": name, "code": "unsupported_parameter"}
