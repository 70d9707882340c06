"""An OpenAI-compatible server that costs next to nothing, so that clients can be compared.

``python fastserver.py LATENCY_SECONDS``: prints its address, answers every POST with one fixed
completion and every GET with a list of models, and ends when standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import sys

# As long as a short explanation is, and read as an answer by every grader of the suite.
_ANSWER = (
    "First look at what is asked, and at what each of the choices says about it. Then rule out "
    "those that cannot be, compare the rest with each other, and keep the one for which most "
    "speaks. That one is the second: it fits what is described best, and none of the others "
    "comes as near to what the question is about. Therefore, the answer is (B)."
)


def _http(body: object) -> bytes:
    content = json.dumps(body).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


_COMPLETION = _http(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _ANSWER},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 90, "total_tokens": 210},
    }
)
_MODELS = _http({"object": "list", "data": [{"id": "tiny", "object": "model"}]})


class _Connection(asyncio.Protocol):
    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            answer = _MODELS if head.startswith(b"get") else _COMPLETION
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _main(latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(latency), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
