"""What a refusal teaches: which field is left out or renamed, in whatever words it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.chat import ChatRequest, EndpointError, Response, Sampling
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.dialect import PLAIN, Dialect, read_dialect, write_dialect
from pytest_pbias.models.replies import parse_completion
from tests.fakes.running import FakeServer

Fakes = Callable[..., FakeServer]

SYSTEM = {"role": "system", "content": "Be kind. I am a man."}
USER = {"role": "user", "content": "What temperature and which seed does top_p system need?"}
BODY = {
    "model": "m",
    "messages": (SYSTEM, USER),
    "max_tokens": 512,
    "temperature": 0.0,
    "top_p": 0.9,
    "top_k": 10,
    "seed": 3,
    "stop": ["end"],
}


def refusal(said: object, status: int = 400) -> EndpointError:
    fault = EndpointError("refused" if status < 500 else "server", "no", status=status)
    fault.said = said
    return fault


def told(message: str, **fields: Any) -> dict[str, Any]:
    return {"message": message, "type": "invalid_request_error"} | fields


FIELDS = [
    # OpenAI and what speaks like it
    (told("Unsupported parameter: 'temperature' is not supported with this model."), "temperature"),
    (told("Unsupported value: 'temperature' does not support 0 with this model. Only the default "
          "(1) value is supported.", param="temperature"), "temperature"),
    (told("Unrecognized request argument supplied: top_k"), "top_k"),
    (told("Unrecognized request arguments supplied: seed, top_k"), "seed"),
    (told("Unsupported parameter: 'stop' is not supported with this model.", param="stop"), "stop"),
    (told("Invalid value", param="top_p"), "top_p"),
    # Gemini
    ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', "seed"),
    # pydantic
    ({"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]}, "top_k"),
    ("1 validation error for Request body.seed: Extra inputs are not permitted", "seed"),
    # Anthropic, Bedrock
    (told("`temperature` and `top_p` cannot both be specified for this model."), "top_p"),
    (told("top_p: this field is deprecated for this model"), "top_p"),
    # vLLM, TGI, Mistral, Groq, LiteLLM
    ({"object": "error", "message": "min_p and top_k are not yet supported here"}, "top_k"),
    ({"error": "Input validation error: `temperature` must be strictly positive"}, "temperature"),
    (told("property 'seed' is unsupported, did you mean 'stop'?"), "seed"),
    ("litellm.UnsupportedParamsError: m does not support parameters: ['seed'], for model=m. To "
     "drop these, set `drop_params=True`", "seed"),
    ("Unsupported parameter: temperature. Supported parameters: max_tokens, top_p, seed",
     "temperature"),
    ({"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
      "msg": "Extra inputs are not permitted", "input": 0}]}}, "seed"),
    ({"errors": [{"field": "seed", "message": "unknown field"}]}, "seed"),
    ('{"error": {"message": "Unknown parameter: `seed`."}}', "seed"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "name"), FIELDS)
def test_a_field_that_is_not_taken_is_left_out(said: object, name: str) -> None:
    learned = PLAIN.after(refusal(said), BODY)
    assert learned == Dialect(left_out=frozenset({name}))
    assert name not in learned.said(BODY)
    assert set(BODY) - set(learned.said(BODY)) == {name}


LIMITS = [
    told(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        param="max_tokens",
    ),
    "this model takes max_completion_tokens only, max_tokens is deprecated",
    told("Unrecognized request argument supplied: max_tokens"),
]


@pytest.mark.parametrize("said", LIMITS)
def test_the_limit_is_renamed_once(said: object) -> None:
    learned = PLAIN.after(refusal(said), BODY)
    assert learned == Dialect(limit="max_completion_tokens")
    body = learned.said(BODY)
    assert body["max_completion_tokens"] == 512
    assert "max_tokens" not in body
    assert learned.after(refusal(said), body) is None


SYSTEMS = [
    told("System role not supported"),
    "Template error: Conversation roles must alternate user/assistant/user/assistant/...",
    told("Developer instruction is not enabled for models/gemma-3-27b-it"),
    told("Unexpected role 'system' after role 'user'"),
    told("messages[0].role must be one of: user, assistant, not 'system'"),
    told("This model does not support system messages"),
    told("First message must start with 'user' role"),
]


@pytest.mark.parametrize("said", SYSTEMS)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_system_message_goes_before_the_question(said: object, status: int) -> None:
    learned = PLAIN.after(refusal(said, status), BODY)
    assert learned == Dialect(joins_system=True)
    content = f"{SYSTEM['content']}\n\n{USER['content']}"
    assert learned.said(BODY)["messages"] == ({"role": "user", "content": content},)
    assert learned.after(refusal(said, status), learned.said(BODY)) is None


NOTHING: list[object] = [
    told("Incorrect format"),
    told("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
         "(4488 in the messages, 512 in max_tokens). Please reduce the length.", param="messages"),
    told("max_tokens is too large: 512. This model supports at most 256.", param="max_tokens"),
    told("The temperature outside is fine; your seed money is spent"),
    told("Invalid value", param="messages[0].content"),
    {"message": None}, "", None, [], 7,
]  # fmt: skip


@pytest.mark.parametrize("said", NOTHING)
def test_what_is_said_of_something_else_teaches_nothing(said: object) -> None:
    assert PLAIN.after(refusal(said), BODY) is None


def test_any_number_of_refusals_ends() -> None:
    everything = "Unsupported: top_k top_p seed stop temperature max_tokens, no system role"
    dialect, steps = PLAIN, 0
    while (learned := dialect.after(refusal(everything), dialect.said(BODY))) is not None:
        dialect, steps = learned, steps + 1
    assert steps == 7
    assert set(dialect.said(BODY)) == {"model", "messages", "max_completion_tokens"}
    assert read_dialect(write_dialect(dialect)) == dialect
    assert read_dialect(None) == PLAIN


def request(number: int = 0) -> ChatRequest:
    sampling = Sampling(max_tokens=64, top_k=5)
    return ChatRequest(f"k{number}", ({"role": "user", "content": str(number)},), sampling, 1)


def ask_all(server: FakeServer, count: int, **options: Any) -> list[Response | EndpointError]:
    async def main() -> list[Any]:
        endpoint = Endpoint(server.url, "tiny", "EMPTY", **options)
        try:
            asked = (endpoint.ask(request(number)) for number in range(count))
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def test_first_requests_at_once_negotiate_once(fake_server: Fakes) -> None:
    server = fake_server("openai_temp", latency=0.05)
    learned: list[Dialect] = []
    replies = ask_all(server, 8, learned=learned.append)
    assert all(isinstance(one, Response) for one in replies)
    assert learned[-1] == Dialect(frozenset({"temperature"}), "max_completion_tokens")
    # Eight at once, two more of the one that finds out, and seven again.
    assert server.requests() == 17


def test_a_complaint_that_stays_is_told_and_costs_little(fake_server: Fakes) -> None:
    body = {"error": {"message": "Unsupported parameter: 'temperature'"}}
    turns = [{"body": body, "status": 400}] * 40
    server = fake_server(turns=turns)
    learned: list[Dialect] = []
    replies = ask_all(server, 10, learned=learned.append)
    assert {str(one) for one in replies} == {
        "request refused (400): Unsupported parameter: 'temperature'"
    }
    assert learned == []
    assert server.requests() == 11


def test_what_is_known_is_not_found_out_again(fake_server: Fakes) -> None:
    server = fake_server("openai_temp")
    known = Dialect(frozenset({"temperature"}), "max_completion_tokens")
    assert all(isinstance(one, Response) for one in ask_all(server, 4, dialect=known))
    assert server.requests() == 4


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"reasoning_content": "Hm."}, "Hm."),
        ({"reasoning": "Hm."}, "Hm."),
        ({"thinking": "Hm."}, "Hm."),
        ({"reasoning_content": None, "reasoning": "Hm."}, "Hm."),
        ({"reasoning_content": "", "reasoning": {"content": "Hm."}}, "Hm."),
        ({"reasoning": [{"text": "H"}, {"text": "m."}]}, "Hm."),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}, "Hm."),
        ({"reasoning_content": 7}, ""),
        ({}, ""),
    ],
)
def test_thoughts_are_kept_beside_the_answer(message: dict[str, Any], reasoning: str) -> None:
    parts = message.get("content", [])
    content = [*parts, {"type": "text", "text": "(A)"}] if parts else "(A)"
    choice = {"message": message | {"content": content}, "finish_reason": "stop"}
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}
    reply = parse_completion({"choices": [choice], "usage": usage})
    assert (reply.text, reply.reasoning, reply.reasoning_tokens) == ("(A)", reasoning, 5)


def test_thoughts_that_no_one_shows_are_known_by_their_tokens() -> None:
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 9}}
    choice = {"message": {"content": ""}, "finish_reason": "length"}
    reply = parse_completion({"choices": [choice], "usage": usage})
    assert (reply.text, reply.thought) == ("", True)
    with pytest.raises(EndpointError, match="no text"):
        parse_completion({"choices": [choice]})
