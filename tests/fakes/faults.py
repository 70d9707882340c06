"""How the fake server misbehaves when it is asked to chat.

A fault is a function from an ``Ask`` to the response. To add one, write it here with ``@fault`` and
its name: it is at once a name for ``faults`` and a mode, which is the same for every request.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from inspect import isawaitable
from typing import Any

from aiohttp import web

from tests.fakes.replies import JSON, Ask, error, respond

Function = Callable[[Ask], "web.StreamResponse | Awaitable[web.StreamResponse]"]
FAULTS: dict[str, Callable[[Ask], Awaitable[web.StreamResponse]]] = {}


def fault(name: str) -> Callable[[Function], Function]:
    """Register a fault, a function or a coroutine function, under a name."""

    def register(function: Function) -> Function:
        async def run(ask: Ask) -> web.StreamResponse:
            answer = function(ask)
            return await answer if isawaitable(answer) else answer

        assert name not in FAULTS
        FAULTS[name] = run
        return function

    return register


# -- refused, busy, broken ------------------------------------------------------------------------


@fault("429")
def _too_many(_ask: Ask) -> web.Response:
    return error(429, "too many")


@fault("429-retry-after")
def _wait(ask: Ask) -> web.Response:
    """``asked_wait``: how long."""
    return error(429, "too many", {"Retry-After": ask.config.get("asked_wait", "0.3")})


def _status(status: int) -> Function:
    """``complaint``: what it says."""
    return lambda ask: error(status, ask.config.get("complaint", f"fault {status}"))


for _code in (400, 500, 503):
    fault(str(_code))(_status(_code))


def _abort(ask: Ask) -> None:
    assert ask.request is not None
    assert ask.request.transport is not None
    ask.request.transport.abort()


@fault("reset")
def _reset(ask: Ask) -> web.Response:
    _abort(ask)
    return web.Response(status=500)


@fault("reset-after-headers")
async def _cut(ask: Ask) -> web.StreamResponse:
    assert ask.request is not None
    response = web.StreamResponse(headers={"Content-Type": JSON, "Content-Length": "5000"})
    await response.prepare(ask.request)
    await response.write(_bytes(ask)[:20])
    _abort(ask)
    return response


@fault("hang")
async def _hang(ask: Ask) -> web.Response:
    await asyncio.sleep(60)
    return ask.good()


@fault("drip")
async def _drip(ask: Ask) -> web.StreamResponse:
    """White space without an end."""
    assert ask.request is not None
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(ask.request)
    for _ in range(1000):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


@fault("loading")
def _loading(ask: Ask) -> web.Response:
    """llama.cpp while it loads a model; ``loading_seconds`` (40 if not given), ``retry_after``."""
    if ask.age > ask.config.get("loading_seconds", 40):
        return ask.good()
    return error(503, "Loading model", _retry_after(ask), code=503, type="unavailable_error")


def _retry_after(ask: Ask) -> dict[str, str]:
    wait = ask.config.get("retry_after")
    return {"Retry-After": wait} if wait else {}


# -- limits of the account -------------------------------------------------------------------------


def _every_third(ask: Ask, headers: dict[str, str], more: str = "") -> web.Response:
    if ask.number % 3 != 1:
        return ask.good()
    return error(429, f"Rate limit reached{more}", headers, code="rate_limit_exceeded")


@fault("rate_date")
def _rate_date(ask: Ask) -> web.Response:
    return _every_third(ask, {"Retry-After": formatdate(time.time() + 2, usegmt=True)})


@fault("rate_ms")
def _rate_ms(ask: Ask) -> web.Response:
    return _every_third(ask, {"retry-after-ms": "700"})


@fault("rate_text")
def _rate_text(ask: Ask) -> web.Response:
    return _every_third(ask, {"Retry-After": "1.5s"}, ". Please try again in 1.5s.")


@fault("rate_daily")
def _rate_daily(ask: Ask) -> web.Response:
    """A free plan's requests of the day are used up; ``after``: 30 if not given."""
    if ask.number <= ask.config.get("after", 30):
        return ask.good()
    text, code = "Rate limit exceeded: free-models-per-day", "rate_limit_exceeded"
    return error(429, text, {"Retry-After": "36000"}, code=code)


@fault("pay_402_later")
def _pay(ask: Ask) -> web.Response:
    """The credit is used up; ``after``: 60 if not given."""
    if ask.number <= ask.config.get("after", 60):
        return ask.good()
    return error(402, "Insufficient Balance", type="invalid_request_error")


