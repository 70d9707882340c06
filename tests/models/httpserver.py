"""A proxy, an address that takes no connection, and one question asked of a server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from threading import Event, Thread
from typing import Any

from pytest_pbias.models.chat import ChatRequest, Sampling
from pytest_pbias.models.client import Endpoint

KEY = "sk-abcdef-0123456789"
GOOD = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


@contextmanager
def connect_proxy(
    status: str = "200 OK", target: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """A real CONNECT proxy in a thread: its port, and the heads of the requests it gets.

    Answers with ``status``; a tunnel leads to port ``target`` of this machine, whoever is named.
    """
    heads: list[str] = []
    ports: list[int] = []
    loops: list[asyncio.AbstractEventLoop] = []
    ready, done = Event(), asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if target is None:
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async def main() -> None:
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        loops.append(asyncio.get_running_loop())
        ready.set()
        await done.wait()
        server.close()

    # What is still open at the end is cancelled by ``run``, and closed on its way out.
    thread = Thread(target=lambda: asyncio.run(main()))
    thread.start()
    ready.wait(20)
    try:
        yield ports[0], heads
    finally:
        loops[0].call_soon_threadsafe(done.set)
        thread.join()


@contextmanager
def deaf_server() -> Iterator[str]:
    """An address that accepts no further connection: each waits until it gives up."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):  # Linux lets one more than asked for wait
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def list_models(url: str, timeout: float = 10.0) -> list[str] | None:
    async def main() -> list[str] | None:
        endpoint = Endpoint(url, "tiny", KEY, timeout=timeout)
        try:
            return await endpoint.served_models()
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def chat_request(text: str = "q", *, seed: int | None = None, **sampling: Any) -> ChatRequest:
    parameters = Sampling(**{"max_tokens": 5} | sampling)
    return ChatRequest("", ({"role": "user", "content": text},), parameters, seed)


def ask(url: str, *, timeout: float = 10.0, **options: Any) -> Any:
    async def main() -> Any:
        endpoint = Endpoint(url, "tiny", KEY, timeout=timeout)
        try:
            return await endpoint.ask(chat_request("q \ud800", **options))
        finally:
            await endpoint.aclose()

    return asyncio.run(main())
