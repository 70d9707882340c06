"""What a chat request may ask for, and how it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.embedded.requests import RequestError, parse_request

MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]


def body(**changes: Any) -> bytes:
    """A valid request, changed."""
    return json.dumps({"model": "pbias-embedded", "messages": MESSAGES, **changes}).encode()


def test_reads_sampling_and_seed() -> None:
    request = parse_request(
        body(max_completion_tokens=9, max_tokens=4, temperature=0.5, top_p=0.9, top_k=10, seed=3)
    )
    assert request.sampling == Sampling(9, 0.5, 0.9, 10)
    assert request.seed == 3
    assert list(request.messages) == MESSAGES


def test_defaults_follow_openai() -> None:
    assert parse_request(body()).sampling == Sampling(512, 1.0, 1.0, 0)


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = parse_request(body(messages=[{"role": "user", "content": parts}]))
    assert request.messages[0]["content"] == "ab"


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, None),
        (b"\xff", 400, None),
        (b"[]", 400, None),
        (body(model="gpt-4o"), 404, "model_not_found"),
        (body(model=None), 400, None),
        (body(messages=[]), 400, None),
        (body(messages=[{"role": "tool", "content": "x"}]), 400, None),
        (body(messages=[{"role": "user", "content": None}]), 400, None),
        (body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400, None),
        (body(temperature="hot"), 400, None),
        (body(temperature=True), 400, None),
        (body(temperature=-1), 400, None),
        (body(max_tokens=0), 400, None),
        (body(max_tokens=1.5), 400, None),
        (body(seed="x"), 400, None),
        (body(stop=["\n"]), 400, "unsupported_parameter"),
        (body(n=2), 400, "unsupported_parameter"),
        (body(stream=True), 400, "unsupported_parameter"),
        (body(logit_bias={"1": 2}), 400, "unsupported_parameter"),
    ],
)
def test_refuses(raw: bytes, status: int, code: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(raw)
    assert caught.value.status == status
    assert caught.value.body["error"]["code"] == code
    assert "\n" not in str(caught.value)


def test_parameters_that_change_nothing_are_accepted() -> None:
    parse_request(body(stop=None, n=1, stream=False, logprobs=False, presence_penalty=0, user="x"))
