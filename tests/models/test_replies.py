"""Forms of replies and errors: what each is read as. See docs/collecting.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.chat import BLOCKED, REFUSED, EndpointError
from pytest_pbias.models.replies import is_filtered, parse_completion, server_message
from tests.fakes.running import FakeServer
from tests.models.httpserver import KEY, ask

Fakes = Callable[..., FakeServer]
NO = "I'm sorry, but I can't help with that."


def always(body: Any, status: int, headers: Any = None) -> dict[str, Any]:
    """The configuration of a server that replies this to every chat."""
    reply = {"body": body, "status": status, "headers": headers}
    return {"faults": {"it": 1}, "faulty_attempts": None, "replies": {"it": reply}}


def completion(content: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    choice = {"index": 0, "message": message, "finish_reason": finish} | more.pop("choice", {})
    return {"choices": [choice]} | more


def text(said: Any) -> dict[str, Any]:
    return {"type": "text", "text": said}


THOUGHT = {"type": "thinking", "thinking": [text("Perhaps (B).")], "closed": True}


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([THOUGHT, text("(A)")], "(A)"),
        ([text("The answer "), text("is (A)")], "The answer is (A)"),
        ([{"type": "reasoning", "text": "Perhaps (B)"}, text("(A)")], "(A)"),
        (
            [{"type": "redacted_thinking", "data": "x"}, {"type": "output_text", "text": "(A)"}],
            "(A)",
        ),
        (["The answer ", "is (A)"], "The answer is (A)"),
        ([{"text": "(A)"}], "(A)"),
        ([text({"value": "(A)", "annotations": []})], "(A)"),
        ([text("(A)"), {"type": "image_url", "image_url": {"url": "x"}}, 7, None], "(A)"),
        ([text("(A)"), {"type": "refusal", "refusal": ""}], "(A)"),
    ],
)
def test_content_in_parts(parts: list[Any], answer: str) -> None:
    reply = parse_completion(completion(parts))
    assert (reply.text, reply.finish_reason) == (answer, "stop")


@pytest.mark.parametrize(
    "body",
    [
        completion(None, message={"refusal": NO}),
        completion("", message={"refusal": NO}),
        completion(" \n", None, message={"refusal": NO}),
        completion([{"type": "refusal", "refusal": NO}]),
        completion([THOUGHT, {"type": "refusal", "refusal": NO}]),
        completion([], "length", message={"refusal": NO}),
    ],
)
def test_a_refusal_in_a_field_of_its_own_is_the_answer(body: dict[str, Any]) -> None:
    reply = parse_completion(body)
    assert (reply.text, reply.finish_reason) == (NO, REFUSED)


def test_text_beside_a_refusal_is_the_answer() -> None:
    reply = parse_completion(completion("(A)", message={"refusal": NO}))
    assert (reply.text, reply.finish_reason) == ("(A)", "stop")


@pytest.mark.parametrize("said", [None, "", "Well, I"])
@pytest.mark.parametrize(
    ("finish", "more"),
    [
        ("content_filter", {}),
        ("CONTENT_FILTER", {}),
        ("content_filter: PROHIBITED_CONTENT", {}),
        ("SAFETY", {}),
        ("PROHIBITED_CONTENT", {}),
        ("recitation", {}),
        ("guardrail_intervened", {}),
        ("error", {"choice": {"native_finish_reason": "SAFETY"}}),
        ("stop", {"error": {"code": "content_filter", "message": "blocked"}}),
        ("error", {"choice": {"error": {"code": 403, "metadata": {"flagged_input": "x"}}}}),
    ],
)
def test_what_a_filter_stops_is_known_for_good(
    said: str | None, finish: str, more: dict[str, Any]
) -> None:
    reply = parse_completion(completion(said, finish, **more))
    assert (reply.text, reply.finish_reason) == (said or "", BLOCKED)


@pytest.mark.parametrize(
    "body",
    [
        completion(None, "refusal"),
        completion(None, choice={"content_filter_results": {"hate": {"filtered": True}}}),
        {"choices": None, "promptFeedback": {"blockReason": "SAFETY"}},
        {"choices": [], "prompt_feedback": {"block_reason": "OTHER"}},
        {"error": {"code": "content_filter", "message": "no"}},
        {"error": {"code": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
    ],
)
def test_a_filter_that_leaves_no_text(body: dict[str, Any]) -> None:
    assert parse_completion(body).finish_reason == BLOCKED


@pytest.mark.parametrize(
    "body",
    [
        completion("(A)", choice={"content_filter_results": {"hate": {"filtered": False}}}),
        completion("(A)", choice={"content_filter_results": {"hate": {"filtered": True}}}),
        completion("safety", "stop"),
        completion("(A)", "stop", promptFeedback={"blockReason": ""}),
        completion("I follow the content management policy.", "length"),
    ],
)
def test_an_answer_beside_a_filter_is_an_answer(body: dict[str, Any]) -> None:
    assert parse_completion(body).finish_reason != BLOCKED


FILTERED: list[tuple[int, Any]] = [
    (400, {"error": {"code": "content_filter", "message": "x", "param": "prompt"}}),
    (400, {"error": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, {"error": {"code": "400", "message": "litellm.ContentPolicyViolationError: x"}}),
    (400, {"error": {"message": "triggering Azure OpenAI's content management policy"}}),
    (400, {"error": {"code": "content_policy_violation", "message": "x"}}),
    (400, {"error": {"code": "data_inspection_failed", "message": "x"}}),
    (400, {"error": {"code": "1301", "message": "x"}}),
    (400, [{"error": {"code": 400, "status": "PROHIBITED_CONTENT", "message": "x"}}]),
    (400, {"code": "content_filter", "message": "x"}),
    (403, {"error": {"code": 403, "metadata": {"flagged_input": "how", "reasons": ["violence"]}}}),
    (400, {"error": {"code": "invalid_prompt", "message": "flagged as potentially violating our"}}),
    (422, {"detail": "The prompt was blocked by the provider's safety system"}),
]  # fmt: skip
NOT_FILTERED: list[tuple[int, Any]] = [
    (400, {"error": {"code": "context_length_exceeded", "message": "too long"}}),
    (400, {"error": {"message": "Unknown name 'content_filter'", "status": "INVALID_ARGUMENT"}}),
    (400, {"error": {"message": "Unsupported: 'seed'", "code": "unsupported_parameter"}}),
    (422, {"detail": [{"loc": ["body", "safety"], "msg": "field required", "type": "missing"}]}),
    (400, "Bad request"),
    (400, None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), FILTERED)
def test_a_prompt_that_the_provider_blocks_is_answered_by_it(
    fake_server: Fakes, status: int, body: Any
) -> None:
    reply = ask(fake_server(**always(body, status)).url)
    assert (reply.text, reply.finish_reason) == ("", BLOCKED)


@pytest.mark.parametrize(("status", "body"), NOT_FILTERED)
def test_another_refusal_is_none_of_a_filter(status: int, body: Any) -> None:
    assert not is_filtered(body)


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 429, "message": "x"}, "throttled", 429),
        ({"code": "429"}, "throttled", 429),
        ({"code": "rate_limit_exceeded"}, "throttled", 429),
        ({"status": "RESOURCE_EXHAUSTED", "message": "x"}, "throttled", 429),
        ({"code": 402, "message": "Insufficient credits"}, "fatal", 402),
        ({"type": "insufficient_quota", "code": None, "message": "x"}, "fatal", 402),
        ({"code": 429, "type": "insufficient_quota"}, "fatal", 429),
        ({"code": 401, "message": "x"}, "fatal", 401),
        ({"type": "authentication_error", "message": "x"}, "fatal", 401),
        ({"code": 403, "message": "x"}, "fatal", 403),
        ({"code": "model_not_found", "message": "x"}, "fatal", 404),
        ({"code": 400, "message": "too long"}, "refused", 400),
        ({"code": "context_length_exceeded", "message": "x"}, "refused", 400),
        ({"code": 502, "message": "x"}, "server", 502),
        ({"type": "overloaded_error", "message": "x"}, "server", 529),
        ({"code": 20, "message": "x"}, "server", None),
        ("overloaded", "server", None),
    ],
)
@pytest.mark.parametrize("place", ["body", "array", "choice", "message"])
def test_an_error_under_a_good_status_is_classed_by_its_code(
    error: Any, kind: str, status: int | None, place: str
) -> None:
    body: Any = {"choices": None, "error": error}
    if place == "choice":
        body = completion("", "error", choice={"error": error})
    elif place == "message":
        body = completion("Well", message={"error": error})
    with pytest.raises(EndpointError, match="in place of the answer") as got:
        parse_completion([body] if place == "array" else body, answered=False)
    assert (got.value.kind, got.value.status) == (kind, status)


def test_an_unknown_model_of_a_gateway_that_has_answered_will_pass() -> None:
    body = {"error": {"code": 404, "message": "No endpoints found"}}
    with pytest.raises(EndpointError) as got:
        parse_completion(body, answered=True)
    assert got.value.kind == "server"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "why"}}, "why"),
        ([{"error": {"code": 400, "message": "why", "status": "INVALID_ARGUMENT"}}], "why"),
        ([{"message": "why"}, {"message": "and why"}], "why; and why"),
        ({"errors": [{"message": "why"}]}, "why"),
        ({"error": [{"message": "why"}]}, "why"),
        ({"detail": [{"loc": ["body"], "msg": "why", "type": "missing"}]}, "why"),
        ({"detail": "why"}, "why"),
        ({"error": "why", "error_type": "template_error"}, "why"),
        ({"error": {"error": {"message": "why"}}}, "why"),
        ({"message": {"text": 1, "reason": "why"}}, "why"),
        ({"object": "error", "message": "why", "code": 400}, "why"),
        ({"fault": {"faultstring": "why", "detail": {"errorcode": "x"}}}, "why"),
        ({"title": "why", "status": 400}, "why"),
        ({"error": "invalid_request", "error_description": "why"}, "why"),
        ("<html><head><title>403 Forbidden</title></head><body>x</body></html>", "403 Forbidden"),
        ("plain words", "plain words"),
        ({"x": {"y": 1}}, '{"x": {"y": 1}}'),
        ([], ""),
        (None, ""),
        ({"message": ""}, '{"message": ""}'),
    ],
)
def test_the_reason_is_found_wherever_it_stands(body: Any, said: str) -> None:
    assert server_message(body) == said


def test_a_reason_that_nests_for_ever_is_none() -> None:
    deep: Any = "why"
    for _ in range(100):
        deep = {"error": [deep]}
    assert "why" not in server_message(deep)[:20]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_the_key_goes_nowhere_else(fake_server: Fakes, status: int) -> None:
    other = fake_server()
    place = f"{other.url}/chat/completions?key=secret"
    url = fake_server(**always({}, status, {"Location": place})).url
    with pytest.raises(EndpointError) as got:
        ask(url)
    assert got.value.kind == "fatal"
    assert got.value.reason == f"{url} redirects ({status}) to {other.url}: give the final address"
    assert not other.seen()


def test_a_redirect_that_names_the_key_does_not_tell_it(fake_server: Fakes) -> None:
    place = f"https://user:pass@elsewhere/{KEY}/v1"
    with pytest.raises(EndpointError) as got:
        ask(fake_server(**always({}, 307, {"Location": place})).url)
    assert KEY not in got.value.reason
    assert "pass" not in got.value.reason
