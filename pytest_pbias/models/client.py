"""Asking an OpenAI-compatible endpoint through the official client, at its least cost.

Chats are posted by :mod:`pytest_pbias.models.transport`; the rest goes through the client's
methods.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any

from aiohttp import ConnectionTimeoutError
from openai import (
    DEFAULT_CONNECTION_LIMITS,
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    DefaultAioHttpClient,
    OpenAIError,
    Timeout,
)

from pytest_pbias.models.chat import (
    FAILED_FINISH,
    TOO_MANY_TOKENS,
    ChatRequest,
    EndpointError,
    FaultKind,
    Response,
    no_answer,
)
from pytest_pbias.models.transport import ChatTransport, find_route

_CONNECT_SECONDS = 10.0
_RETRY_STATUS = {408, 409, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}


class Endpoint:
    """One OpenAI-compatible endpoint; use it within one event loop, and close it there.

    ``timeout`` (seconds) bounds each attempt as a whole; ``concurrency`` sizes the connection pool.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str,
        *,
        concurrency: int = 64,
        timeout: float = 120,
    ) -> None:
        self.base_url = base_url
        self.model = model
        self._secret = api_key
        self._timeout = timeout
        self._tokens_field = "max_tokens"
        self._answers = False
        limits = type(DEFAULT_CONNECTION_LIMITS)(
            max_connections=concurrency + 2,
            max_keepalive_connections=concurrency + 2,
            keepalive_expiry=60.0,
        )
        route = find_route(base_url)
        self._connect_timeout = min(_CONNECT_SECONDS, timeout / 2)
        http = DefaultAioHttpClient(
            verify=route.tls,
            proxy=route.client_proxy(),
            trust_env=False,
            limits=limits,
            timeout=Timeout(timeout, connect=self._connect_timeout),
            follow_redirects=False,
        )
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            http_client=http,
            default_headers=None if route.proxy is None else route.proxy.headers,
        )
        self._chats = ChatTransport(
            self._client,
            route,
            connections=concurrency + 2,
            timeout=timeout,
            connect_timeout=self._connect_timeout,
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._chats.aclose()
        await self._client.close()

    async def ask(self, request: ChatRequest) -> Response:
        """Ask for one chat completion, once.

        Raises:
            EndpointError: no usable answer came; its kind says whether another try may help.
        """
        return await self._complete(request.key, self.body(request))

    async def _complete(self, key: str, body: dict[str, Any]) -> Response:
        start = monotonic()
        try:
            answer = await self._post(body)
            return self._read(key, answer, latency=monotonic() - start)
        except EndpointError as fault:
            renamed = "max_completion_tokens" in fault.reason
            if not renamed or "max_tokens" not in body:
                raise
        # Newer API models take the same limit under another name only, and say so.
        self._tokens_field = "max_completion_tokens"
        body[self._tokens_field] = body.pop("max_tokens")
        answer = await self._post(body)
        return self._read(key, answer, latency=monotonic() - start)

    def _read(self, key: str, data: object, *, latency: float) -> Response:
        """The answer in a body; what the endpoint says in place of one is made fit to be shown."""
        try:
            return parse_completion(data, key=key, latency=latency)
        except EndpointError as fault:
            raise EndpointError(
                fault.kind,
                self._clean(fault.reason),
                prompt_tokens=fault.prompt_tokens,
                completion_tokens=fault.completion_tokens,
            ) from None

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The JSON body of one chat completion."""
        body: dict[str, Any] = {"model": self.model, "messages": request.messages}
        body |= request.sampling.sent()
        if self._tokens_field != "max_tokens":
            body[self._tokens_field] = body.pop("max_tokens")
        if request.seed is not None:
            body["seed"] = request.seed
        return body

    async def served_models(self, timeout: float = _CONNECT_SECONDS) -> list[str] | None:
        """Return the model names the endpoint lists, or None where it lists none.

        Raises:
            EndpointError: it cannot be reached, or rejects the key.
        """
        try:
            async with asyncio.timeout(timeout):
                answer = await self._client.get("/models", cast_to=object)
        except Exception as error:
            fault = self._fault(error, timeout)
            if fault.kind in ("connection", "timeout") or "API key" in fault.reason:
                raise fault from None
            return None
        rows = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            return None
        names = [row["id"] for row in rows if isinstance(row, dict) and "id" in row]
        return [name for name in names if isinstance(name, str)] or None

    async def _post(self, body: dict[str, Any]) -> object:
        try:
            answer = await self._chats.send(body)
        except Exception as error:
            raise self._fault(error) from None
        if answer.is_success:
            self._answers = True
            try:
                return answer.json()
            except ValueError:
                raise EndpointError("malformed", "the answer is not valid JSON") from None
        said = answer.error_body()
        code = said.get("code") if isinstance(said, dict) else None
        raise self._status_fault(answer.status, code, said, answer.headers)

    def _fault(self, error: Exception, seconds: float | None = None) -> EndpointError:
        causes = list(_causes(error))
        if any(isinstance(one, ConnectionTimeoutError) for one in causes):
            return EndpointError("connection", f"no connection within {self._connect_timeout:g} s")
        if isinstance(error, APIStatusError):
            return self._status_fault(
                error.status_code, error.code, error.body, error.response.headers
            )
        if isinstance(error, TimeoutError):
            return EndpointError("timeout", f"no answer within {seconds or self._timeout:g} s")
        if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            return EndpointError("malformed", "the answer is not valid JSON")
        root = causes[-1]
        detail = self._clean(f"{type(root).__name__}: {root}" if str(root) else type(root).__name__)
        # The transport calls a reset a time-out as well; its cause tells them apart.
        if isinstance(root, TimeoutError):
            return EndpointError("timeout", f"no answer in time ({detail})")
        refused = isinstance(error, (OpenAIError, TypeError))
        if refused and not isinstance(error, APIConnectionError):
            return EndpointError("refused", f"request failed ({detail})")
        return EndpointError("connection", f"connection failed ({detail})")

    def _status_fault(
        self, status: int, code: object, body: object, headers: Mapping[str, str]
    ) -> EndpointError:
        said = self._clean(_server_message(body) or "no reason given")
        wait = retry_after(headers)
        if status == 429 and code == "insufficient_quota":
            return EndpointError("fatal", f"the account has no quota left (429): {said}")
        if status == 429:
            return EndpointError("throttled", f"too many requests (429): {said}", wait)
        if status in _RETRY_STATUS or status >= 500:
            return EndpointError("server", f"server error ({status}): {said}", wait)
        if status == 401:
            return EndpointError("fatal", f"{self.base_url} rejected the API key (401)")
        if status == 404 and self._answers:  # of a gateway: address and model are right
            return EndpointError("server", f"server error ({status}): {said}", wait)
        if status == 404:
            return EndpointError(
                "fatal", f"{self.base_url} has no such model or address (404, {self.model}): {said}"
            )
        return EndpointError("refused", f"request refused ({status}): {said}")

    def _clean(self, text: str) -> str:
        if len(self._secret) >= 6:
            text = text.replace(self._secret, "***")
        text = re.sub(r"\bsk-[\w*.-]+", "***", " ".join(text.split()))
        text = re.sub(r"//[^/\s]*@", "//***@", text)
        text = text.replace("##[", "## [")  # a command of GitHub's, wherever it stands in a log
        return text if len(text) <= 300 else text[:297] + "..."


def parse_completion(data: object, *, key: str = "", latency: float = 0.0) -> Response:
    """Read a chat completion as the endpoint sent it, to the request ``key`` within ``latency`` s.

    What is empty, blank, cut off before it began, or an error in disguise is no answer.

    Raises:
        EndpointError: there is no answer in it; ``refused`` where it was filtered, ``throttled`` or
            ``server`` where an error stands in its place, else ``malformed``. The reason may hold
            anything that the endpoint says.
    """
    if not isinstance(data, dict):
        raise EndpointError("malformed", "the answer is not a JSON object (wrong content type?)")
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    finish = choice.get("finish_reason") if isinstance(choice, dict) else None
    finish = finish if isinstance(finish, str) else ""
    usage = data.get("usage")
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    fault = _disguised_error(data, choice, message)
    if fault is None and choice is None:
        fault = "malformed", "the answer has no choices"
    if fault is None and (why := no_answer(text if isinstance(text, str) else "", finish)):
        fault = _kind_of_nothing(finish), why
    if fault is not None or not isinstance(text, str):
        kind, reason = fault or ("malformed", "the answer has no text")
        raise EndpointError(
            kind, reason, prompt_tokens=prompt or 0, completion_tokens=completion or 0
        )
    return Response(
        key=key,
        text=text,
        finish_reason=finish,
        prompt_tokens=prompt,
        completion_tokens=completion,
        latency=latency,
    )


def _kind_of_nothing(finish_reason: str) -> FaultKind:
    """What may help where a reply with this finish reason is no answer."""
    if finish_reason == "content_filter":
        return "refused"
    return "server" if finish_reason.casefold() in FAILED_FINISH else "malformed"


def _disguised_error(*places: object) -> tuple[FaultKind, str] | None:
    """The error that a body of a good status holds in one of ``places``, or None."""
    for place in places:
        if not isinstance(place, dict):
            continue
        error = place if place.get("object") == "error" else place.get("error")
        if not error or (isinstance(error, dict) and not any(error.values())):
            continue  # some gateways always send the field
        code = error.get("code") if isinstance(error, dict) else None
        numbered = f" ({code})" if isinstance(code, int | str) and code else ""
        said = _server_message(error) or "no reason given"
        kind: FaultKind = "throttled" if str(code) == "429" else "server"
        return kind, f"an error in place of the answer{numbered}: {said}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came of, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _count(usage: object, field: str) -> int | None:
    value = usage.get(field) if isinstance(usage, dict) else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < TOO_MANY_TOKENS:
        return value
    return None


def _server_message(body: object) -> str:
    if isinstance(body, dict):
        inner = body.get("message") or body.get("detail") or body.get("error")
        if isinstance(inner, str):
            return inner
        body = inner or body
    if isinstance(body, str):
        return body
    try:
        return json.dumps(body)[:400] if body else ""
    except RecursionError:
        return ""


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
