"""A stand-in for the Hugging Face Hub's HTTP interface, on loopback, in a process of its own.

It serves repositories, of datasets and of models, from folders: ``ROOT/OWNER/NAME/...``. Every
repository has one commit. What the clients of the hub call is answered as the hub does: repository
information and tree, ``paths-info``, and files with ``ETag`` and ``X-Repo-Commit``. A configuration
in JSON (the second argument) may make it fail: ``fail_first`` answers the first N file requests
with status 503; ``gated`` names repositories that answer 401; ``terms`` names those whose terms
must be accepted: they tell of themselves, and refuse access but to the token ``accepted``.

Usage: ``python hub_server.py ROOT [CONFIG]``; prints ``listening on URL``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

ROOT = Path(sys.argv[1])
CONFIG: dict[str, Any] = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
COMMIT: str = CONFIG.get("commit", "")
seen: list[str] = []
failures = {"left": int(CONFIG.get("fail_first", 0))}


def _error(status: int, code: str, message: str) -> web.Response:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return web.json_response({"error": message}, status=status, headers=headers)


def _repo(request: web.Request) -> tuple[str, Path]:
    name = f"{request.match_info['owner']}/{request.match_info['name']}"
    if name in CONFIG.get("gated", []):
        message = f"Access to dataset {name} is restricted. You must be authenticated to access it."
        raise _RefusedError(_error(401, "GatedRepo", message))
    folder = ROOT / name
    if not folder.is_dir():
        raise _RefusedError(_error(404, "RepoNotFound", "Repository not found"))
    revision = request.match_info.get("revision", "main")
    if revision not in ("main", _commit(name)):
        raise _RefusedError(_error(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
    return name, folder


class _RefusedError(Exception):
    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def _commit(name: str) -> str:
    commits: dict[str, str] = CONFIG.get("commits", {})
    return commits.get(name) or hashlib.sha1(name.encode()).hexdigest()


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    return {
        "type": "file",
        "oid": blob,
        "size": len(content),
        "path": path.relative_to(folder).as_posix(),
    }


async def info(request: web.Request) -> web.Response:
    name, folder = _repo(request)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return web.json_response(
        {
            "_id": hashlib.md5(name.encode()).hexdigest()[:24],
            "id": name,
            "author": name.partition("/")[0],
            "sha": _commit(name),
            "private": False,
            "gated": "manual" if name in CONFIG.get("terms", []) else False,
            "disabled": False,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2025-01-01T00:00:00.000Z",
            "downloads": 1,
            "likes": 1,
            "tags": [],
            "siblings": [
                {"rfilename": path.relative_to(folder).as_posix(), "size": path.stat().st_size}
                for path in files
            ],
        }
    )


async def auth_check(request: web.Request) -> web.Response:
    name, _ = _repo(request)
    allowed = request.headers.get("Authorization") == "Bearer accepted"
    if name in CONFIG.get("terms", []) and not allowed:
        return _error(403, "GatedRepo", f"Access to model {name} is restricted")
    return web.json_response({})


async def tree(request: web.Request) -> web.Response:
    _, folder = _repo(request)
    base = folder / request.match_info.get("path", "")
    if not base.exists():
        return _error(404, "EntryNotFound", "not found")
    recursive = request.query.get("recursive", "").lower() in ("true", "1")
    entries = []
    for path in sorted(base.rglob("*") if recursive else base.iterdir()):
        if path.is_file():
            entries.append(_entry(folder, path))
        else:
            name = path.relative_to(folder).as_posix()
            oid = hashlib.sha1(name.encode()).hexdigest()
            entries.append({"type": "directory", "oid": oid, "size": 0, "path": name})
    return web.json_response(entries)


async def paths_info(request: web.Request) -> web.Response:
    _, folder = _repo(request)
    if request.content_type == "application/json":
        wanted = (await request.json())["paths"]
    else:
        wanted = (await request.post()).getall("paths", [])
    found = [folder / str(path) for path in wanted]
    return web.json_response([_entry(folder, path) for path in found if path.is_file()])


async def resolve(request: web.Request) -> web.StreamResponse:
    name, folder = _repo(request)
    path = folder / request.match_info["path"]
    commit = {"X-Repo-Commit": _commit(name)}
    if not path.is_file():
        response = _error(404, "EntryNotFound", "Entry not found")
        response.headers.update(commit)
        return response
    if failures["left"] > 0:
        failures["left"] -= 1
        return web.Response(status=503, text="try again")
    entry = _entry(folder, path)
    headers = {**commit, "ETag": f'"{entry["oid"]}"', "Accept-Ranges": "bytes"}
    body = path.read_bytes()
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(len(body))})
    asked = request.http_range
    if asked.start is None and asked.stop is None:
        return web.Response(body=body, headers=headers)
    part = body[asked.start : asked.stop]
    start = asked.start or 0
    headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(body)}"
    return web.Response(status=206, body=part, headers=headers)


@web.middleware
async def _log(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.path != "/seen":
        seen.append(f"{request.method} {request.path}")
    try:
        return await handler(request)
    except _RefusedError as refused:
        return refused.response


async def _seen(request: web.Request) -> web.Response:
    return web.json_response(seen)


async def _main() -> None:
    app = web.Application(middlewares=[_log])
    app.router.add_get("/seen", _seen)
    for kind, prefix in (("datasets", "/datasets"), ("models", "")):
        api = f"/api/{kind}/{{owner}}/{{name}}"
        app.router.add_get(api, info)
        app.router.add_get(api + "/revision/{revision}", info)
        app.router.add_get(api + "/auth-check", auth_check)
        app.router.add_get(api + "/tree/{revision}", tree)
        app.router.add_get(api + "/tree/{revision}/{path:.*}", tree)
        app.router.add_post(api + "/paths-info/{revision}", paths_info)
        app.router.add_get(prefix + "/{owner}/{name}/resolve/{revision}/{path:.*}", resolve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"listening on http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
