"""Reading what an endpoint sent: the reply in it, or what kind of fault it is, whatever its form.

Servers and gateways agree on the form of a good reply. A refusal, a content filter and an error
have many, and an error may come with HTTP status 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any

from pytest_pbias.models.chat import (
    BLOCKED,
    FAILED_FINISH,
    REFUSED,
    TOO_MANY_TOKENS,
    EndpointError,
    FaultKind,
    Response,
    is_blank,
    no_answer,
)

_RETRY_STATUS = {408, 409, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_REDIRECTS = {301, 302, 303, 307, 308}
_DEPTH = 6  # of what is looked into for a reason
_LONGEST = 5000  # characters of a reason that are looked at
# Where servers put their reason, the likeliest first.
_REASONS = (
    *("message", "msg", "error_description", "error_message", "errorMessage", "faultstring"),
    *("detail", "details", "error", "errors", "description", "Message", "title", "reason", "fault"),
)

# What codes in words mean, as HTTP has it; in small letters, with _ between words.
_STATUS_OF = {
    **dict.fromkeys(("invalid_argument", "bad_request", "badrequesterror"), 400),
    **dict.fromkeys(("invalid_request_error", "failed_precondition"), 400),
    **dict.fromkeys(("context_length_exceeded", "string_above_max_length"), 400),
    **dict.fromkeys(("invalid_api_key", "api_key_invalid", "authentication_error"), 401),
    **dict.fromkeys(("unauthenticated", "unauthorized", "authenticationerror"), 401),
    **dict.fromkeys(("insufficient_quota", "insufficient_user_quota", "billing_error"), 402),
    **dict.fromkeys(("insufficient_balance", "insufficient_credits", "payment_required"), 402),
    **dict.fromkeys(("billing_hard_limit_reached", "billing_not_active", "arrearage"), 402),
    **dict.fromkeys(("permission_denied", "permission_error", "forbidden"), 403),
    **dict.fromkeys(("account_deactivated", "unsupported_country_region_territory"), 403),
    **dict.fromkeys(("model_not_found", "not_found", "not_found_error", "notfounderror"), 404),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "resource_exhausted"), 429),
    **dict.fromkeys(("too_many_requests", "ratelimiterror", "throttlingexception"), 429),
    **dict.fromkeys(("server_error", "internal_server_error", "internal", "api_error"), 500),
    **dict.fromkeys(("unavailable", "service_unavailable", "overloaded"), 503),
    **dict.fromkeys(("deadline_exceeded", "timeout"), 504),
    **dict.fromkeys(("overloaded_error", "engine_overloaded"), 529),
}
_UNPAID = frozenset(word for word, status in _STATUS_OF.items() if status == 402)

# How providers name what their filter stopped: as a code, as a finish reason, or in prose.
_FILTER_CODES = frozenset(
    (
        *("content_filter", "content_filter_error", "responsibleaipolicyviolation"),
        *("content_policy_violation", "contentpolicyviolationerror", "content_moderation"),
        *("data_inspection_failed", "datainspectionfailed", "moderation_blocked", "1301"),
        *("prohibited_content", "safety", "prompt_blocked", "sensitive_content"),
        *("guardrail_violation", "guardrail_intervened", "input_flagged"),
    )
)
_FILTER_FINISH = re.compile(
    r"content_?filter(ed)?\b.*|(image_)?safety|prohibited_content|blocklist|spii|recitation|"
    r"guardrail_intervened|sensitive",
    re.IGNORECASE | re.DOTALL,
)
_FILTER_PROSE = re.compile(
    r"content management policy|content[ _]?policy[ _]?violation|blocked by [\w' -]*"
    r"(?:content|safety|moderation)|flagged as potentially violating|input was flagged",
    re.IGNORECASE,
)

_RAN_OUT = re.compile(r"could not finish the message because max_tokens", re.IGNORECASE)


def parse_completion(
    data: object,
    *,
    key: str = "",
    latency: float = 0.0,
    answered: bool = True,
    completions: bool = False,
) -> Response:
    """Read a chat completion as the endpoint sent it, to the request ``key`` within ``latency`` s.

    What is empty, blank, cut off before it began, or an error in disguise is no answer. What the
    provider's filter stopped is one, with the finish reason :data:`BLOCKED` and what text there
    is; so is a refusal that stands in a field of its own, with :data:`REFUSED`. ``answered``:
    whether the endpoint has answered before; ``completions``: it was asked on the route of plain
    texts, where the text stands in another field.

    Raises:
        EndpointError: there is no answer in it; of the kind that an error in its place means, else
            ``malformed``. The reason may hold anything that the endpoint says.
    """
    if not isinstance(data, dict):
        data = data[0] if isinstance(data, list) and data else None
    if not isinstance(data, dict):
        raise EndpointError("malformed", "the answer is not a JSON object (wrong content type?)")
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if completions and isinstance(choice, dict) and message is None:
        message = {"content": choice.get("text")}
    text, refusal = _said(message if isinstance(message, dict) else {})
    reasoning = _reasoning_in(message if isinstance(message, dict) else {})
    finish = choice.get("finish_reason") if isinstance(choice, dict) else None
    finish = finish if isinstance(finish, str) else ""
    usage = data.get("usage")
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    thought = _reasoning_tokens(usage)
    error = _error_in(data, choice, message)
    if (error is not None and is_filtered(error)) or _was_filtered(data, choice, finish, text):
        return Response(key, text, BLOCKED, prompt, completion, latency)
    if error is None and is_blank(text) and refusal and finish.casefold() not in FAILED_FINISH:
        return Response(key, refusal, REFUSED, prompt, completion, latency)
    kind: FaultKind | None = None
    reason, status = "", None
    if error is not None:
        kind, status = _classed(error, answered=answered)
        reason = f"an error in place of the answer{_numbered(error)}: {_or_none(error)}"
    elif choice is None:
        kind, reason = "malformed", f"the answer has no choices{_instead(data)}"
    elif why := no_answer(text, finish, thought=bool(reasoning or thought)):
        kind, reason = "server" if finish.casefold() in FAILED_FINISH else "malformed", why
    if kind is not None:
        raise EndpointError(
            kind,
            reason,
            status=status,
            prompt_tokens=prompt or 0,
            completion_tokens=completion or 0,
        )
    return Response(key, text, finish, prompt, completion, latency, reasoning, thought)


def _reasoning_in(message: Mapping[str, Any]) -> str:
    """What stands in a message as thoughts: in a field of its own, or in parts of the content."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        thought = message.get(name)
        if not thought:
            continue
        said = thought if isinstance(thought, str) else "".join(_strings(thought))
        if not is_blank(said):
            return said
    content = message.get("content")
    if not isinstance(content, list):
        return ""
    said = "".join(
        text
        for part in content
        if isinstance(part, dict) and part.get("type") in ("thinking", "reasoning")
        for text in _strings({name: part[name] for name in part if name != "type"})
    )
    return "" if is_blank(said) else said