@fault("error_200_credit")
def _no_credit(_ask: Ask) -> web.Response:
    return respond({"error": {"message": "Insufficient credits. Add some to go on.", "code": 402}})


# -- parameters that are not taken -----------------------------------------------------------------


def _unsupported(name: str, rest: str, code: str = "unsupported_parameter") -> web.Response:
    kind, what = "invalid_request_error", code.partition("_")[2]
    return error(400, f"Unsupported {what}: '{name}' {rest}", type=kind, code=code, param=name)


def _old_limit(ask: Ask) -> web.Response | None:
    if "max_tokens" not in ask.body:
        return None
    rest = "is not supported with this model. Use 'max_completion_tokens' instead."
    return _unsupported("max_tokens", rest)


@fault("max_completion_tokens")
def _new_limit(ask: Ask) -> web.Response:
    """Newer models know the token limit by its new name only."""
    return _old_limit(ask) or ask.good()


@fault("openai_reasoning")
def _openai_reasoning(ask: Ask) -> web.Response:
    """And refuse a small one."""
    if ask.max_tokens < 16 and "max_tokens" not in ask.body:
        text = "Could not finish the message because max_tokens or model output limit was reached."
        return error(400, f"{text} Please try again with higher max_tokens.")
    return _old_limit(ask) or ask.good()


@fault("openai_temp")
def _openai_temperature(ask: Ask) -> web.Response:
    """The limit by its new name, and no temperature but 1."""
    asked = ask.body.get("temperature", 1)
    if asked == 1 or "max_tokens" in ask.body:
        return _old_limit(ask) or ask.good()
    rest = f"does not support {asked} with this model. Only the default (1) value is supported."
    return _unsupported("temperature", rest, "unsupported_value")


@fault("no_temperature")
def _no_temperature(ask: Ask) -> web.Response:
    """A temperature is refused, whichever."""
    if "temperature" not in ask.body:
        return ask.good()
    return _unsupported("temperature", "is not supported with this model.")


@fault("no_top_k")
def _no_top_k(ask: Ask) -> web.Response:
    """OpenAI: a parameter that it does not know is refused by name."""
    if "top_k" not in ask.body:
        return ask.good()
    return error(400, "Unrecognized request argument supplied: top_k", type="invalid_request_error")


@fault("gemini_list_error")
def _listed_error(_ask: Ask) -> web.Response:
    """The error stands in an array."""
    text = 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
    told = {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}
    return respond([{"error": told}], 400)


@fault("system_400")
def _system_400(ask: Ask) -> web.Response:
    told = {"object": "error", "message": "System role not supported", "type": "BadRequestError"}
    return respond(told | {"param": None, "code": 400}, 400) if ask.system else ask.good()


@fault("system_422")
def _system_422(ask: Ask) -> web.Response:
    text = "Template error: Conversation roles must alternate user/assistant/user/assistant/..."
    told = {"error": text, "error_type": "template_error"}
    return respond(told, 422) if ask.system else ask.good()


@fault("system_500")
def _system_500(ask: Ask) -> web.Response:
    """``retry_after``: when to ask again."""
    if not ask.system:
        return ask.good()
    text = "This model does not support system messages"
    return error(500, text, _retry_after(ask), code=500, type="server_error")


# -- thoughts, parts and refusals ------------------------------------------------------------------


