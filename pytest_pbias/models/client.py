"""Asking an OpenAI-compatible endpoint through the official client, at its least cost.

Chats and lists of models go through :mod:`pytest_pbias.models.transport`, the rest through the
client's methods.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
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
from yarl import URL

from pytest_pbias.models.chat import BLOCKED, ChatRequest, EndpointError, Response
from pytest_pbias.models.dialect import PLAIN, Dialect
from pytest_pbias.models.plain_prompt import STOP, plain_prompt
from pytest_pbias.models.replies import is_filtered, parse_completion, ran_out, status_fault
from pytest_pbias.models.spec import public_address, secrets_of, without_secrets
from pytest_pbias.models.transport import BodyError, ChatTransport, find_route

_CONNECT_SECONDS = 10.0


class Endpoint:
    """One OpenAI-compatible endpoint; use it within one event loop, and close it there.

    ``timeout`` (seconds) bounds each attempt as a whole; ``concurrency`` sizes the connection pool.
    ``dialect`` is how it is known to want its requests; ``learned`` is told when that proves
    otherwise, before the answer is there. ``headers`` go with every request; they and the query of
    ``base_url`` are secrets. ``completions``: conversations are sent as plain texts to the route of
    that name, for models without a chat template.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str,
        *,
        concurrency: int = 64,
        timeout: float = 120,
        dialect: Dialect = PLAIN,
        learned: Callable[[Dialect], None] | None = None,
        headers: Mapping[str, str] | None = None,
        completions: bool = False,
    ) -> None:
        self._completions = completions
        self.base_url = public_address(base_url)
        own = dict(headers or {})
        self._secrets = [api_key, *secrets_of(base_url), *own.values()]
        self.model = model
        self._timeout = timeout
        self.dialect = dialect
        self._learned = learned
        self._no_help: set[tuple[Dialect, str]] = set()  # with the complaint
        self._negotiating = asyncio.Lock()
        self._answered = False
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
        address = URL(base_url)
        self._client = AsyncOpenAI(
            base_url=base_url.partition("?")[0],
            default_query=dict(address.query),
            api_key=api_key,
            max_retries=0,
            http_client=http,
            default_headers={**({} if route.proxy is None else route.proxy.headers), **own},
        )
        self._chats = ChatTransport(
            self._client,
            route,
            query=address.query,
            headers=own,
            connections=concurrency + 2,
            timeout=timeout,
            connect_timeout=self._connect_timeout,
            path=("completions",) if completions else ("chat", "completions"),
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
        dialect = self.dialect
        try:
            return await self._post(request.key, self.body(request))
        except EndpointError as fault:
            if self._learn(dialect, fault, request) is None:
                raise
            refusal = fault
        # One request finds out what is taken; those refused meanwhile wait for it.
        async with self._negotiating:
            if self.dialect == dialect:
                return await self._negotiate(request, refusal)
        return await self.ask(request)

    def _learn(
        self, dialect: Dialect, fault: EndpointError, request: ChatRequest
    ) -> Dialect | None:
        """What a refusal in ``dialect`` suggests, None where nothing, or it was of no help."""
        learned = dialect.after(fault, dialect.said(self._plain_body(request)))
        hopeless = learned is not None and (learned, fault.reason) in self._no_help
        return None if hopeless else learned

    async def _negotiate(self, request: ChatRequest, refusal: EndpointError) -> Response:
        """Ask for less, step by step, until the endpoint has nothing more against a field.

        What it then gets is its dialect: a step that its complaint outlives is taken back.
        """
        while True:
            learned = self._learn(self.dialect, refusal, request)
            if learned is None:
                raise refusal
            try:
                response = await self._post(request.key, learned.said(self._plain_body(request)))
            except EndpointError as fault:
                if fault.kind != refusal.kind:
                    raise
                if fault.reason == refusal.reason:
                    self._no_help.add((learned, fault.reason))
                    raise
                self._adopt(learned)
                refusal = fault
            else:
                self._adopt(learned)
                return response

    def _adopt(self, learned: Dialect) -> None:
        self.dialect = learned
        if self._learned is not None:
            self._learned(learned)

    def _read(self, key: str, data: object, *, latency: float) -> Response:
        """The answer in a body; what the endpoint says in place of one is made fit to be shown."""
        try:
            return parse_completion(
                data,
                key=key,
                latency=latency,
                answered=self._answered,
                completions=self._completions,
            )
        except EndpointError as fault:
            raise self._cleaned(fault) from None

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The JSON body of one chat completion, as the endpoint takes it."""
        return self.dialect.said(self._plain_body(request))

    def _plain_body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model}
        if self._completions:
            body |= {"prompt": plain_prompt(request.messages), "stop": list(STOP)}
        else:
            body["messages"] = request.messages
        body |= request.sampling.sent()
        if request.seed is not None:
            body["seed"] = request.seed
        return body

    async def served_models(self, timeout: float = _CONNECT_SECONDS) -> list[str] | None:
        """Return the model names the endpoint lists, or None where it lists none.

        Raises:
            EndpointError: it cannot be reached, or lets nobody with this key see the list.
        """
        try:
            async with asyncio.timeout(timeout):
                answer = await self._chats.list_models()
        except Exception as error:
            fault = self._fault(error, timeout)
            if fault.kind in ("connection", "timeout"):
                raise fault from None
            return None
        if answer.status in (401, 403):
            raise self._status_fault(answer.status, answer.error_body(), answer.headers)
        try:
            listed = answer.json() if answer.is_success else None
        except ValueError:
            return None
        rows = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(rows, list):
            return None
        names = [row["id"] for row in rows if isinstance(row, dict) and "id" in row]
        return [name for name in names if isinstance(name, str)] or None

    async def _post(self, key: str, body: dict[str, Any]) -> Response:
        start = monotonic()
        try:
            answer = await self._chats.send(body)
        except Exception as error:
            raise self._fault(error) from None
        latency = monotonic() - start
        if not answer.is_success:
            said = answer.error_body()
            if answer.status < 500 and is_filtered(said):
                return Response(key, "", BLOCKED, None, None, latency)
            if answer.status == 400 and ran_out(said):
                limit = body.get(self.dialect.limit)
                return Response(key, "", "length", None, limit, latency, reasoning_tokens=limit)
            fault = self._status_fault(answer.status, said, answer.headers)
            fault.said = said
            raise fault
        try:
            data = answer.json()
        except ValueError:
            raise EndpointError("malformed", "the answer is not valid JSON") from None
        response = self._read(key, data, latency=latency)
        self._answered = True
        return response

    def _fault(self, error: Exception, seconds: float | None = None) -> EndpointError:
        if isinstance(error, BodyError):
            return EndpointError("malformed", self._clean(str(error)))
        causes = list(_causes(error))
        if any(isinstance(one, ConnectionTimeoutError) for one in causes):
            return EndpointError("connection", f"no connection within {self._connect_timeout:g} s")
        if isinstance(error, APIStatusError):
            return self._status_fault(error.status_code, error.body, error.response.headers)
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

    def _status_fault(self, status: int, body: object, headers: Mapping[str, str]) -> EndpointError:
        fault = status_fault(
            status,
            body,
            headers,
            address=self.base_url,
            model=self.model,
            answered=self._answered,
        )
        return self._cleaned(fault)

    def _cleaned(self, fault: EndpointError) -> EndpointError:
        """A fault whose reason is fit to be shown."""
        return EndpointError(
            fault.kind,
            self._clean(fault.reason),
            fault.retry_after,
            status=fault.status,
            prompt_tokens=fault.prompt_tokens,
            completion_tokens=fault.completion_tokens,
        )

    def _clean(self, text: str) -> str:
        return without_secrets(text, self._secrets)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came of, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
