"""OpenAI-compatible server of the embedded model, run as a module of its own process.

It listens on 127.0.0.1 only, prints one line when ready, and ends when the process that started it
ends or closes its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.models.chat import ChatRequest
from pytest_pbias.models.embedded import SERVED_NAME, locate
from pytest_pbias.models.embedded.batching import Batcher
from pytest_pbias.models.embedded.engine import Completion, Engine, Prompt
from pytest_pbias.models.embedded.requests import RequestError, parse_request

_MAX_BODY = 8 * 1024 * 1024
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Service:
    """One handler for each path of the server, all on the same engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._batcher = Batcher(engine)
        self._created = int(time.time())

    async def close(self, _: web.Application) -> None:
        await asyncio.to_thread(self._batcher.close)

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def models(self, _: web.Request) -> web.Response:
        entry = {
            "id": SERVED_NAME,
            "object": "model",
            "created": self._created,
            "owned_by": "pytest-pbias",
            "max_model_len": self._engine.context_length,
        }
        return web.json_response({"object": "list", "data": [entry]})

    async def chat(self, request: web.Request) -> web.Response:
        chat = parse_request(await request.read())
        ids = self._engine.encode_chat(chat.messages)
        room = self._engine.context_length - len(ids)
        if room < 1:
            raise RequestError(
                f"This model's maximum context length is {self._engine.context_length} tokens; "
                f"the messages have {len(ids)}. Shorten them.",
                code="context_length_exceeded",
                param="messages",
            )
        sampling = replace(chat.sampling, max_tokens=min(chat.sampling.max_tokens, room))
        completion = await self._batcher.complete(Prompt(ids, chat.seed or 0), sampling)
        return web.json_response(_body(chat, len(ids), completion))


def _body(chat: ChatRequest, prompt_tokens: int, completion: Completion) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": SERVED_NAME,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": completion.text, "refusal": None},
                "logprobs": None,
                "finish_reason": completion.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "total_tokens": prompt_tokens + completion.completion_tokens,
        },
    }


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestError as error:
        return web.json_response(error.body, status=error.status)
    except web.HTTPException as error:
        plain = RequestError(
            f"{request.method} {request.path}: {error.reason}", status=error.status
        )
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return web.json_response(plain.body, status=error.status, headers=headers)
    except RuntimeError as failure:
        return web.json_response(RequestError(str(failure), status=500).body, status=500)


def build_app(engine: Engine) -> web.Application:
    """The aiohttp application that serves ``engine``."""
    service = _Service(engine)
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[_errors])
    app.router.add_get("/health", service.health)
    app.router.add_get("/v1/models", service.models)
    app.router.add_post("/v1/chat/completions", service.chat)
    app.on_cleanup.append(service.close)
    return app


def watch_parent() -> None:
    """End this process when its parent ends, or when its standard input is a pipe that closes.

    The parent is polled: the kernel's own death signal would fire when the *thread* that started
    this process ends.
    """
    parent = os.getppid()

    def poll() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    def drain() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(0)

    threading.Thread(target=poll, name="parent", daemon=True).start()
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            threading.Thread(target=drain, name="stdin", daemon=True).start()


def _print_address(address: str) -> None:
    print(f"listening on {address}", flush=True)


def _watch_nothing() -> None:
    """For a server that is to outlive whoever started it."""


async def serve(
    engine: Engine,
    port: int,
    *,
    share_port: bool = False,
    started: Callable[[str], None] = _print_address,
) -> None:
    """Serve until SIGTERM or SIGINT; several processes may share a port."""
    runner = web.AppRunner(build_app(engine), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024, reuse_port=share_port)
        await site.start()
        bound = runner.addresses[0][1]
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        started(f"http://127.0.0.1:{bound}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _answer(model: Path | None, port: int, ready: Connection) -> None:
    """What a process of several does; it ends with the one that forked it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the first process alone watches its input
    watch_parent()
    try:
        engine = Engine(model or locate())
    except PbiasError as error:
        ready.send(str(error))
        return
    asyncio.run(serve(engine, port, share_port=True, started=lambda _: ready.send(None)))


def serve_in_processes(
    model: Path | None, port: int, processes: int, watch: Callable[[], None]
) -> int:
    """Serve from several processes on one port; the kernel spreads the connections.

    The engine holds Python's lock while it works, so threads would not use a second core. On Linux
    the processes are forks, so that what they need is imported once; ``watch`` starts threads, and
    so comes after them.

    Raises:
        ConfigurationError: the model cannot be loaded.
        OSError: the port cannot be had.
    """
    linux = sys.platform == "linux"
    start = multiprocessing.get_context("fork") if linux else multiprocessing.get_context("spawn")
    with socket.socket() as placeholder:
        # Bound but not listening: it keeps the port and takes no connection.
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        placeholder.bind(("127.0.0.1", port))
        port = placeholder.getsockname()[1]
        pipes = [start.Pipe(duplex=False) for _ in range(processes)]
        workers = [start.Process(target=_answer, args=(model, port, ready)) for _, ready in pipes]
        for worker in workers:
            worker.start()
        watch()
        # Told to end, leave by the way that ends the workers too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            for worker, (started, _) in zip(workers, pipes, strict=True):
                wait([started, worker.sentinel])
                if not started.poll():  # it ended before it could say why: its words are in the log
                    worker.join()
                    return worker.exitcode or 1
                problem = started.recv()
                if problem is not None:
                    raise ConfigurationError(problem)
            _print_address(f"http://127.0.0.1:{port}")
            workers[0].join()
            return workers[0].exitcode or 0
        except KeyboardInterrupt:
            return 0
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join()


def main(arguments: list[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pytest_pbias.models.embedded.server")
    parser.add_argument("--model", type=Path, default=None, help="model folder")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument(
        "--keep-running", action="store_true", help="do not end with the parent process"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that answer")
    options = parser.parse_args(arguments)
    watch = _watch_nothing if options.keep_running else watch_parent
    try:
        if options.processes > 1:
            return serve_in_processes(options.model, options.port, options.processes, watch)
        watch()
        asyncio.run(serve(Engine(options.model or locate()), options.port))
    except PbiasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot listen on port {options.port}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