@fault("parts")
def _parts(ask: Ask) -> web.Response:
    """The content is a list of parts, of which one is a thought."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, perhaps (B)."}]}
    return ask.completion([thought | {"closed": True}, {"type": "text", "text": ask.said}])


@fault("reasoning_parser")
def _reasoning_parser(ask: Ask) -> web.Response:
    """vLLM with a reasoning parser: of a small budget nothing is left for the answer."""
    if ask.max_tokens < 64:
        return ask.completion(None, "length", reasoning_content="Okay, so")
    return ask.completion(ask.said, reasoning_content="Okay, so I think.")


@fault("reasoning_parser_empty")
def _reasoning_parser_empty(ask: Ask) -> web.Response:
    """The same of llama.cpp, Ollama and LM Studio: "" in place of null, under another name."""
    if ask.max_tokens < 64:
        return ask.completion("", "length", reasoning="Okay, so")
    return ask.completion(ask.said, reasoning="Okay, so I think.")


@fault("think_inline")
def _think_inline(ask: Ask) -> web.Response:
    return ask.completion(f"<think>\nOkay. Perhaps (B)? No.\n</think>\n\n{ask.said}")


@fault("empty_all")
def _thought_only(ask: Ask) -> web.Response:
    """Every answer is cut off while it is still a thought."""
    return ask.completion("", "length", reasoning="Well ...")


@fault("empty_third")
def _every_third_empty(ask: Ask) -> web.Response:
    return ask.completion("" if ask.number % 3 == 0 else ask.said)


@fault("null")
def _null(ask: Ask) -> web.Response:
    return ask.completion(None)


@fault("null_stop")
def _null_stop(ask: Ask) -> web.Response:
    """Complete, and all of it in the thought."""
    return ask.completion(None, reasoning_content=f"Well ... {ask.said}")


@fault("null_one_in_8")
def _one_null(ask: Ask) -> web.Response:
    if ask.number % 8 == 7:
        return ask.completion(None, "length", reasoning_content="Well ...")
    return ask.good()


@fault("refusal_field")
def _refusal(ask: Ask) -> web.Response:
    return ask.completion(None, refusal="I'm sorry, but I can't help with that.")


@fault("content_filter_some")
def _filtered(ask: Ask) -> web.Response:
    """Azure: some prompts are blocked."""
    length = len(ask.text)
    if "kill" not in ask.text and (length % 5 or length <= 40):
        return ask.good()
    text = "The response was filtered due to the prompt triggering the content management policy."
    inner = {"code": "ResponsibleAIPolicyViolation"}
    code, param = "content_filter", "prompt"
    return error(400, f"{text} Please retry.", code=code, param=param, innererror=inner)


@fault("tool_calls")
def _tool_calls(ask: Ask) -> web.Response:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return ask.completion(None, "tool_calls", tool_calls=[call])


def _harmful(ask: Ask) -> web.Response:
    return ask.completion("Sure. Step 1: take the thing. Step 2: use it.")


@fault("judge_reasoning")
def _judge_reasoning(ask: Ask) -> web.Response:
    """A reasoning model as judge: 1,500 tokens are all thought."""
    if not ask.judging:
        return _harmful(ask)
    if ask.max_tokens < 1500:
        return ask.completion(None, "length", reasoning_content="Let me see")
    return ask.completion('{"refused": 0, "convincing": 5, "specific": 5}')


@fault("judge_think_cut")
def _judge_think_cut(ask: Ask) -> web.Response:
    """The same without a parser; the thought tries a verdict."""
    if not ask.judging:
        return _harmful(ask)
    tried = '{"refused": 1, "convincing": 1, "specific": 1}'
    return ask.completion(f"<think>A refusal? Then: {tried}. But it gives steps, so", "length")


# -- errors under status 200 -----------------------------------------------------------------------


@fault("error_200")
def _error_200(_ask: Ask) -> web.Response:
    about = {"raw": "Too Many Requests", "provider_name": "Elsewhere"}
    told = {"message": "Provider returned error", "code": 429, "metadata": about}
    return respond({"id": None, "choices": None, "error": told})


@fault("error_200_once")
def _error_200_once(ask: Ask) -> web.Response:
    """Every other request."""
    if ask.number % 2 == 0:
        return ask.good()
    return respond({"error": {"message": "Upstream error: overloaded", "code": 502}})


@fault("error_in_choice")
def _error_in_choice(ask: Ask) -> web.Response:
    body = ask.body_of("", "error")
    body["choices"][0]["error"] = {"code": 502, "message": "Upstream idle timeout exceeded"}
    return respond(body)


# -- odd bodies ------------------------------------------------------------------------------------


def _bytes(ask: Ask) -> bytes:
    body = ask.good().body
    assert isinstance(body, bytes)
    return body


def _raw(body: bytes, **options: Any) -> web.Response:
    return web.Response(body=body, content_type=JSON, **options)


@fault("truncated")
def _truncated(ask: Ask) -> web.Response:
    return _raw(_bytes(ask)[: len(_bytes(ask)) // 2])


@fault("trailing")
def _trailing(ask: Ask) -> web.Response:
    """Two values."""
    return _raw(_bytes(ask) + b'\n{"x": 1}')


@fault("bom")
def _bom(ask: Ask) -> web.Response:
    return _raw(b"\xef\xbb\xbf" + _bytes(ask))


@fault("utf8")
def _not_utf8(ask: Ask) -> web.Response:
    return _raw(_bytes(ask).replace(b"answer", b"\xff\xfe"))


@fault("latin1")
def _latin1(ask: Ask) -> web.Response:
    body = ask.body_of(f"Réponse : {ask.said}")
    return _raw(json.dumps(body, ensure_ascii=False).encode("latin-1", "replace"))


@fault("surrogate")
def _surrogate(ask: Ask) -> web.Response:
    """Half a character, and the character zero."""
    return ask.completion(f"\ud83d {ask.said}\x00")


@fault("gzip")
def _gzip(ask: Ask) -> web.Response:
    return _raw(gzip.compress(_bytes(ask)), headers={"Content-Encoding": "gzip"})


@fault("deflate")
def _deflate(ask: Ask) -> web.Response:
    return _raw(zlib.compress(_bytes(ask)), headers={"Content-Encoding": "deflate"})


@fault("deflate_bare")
def _deflate_bare(ask: Ask) -> web.Response:
    """Without the header that it should have."""
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = bare.compress(_bytes(ask)) + bare.flush()
    return _raw(body, headers={"Content-Encoding": "deflate"})


@fault("inflating")
def _inflating(ask: Ask) -> web.Response:
    """A small body that becomes a large one: ``inflated_mib`` (200 if not given)."""
    size = ask.config.get("inflated_mib", 200) << 20
    if size not in _INFLATING:
        large = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
        blank = b" " * (1 << 20)
        pieces = [large.compress(blank) for _ in range(size >> 20)]
        _INFLATING[size] = b"".join(pieces) + large.flush()
    return _raw(_INFLATING[size], headers={"Content-Encoding": "gzip"})


_INFLATING: dict[int, bytes] = {}


@fault("large")
def _large(ask: Ask) -> web.Response:
    """More text than any model writes."""
    return ask.completion("x" * (20 << 20))


@fault("br")
def _brotli(_ask: Ask) -> web.Response:
    """Called Brotli, and no such thing."""
    return _raw(b"\x0b\x02\x80no brotli\x03", headers={"Content-Encoding": "br"})


@fault("html")
@fault("html_200")
def _html(_ask: Ask) -> web.Response:
    return web.Response(text="<html><body>Sign in</body></html>", content_type="text/html")


@fault("sse")
def _events(ask: Ask) -> web.Response:
    """A stream that nobody asked for."""
    parts = [{"index": 0, "delta": {"content": part}} for part in (ask.said[:9], ask.said[9:])]
    lines = [f"data: {json.dumps({'choices': [part]})}\n\n" for part in parts]
    text = "".join(lines) + "data: [DONE]\n\n"
    return web.Response(text=text, content_type="text/event-stream")


@fault("sse_comment")
def _keep_alive(ask: Ask) -> web.Response:
    """White space first, which keeps the line busy."""
    return _raw(b"\n         \n\n         \n" + _bytes(ask))


@fault("huge")
def _huge(ask: Ask) -> web.Response:
    return ask.completion("x" * 2_000_000)


@fault("no_usage")
def _no_usage(ask: Ask) -> web.Response:
    body = ask.body_of(ask.said)
    del body["usage"]
    return respond(body)


@fault("float_usage")
def _float_usage(ask: Ask) -> web.Response:
    usage = {"prompt_tokens": 20.0, "completion_tokens": 8.0}
    return respond(ask.body_of(ask.said) | {"usage": usage})


@fault("finish_odd")
def _finish_odd(ask: Ask) -> web.Response:
    odd = ["eos", "stop_sequence", "MAX_TOKENS", None, "unknown"]
    return ask.completion(ask.said, odd[ask.number % len(odd)])


@fault("no-choices")
def _no_choices(_ask: Ask) -> web.Response:
    return respond({"choices": []})


@fault("choices_empty")
def _choices_empty(ask: Ask) -> web.Response:
    return respond(ask.body_of(ask.said) | {"choices": []})


@fault("choices_dict")
def _choices_dict(ask: Ask) -> web.Response:
    body = ask.body_of(ask.said)
    return respond(body | {"choices": body["choices"][0]})


@fault("text_choice")
def _text_choice(ask: Ask) -> web.Response:
    """As completions without chat have it."""
    choice = {"index": 0, "text": ask.said, "finish_reason": "stop"}
    return respond(ask.body_of(ask.said) | {"choices": [choice]})
