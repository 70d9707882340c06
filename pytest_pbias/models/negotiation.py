"""Questions asked of an endpoint before a run: is it there, does it serve the model, which roles.

All are blocking calls; ask them only when something must be asked at all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from pytest_pbias.errors import (
    ConfigurationError,
    InfrastructureError,
    UnansweredError,
    near_matches,
    quoted,
)
from pytest_pbias.models.balance import Balanced, balanced
from pytest_pbias.models.chat import ChatRequest, EndpointError, Response, Sampling
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.dialect import PLAIN, Dialect
from pytest_pbias.models.spec import ModelSpec, public_address
from pytest_pbias.prompts.chat import Message

T = TypeVar("T")

_USER: Message = {"role": "user", "content": "Hello"}
_SYSTEM: Message = {"role": "system", "content": "You are a helpful assistant."}
_TRIES = 4
_TIMED_OUT_TRIES = 2
_LIST_SECONDS = 10.0


def open_endpoint(
    spec: ModelSpec,
    *,
    base_url: str | None = None,
    concurrency: int = 64,
    timeout: float = 120.0,
    dialect: Dialect = PLAIN,
    learned: Callable[[Dialect], None] | None = None,
) -> Endpoint | Balanced:
    """Return the endpoint of a model; ``base_url`` is that of a server started for it.

    Several endpoints of a model are balanced, unless ``base_url`` picks one. ``dialect`` is how
    they are known to want requests; ``learned`` is told where one proves to want them otherwise.

    Raises:
        ConfigurationError: the model has no address, or its key is not set.
    """
    url = base_url or spec.base_url
    if url is None:
        raise ConfigurationError(
            f"model {spec.name!r} has no server yet: give its address", setting="base-url"
        )
    urls = (url, *spec.more_urls) if base_url is None else (url,)
    return balanced(
        Endpoint(
            one,
            spec.served_name,
            spec.api_key(),
            concurrency=concurrency,
            timeout=timeout,
            dialect=dialect,
            learned=learned,
            headers=spec.header_values(),
            completions=spec.completions,
        )
        for one in urls
    )


def check_served_model(
    spec: ModelSpec, *, base_url: str | None = None, timeout: float = 120.0
) -> None:
    """Check that each endpoint answers, and serves the model.

    A list of models is a help, not the truth: servers take names that they do not list, and some
    list nothing, or nobody may see it. A model that is not listed is asked one question, and only
    the endpoint itself refuses it. ``timeout`` in seconds, of each try.

    Raises:
        ConfigurationError: it refuses the model, or rejects the key.
        InfrastructureError: nothing answers there, or not now.
    """
    if base_url is None and spec.more_urls:
        for one in (spec.base_url, *spec.more_urls):
            check_served_model(spec, base_url=one, timeout=timeout)
        return
    listed: list[str] = []
    reached = False

    async def ask(endpoint: Endpoint | Balanced) -> None:
        nonlocal reached
        try:
            served = await endpoint.served_models(min(timeout, _LIST_SECONDS))
        except EndpointError as error:
            if error.kind == "connection":
                raise
            served = []  # the key may do for questions, or the list be what hangs
        reached = True
        if served is None or spec.served_name in served:
            return
        listed.extend(served)
        await _reply(endpoint, ChatRequest("", (_USER,), Sampling()))

    try:
        _with_endpoint(spec, base_url, ask, timeout)
    except EndpointError as error:
        if listed and (error.kind == "refused" or error.status == HTTPStatus.NOT_FOUND):
            hint = near_matches(spec.served_name, listed)
            url = public_address(base_url or str(spec.base_url))
            raise ConfigurationError(
                f"{url} does not serve {quoted(spec.served_name)}: {hint} ({error.reason})"
            ) from None
        raise _for_people(spec, base_url, error, reached=reached) from None


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What one question shows of an endpoint.

    ``takes_system``: whether it takes a system message. ``reply`` is None where it was of no use,
    which is no reason not to go on.
    """

    dialect: Dialect
    takes_system: bool
    reply: Response | None


def lists_name(spec: ModelSpec, name: str) -> bool:
    """Whether the endpoint of ``spec`` lists this very name; False where it cannot be asked."""

    async def ask(endpoint: Endpoint | Balanced) -> list[str] | None:
        return await endpoint.served_models(_LIST_SECONDS)

    try:
        listed = _with_endpoint(spec, spec.base_url, ask, _LIST_SECONDS)
    except (EndpointError, ConfigurationError):
        return False
    return not {name, f"{name}:latest", f"models/{name}"}.isdisjoint(listed or ())


