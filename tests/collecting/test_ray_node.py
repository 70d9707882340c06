"""What a node of a cluster does with its share of the requests; no cluster is needed for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.ray.node import (
    Answered,
    AskBatch,
    Target,
    decode_answered,
    encode_request,
)
from pytest_pbias.collecting.records import Failure
from pytest_pbias.models.chat import Response

QUICK = RetryPolicy(attempts=3, total=10, first=0.01, longest=0.02)


def _ask(url: str, requests: Any, **changes: Any) -> list[Answered]:
    values = {"urls": (url,), "model": "tiny", "key": "EMPTY", "concurrency": 4}
    target = Target(**{**values, "timeout": 5, "policy": QUICK, "seed": 0, **changes})
    node = AskBatch(target)
    answered = node({"request": [encode_request(one) for one in requests]})["answered"]
    node.close()
    return [decode_answered(text) for text in answered]


def test_every_request_has_its_answer(
    fake_server: Callable[..., Any], make_requests: Callable[..., Any]
) -> None:
    chat = fake_server(latency=0.01)
    requests = make_requests(20)
    found = _ask(chat.url, requests)
    for request, answered in zip(requests, found, strict=True):
        assert isinstance(answered.outcome, Response)
        assert answered.outcome.key == request.key
        assert answered.outcome.text == f"answer to {request.messages[-1]['content']}"
        assert answered.outcome.latency >= 0.01
        assert (answered.attempts, answered.fatal) == (1, False)
    assert chat.stats()["most_in_flight"] <= 4


def test_what_may_pass_is_tried_again_and_what_may_not_is_a_failure(
    fake_server: Callable[..., Any], make_requests: Callable[..., Any]
) -> None:
    chat = fake_server(faults={"503": 0.4, "reset": 0.3, "400": 0.3})
    found = _ask(chat.url, make_requests(30))
    refused = [one for one in found if isinstance(one.outcome, Failure)]
    assert refused
    assert all("fault 400" in one.outcome.reason for one in refused)
    again = [one for one in found if isinstance(one.outcome, Response) and one.attempts == 2]
    assert len(again) == 30 - len(refused)


def test_an_endpoint_that_is_down_is_given_up_request_by_request(
    fake_server: Callable[..., Any], make_requests: Callable[..., Any]
) -> None:
    chat = fake_server(faults={"503": 1.0}, faulty_attempts=None)
    found = _ask(chat.url, make_requests(3))
    for one in found:
        assert isinstance(one.outcome, Failure)
        assert one.outcome.reason.endswith("after 3 attempts")
        assert not one.fatal


def test_a_rejected_key_stops_a_node_and_is_not_shown(
    fake_server: Callable[..., Any], make_requests: Callable[..., Any]
) -> None:
    chat = fake_server(key="right-key-of-many-letters")
    found = _ask(chat.url, make_requests(50), key="wrong-key-of-many-letters", concurrency=1)
    assert all(one.fatal for one in found)
    assert not any("wrong-key" in str(one) for one in found)
    assert chat.stats()["requests"] < 5


def test_several_endpoints_stand_in_for_each_other(
    fake_server: Callable[..., Any], make_requests: Callable[..., Any]
) -> None:
    one, other = fake_server(), fake_server()
    other.process.stop()
    found = _ask("", make_requests(20), urls=(other.url, one.url))
    assert all(isinstance(answered.outcome, Response) for answered in found)


def test_a_target_does_not_show_its_key() -> None:
    values = {"urls": (), "model": "m", "key": "secret", "concurrency": 1}
    assert "secret" not in repr(Target(**values, timeout=1, policy=QUICK, seed=0))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "caf\u00e9", "\ud800 alone", "\x00"])
def test_any_text_survives_the_way_to_a_node(text: str, make_requests: Callable[..., Any]) -> None:
    from dataclasses import replace

    from pytest_pbias.collecting.ray.node import _decode_request

    (request,) = make_requests(1)
    strange = replace(request, messages=({"role": "user", "content": text},))
    assert _decode_request(encode_request(strange)) == strange


def test_a_node_whose_environment_is_wrong_says_so(
    make_requests: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret-word@127.0.0.1:9")
    (answered,) = _ask("http://model.invalid", make_requests(1))
    assert answered.fatal
    assert isinstance(answered.outcome, Failure)
    assert answered.outcome.reason.startswith("a node of the cluster: ")
    assert "socks5" in answered.outcome.reason
    assert "secret-word" not in answered.outcome.reason
