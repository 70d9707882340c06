"""Result files of batches as providers and hostile ones write them, from a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.models.batches import BatchEndpoint
from pytest_pbias.models.chat import EndpointError, Response
from tests.fakes.running import FakeServer


@pytest.fixture
def read_results(
    fake_server: Callable[..., FakeServer], tmp_path: Path
) -> Callable[[bytes], dict[str, Response | EndpointError]]:
    file = tmp_path / "results"
    server = fake_server(batch={"files": {"file": str(file)}})

    def read(content: bytes) -> dict[str, Response | EndpointError]:
        file.write_bytes(content)

        async def ask() -> dict[str, Response | EndpointError]:
            endpoint = BatchEndpoint(server.url, "tiny", "EMPTY")
            try:
                return await endpoint.results("file")
            finally:
                await endpoint.aclose()

        return asyncio.run(ask())

    return read


def _row(key: object, text: str) -> bytes:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    row = {"custom_id": key, "response": {"status_code": 200, "body": body}}
    return json.dumps(row, ensure_ascii=False).encode()


def test_characters_that_end_lines_elsewhere_stay_in_their_answers(read_results: Any) -> None:
    texts = ["fine", "one\u2028two", "x\x85y", "end\u2029", "ä €", "page\x0c\x1c"]
    found = read_results(b"\n".join(_row(f"k{i}", text) for i, text in enumerate(texts)))
    assert [found[f"k{i}"].text for i in range(len(texts))] == texts


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b'"k"',
        b"7",
        b'{"custom_id": ["k"]}',
        b'{"custom_id": {"k": 1}}',
        b'{"custom_id": null}',
        b'{"custom_id": "k", "respon',
        b"\xff\xfe\xfa",
        b"[" * 100_000,
        b"\r",
    ],
)
def test_a_line_without_a_key_is_left_out(line: bytes, read_results: Any) -> None:
    found = read_results(b"\n".join([_row("a", "before"), line, _row("b", "after"), b""]))
    assert {key: reply.text for key, reply in found.items()} == {"a": "before", "b": "after"}


@pytest.mark.parametrize("response", ["text", [1], 7, {"status_code": 200, "body": "text"}])
def test_a_response_of_another_type_is_malformed(response: object, read_results: Any) -> None:
    line = json.dumps({"custom_id": "k", "response": response}).encode()
    found = read_results(line)["k"]
    assert isinstance(found, EndpointError)
    assert found.kind == "malformed"