def get_acquainted(
    spec: ModelSpec,
    sampling: Sampling | None = None,
    *,
    seed: int | None = None,
    base_url: str | None = None,
    timeout: float = 120.0,
) -> Acquaintance:
    """Ask a question as the run will, with a system message, and see what the endpoint takes.

    ``timeout`` in seconds, of each try.

    Raises:
        ConfigurationError: it rejects the key, the model, or a plain question too.
        InfrastructureError: it does not answer, after a few tries.
    """

    async def ask(endpoint: Endpoint | Balanced) -> Acquaintance:
        both, plain = (
            ChatRequest("", messages, sampling or Sampling(), seed)
            for messages in ((_SYSTEM, _USER), (_USER,))
        )
        try:
            reply = await _reply(endpoint, both)
        except EndpointError as error:
            if error.kind not in ("refused", "server"):
                raise
            reply = await _reply(endpoint, plain)
            # Servers may break down over a system message; one that was out of order is well now.
            takes = error.kind == "server" and await _is_well(endpoint, both)
        else:
            takes = not endpoint.dialect.joins_system
        return Acquaintance(endpoint.dialect, takes, reply)

    try:
        return _with_endpoint(spec, base_url, ask, timeout)
    except EndpointError as error:
        raise _for_people(spec, base_url, error, reached=True) from None


def ask_first(
    spec: ModelSpec, request: ChatRequest, *, base_url: str | None = None, timeout: float = 120.0
) -> Acquaintance | None:
    """What one request of a run shows of an endpoint; None where it was of no use, for now.

    It is tried once, and what is wrong is left to those that ask the rest.
    """

    async def ask(endpoint: Endpoint | Balanced) -> Acquaintance:
        reply: Response | None = None
        try:
            reply = await endpoint.ask(request)
        except EndpointError as error:
            if error.kind != "refused":
                raise
            # No way of asking this one is taken, and what the endpoint takes is known all the same.
        return Acquaintance(endpoint.dialect, not endpoint.dialect.joins_system, reply)

    try:
        return _with_endpoint(spec, base_url, ask, timeout)
    except EndpointError:
        return None


async def _is_well(endpoint: Endpoint | Balanced, request: ChatRequest) -> bool:
    try:
        await _reply(endpoint, request)
    except EndpointError as error:
        if error.kind not in ("refused", "server"):
            raise
        return False
    return True


async def _reply(endpoint: Endpoint | Balanced, request: ChatRequest) -> Response | None:
    """Ask, trying again what may pass; None where an answer came that is of no use."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return await endpoint.ask(request)
        except EndpointError as error:
            if error.kind == "malformed":
                return None
            tries = _TIMED_OUT_TRIES if error.kind == "timeout" else _TRIES
            if error.kind in ("refused", "fatal") or attempt >= tries:
                raise
            await asyncio.sleep(min(error.retry_after or 0.5 * 2**attempt, 10.0))


def _for_people(
    spec: ModelSpec, base_url: str | None, error: EndpointError, *, reached: bool
) -> Exception:
    """The error as one line; ``reached``: the endpoint has answered something before."""
    url, reason = public_address(base_url or str(spec.base_url)), error.reason
    if error.kind == "connection" and not reached:
        return InfrastructureError(
            f"nothing answers at {url}: start the server or correct the address ({reason})",
            setting="base-url",
        )
    if error.status == HTTPStatus.UNAUTHORIZED:
        variable = spec.api_key_env or spec.usual_key_env
        return ConfigurationError(f"{reason}: check the environment variable {variable}")
    told = reason if reason.startswith(url) else f"{url}: {reason}"
    mistaken = error.kind == "refused" or error.status in (HTTPStatus.NOT_FOUND, None)
    if error.kind in ("refused", "fatal") and mistaken:
        return ConfigurationError(told)
    return UnansweredError(told)


def _with_endpoint(
    spec: ModelSpec,
    base_url: str | None,
    ask: Callable[[Endpoint | Balanced], Awaitable[T]],
    timeout: float,
) -> T:
    """Run ``ask`` in an event loop of its own thread, so that callers may have one themselves."""
    results: list[T] = []
    errors: list[BaseException] = []

    async def run() -> T:
        endpoint = open_endpoint(spec, base_url=base_url, concurrency=2, timeout=timeout)
        try:
            return await ask(endpoint)
        finally:
            await endpoint.aclose()

    def main() -> None:
        try:
            results.append(asyncio.run(run()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=main, name="pbias-probe", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