def _strings(thought: object, depth: int = 0) -> Iterator[str]:
    """The texts of a thought that is made of parts."""
    if isinstance(thought, str):
        yield thought
    elif depth < _DEPTH and isinstance(thought, list):
        for one in thought:
            yield from _strings(one, depth + 1)
    elif depth < _DEPTH and isinstance(thought, dict):
        for name in ("text", "thinking", "reasoning", "content", "summary"):
            yield from _strings(thought.get(name), depth + 1)


def _reasoning_tokens(usage: object) -> int | None:
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    inner = _count(details, "reasoning_tokens")
    return (_count(usage, "reasoning_tokens") if inner is None else inner) or None


def _said(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a message and the refusal beside it; both empty where there is none.

    The content may be a list of parts, of which thoughts, tools and images are no text.
    """
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, str) and not refusal:  # nearly every message
        return content, ""
    texts = [content] if isinstance(content, str) else []
    refusals = [refusal] if isinstance(refusal, str) else []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") == "refusal":
            refusals.append(str(part.get("refusal") or ""))
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            inner = part.get("text")
            inner = inner.get("value") if isinstance(inner, dict) else inner
            texts.append(inner if isinstance(inner, str) else "")
    said = "".join(refusals)
    return "".join(texts), "" if is_blank(said) else said


def _was_filtered(data: Mapping[str, Any], choice: object, finish: str, text: str) -> bool:
    """Whether a body without an error says that the provider's filter stopped the answer."""
    own = choice if isinstance(choice, dict) else {}
    reasons = [finish, own.get("native_finish_reason"), own.get("finishReason")]
    if any(isinstance(one, str) and _FILTER_FINISH.fullmatch(one) for one in reasons):
        return True
    if not is_blank(text):
        return False
    if finish.casefold() == REFUSED:  # by the provider, since the model said nothing
        return True
    feedback = data.get("promptFeedback") or data.get("prompt_feedback")
    if isinstance(feedback, dict) and (feedback.get("blockReason") or feedback.get("block_reason")):
        return True
    return any(
        isinstance(judged, dict) and judged.get("filtered") is True
        for results in (own.get("content_filter_results"), data.get("content_filter_results"))
        if isinstance(results, dict)
        for judged in results.values()
    )


def _error_in(*places: object) -> object:
    """The error that a body of a good status holds in one of ``places``, or None."""
    for place in places:
        if not isinstance(place, dict):
            continue
        error = place if place.get("object") == "error" else place.get("error")
        if not error or (isinstance(error, dict) and not any(error.values())):
            continue  # some gateways always send the field
        return error
    return None


def _instead(data: Mapping[str, Any]) -> str:
    """What a body without choices says instead, where it says anything."""
    said = next((data[name] for name in _REASONS if isinstance(data.get(name), str)), "")
    return f": {said}" if said and not is_blank(str(said)) else ""


def status_fault(
    status: int,
    body: object,
    headers: Mapping[str, str],
    *,
    address: str,
    model: str,
    answered: bool,
) -> EndpointError:
    """The fault that an HTTP status with this body is.

    ``answered``: whether the endpoint has answered before, so that address and model are right.
    The reason may hold anything that the endpoint says.
    """
    said, wait = _or_none(body), retry_after(headers)
    kind, _ = _classed(body, status=status, answered=answered)
    if status in _REDIRECTS:
        reason = f"{address} redirects ({status}) to {_target(headers)}: give the final address"
    elif kind == "throttled":
        reason = f"too many requests ({status}): {said}"
    elif kind == "server":
        reason = f"server error ({status}): {said}"
    elif kind == "refused":
        reason = f"request refused ({status}): {said}"
    elif status == 401:
        reason = f"{address} rejected the API key (401)"
    elif status == 404:
        reason = f"{address} has no such model or address (404, {model}): {said}"
    elif status == 403:
        reason = f"{address} denies access (403): {said}"
    else:
        reason = (
            f"the account has no {'quota' if status == 429 else 'credit'} left ({status}): {said}"
        )
    return EndpointError(kind, reason, wait, status=status)


def _classed(
    error: object, *, status: int | None = None, answered: bool
) -> tuple[FaultKind, int | None]:
    """What may help against an error, and the HTTP status it has or stands for.

    ``status`` None: it came with a good one.
    """
    codes = list(_codes(error))
    if status is None:
        named = (_status_of(code) for code in codes)
        status = next((one for one in named if one is not None), None)
    unpaid = status in (400, 403, 429) and not _UNPAID.isdisjoint(codes)
    if unpaid or status in (401, 402, 403):
        return "fatal", status
    if status == 429:
        return "throttled", status
    if status in _REDIRECTS or status == 404:  # once it has answered: of a gateway, and will pass
        return "server" if answered else "fatal", status
    if status is None or status in _RETRY_STATUS or status >= 500:
        return "server", status
    return "refused", status


def is_filtered(body: object) -> bool:
    """Whether an error says that the provider's content filter stopped a prompt or an answer."""
    if not _FILTER_CODES.isdisjoint(_codes(body)):
        return True
    inner = body.get("error", body) if isinstance(body, dict) else body
    about = inner.get("metadata") if isinstance(inner, dict) else None
    if isinstance(about, dict) and about.get("flagged_input"):
        return True
    return _FILTER_PROSE.search(server_message(body)[:_LONGEST]) is not None


def ran_out(body: object) -> bool:
    """Whether an error says that all tokens went into thoughts, and none were left to answer."""
    return _RAN_OUT.search(server_message(body)[:_LONGEST]) is not None


def _codes(error: object, depth: int = 0) -> Iterator[str]:
    """What an error and those within it are called: their codes, then statuses, then types."""
    if depth == _DEPTH:
        return
    if isinstance(error, list):
        for one in error[:_DEPTH]:
            yield from _codes(one, depth + 1)
    if not isinstance(error, dict):
        return
    for name in ("code", "status", "status_code", "reason", "type"):
        code = error.get(name)
        if isinstance(code, str | int) and not isinstance(code, bool):
            yield re.sub(r"[ -]+", "_", str(code)[:80].strip()).casefold()
    for name in ("error", "innererror", "inner_error", "details", "errors"):
        yield from _codes(error.get(name), depth + 1)


def _status_of(code: str) -> int | None:
    """The HTTP status that a code stands for, None where it is none of an error."""
    number = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else None
    if number is not None:
        return number if number >= HTTPStatus.BAD_REQUEST else None
    return _STATUS_OF.get(code)


def _numbered(error: object) -> str:
    code = error.get("code") if isinstance(error, dict) else None
    return f" ({code})" if isinstance(code, int | str) and code else ""


def _or_none(body: object) -> str:
    return server_message(body) or "no reason given"


def server_message(body: object, depth: int = 0) -> str:
    """What a server says in a body that is no reply, in whatever form; empty where nothing."""
    if isinstance(body, str):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", body[:_LONGEST])
        return title[1] if title is not None and title[1].strip() else body
    if depth < _DEPTH and isinstance(body, list):
        return "; ".join(filter(None, (server_message(one, depth + 1) for one in body[:3])))
    if depth < _DEPTH and isinstance(body, dict):
        for name in _REASONS:
            if said := server_message(body.get(name), depth + 1):
                return said
    try:
        return json.dumps(body)[:400] if body and not isinstance(body, bool) else ""
    except (RecursionError, ValueError):
        return ""


def _target(headers: Mapping[str, str]) -> str:
    """Where a redirect leads, without what may be secret in it."""
    place = re.sub(r"[?#].*", "", str(headers.get("location") or headers.get("Location") or ""))
    return re.sub(r"/chat/completions/?$", "", place.strip()) or "an address that it does not name"


def _count(usage: object, field: str) -> int | None:
    value = usage.get(field) if isinstance(usage, dict) else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < TOO_MANY_TOKENS:
        return value
    return None


def retry_after(headers: Any) -> float | None:
    """Seconds named by ``retry-after-ms`` or ``Retry-After`` (a number or a date), or None."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError, OverflowError):
        return None
