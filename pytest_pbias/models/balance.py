"""Several endpoints that serve the same model, asked as one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pytest_pbias.models.chat import ChatRequest, EndpointError, Response
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.dialect import Dialect

_FIRST_REST_SECONDS = 0.5
_LONGEST_REST_SECONDS = 30.0
_ELSEWHERE = frozenset({"connection", "server", "throttled", "fatal"})


@dataclass(slots=True)
class _Member:
    endpoint: Endpoint
    outstanding: int = 0
    started: int = 0
    faults: int = 0  # in a row
    rests_until: float = 0.0
    given_up: bool = False

    def is_open(self, now: float) -> bool:
        """Whether it may be asked; after a rest by one request alone, until that succeeds."""
        if self.given_up or now < self.rests_until:
            return False
        return self.faults == 0 or self.outstanding == 0

    def fault(self, error: EndpointError, now: float) -> None:
        self.given_up = self.given_up or error.kind == "fatal"
        rest = _FIRST_REST_SECONDS * 2.0 ** min(self.faults, 16)
        self.faults += 1
        self.rests_until = now + max(min(rest, _LONGEST_REST_SECONDS), error.retry_after or 0.0)

    def success(self) -> None:
        self.faults = 0
        self.rests_until = 0.0


class Balanced:
    """Endpoints of one model: each request goes to the one with the fewest outstanding.

    One that breaks down rests (0.5 s, doubling up to 30 s) and what it was asked goes to the next
    at once; one that rejects every request (``fatal``) is not asked again. Use it within one event
    loop, as an :class:`Endpoint`.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        if not endpoints:
            raise ValueError("no endpoints to balance")
        self._members = [_Member(endpoint) for endpoint in endpoints]

    def __repr__(self) -> str:
        return f"Balanced({[member.endpoint for member in self._members]!r})"

    @property
    def dialect(self) -> Dialect:
        """How requests are said that all of them take."""
        return reduce(or_, (member.endpoint.dialect for member in self._members))

    async def ask(self, request: ChatRequest) -> Response:
        """Ask for one chat completion, of each endpoint at most once.

        Raises:
            EndpointError: none gave a usable answer; ``fatal`` only where all of them are.
        """
        errors: list[EndpointError] = []
        left = list(self._members)
        while left:
            member = _next(left)
            left.remove(member)
            member.outstanding += 1
            member.started += 1
            try:
                response = await member.endpoint.ask(request)
            except EndpointError as error:
                if error.kind in _ELSEWHERE or error.kind in ("timeout", "malformed"):
                    member.fault(error, time.monotonic())
                if error.kind not in _ELSEWHERE:
                    # A request that took its whole time, or was paid for, is tried again later,
                    # by the caller; who says nothing, and at once, gets no more than the others.
                    raise
                errors.append(error)
            else:
                member.success()
                return response
            finally:
                member.outstanding -= 1
        raise _telling(errors)

    async def served_models(self, timeout: float = 10.0) -> list[str] | None:
        """The models that the first answering endpoint lists, or None where it lists none.

        Raises:
            EndpointError: none of them answers.
        """
        members = [member for member in self._members if not member.given_up] or self._members
        results = await asyncio.gather(
            *(member.endpoint.served_models(timeout) for member in members), return_exceptions=True
        )
        answers = [result for result in results if not isinstance(result, BaseException)]
        if answers:
            return next((answer for answer in answers if answer is not None), None)
        raise next(result for result in results if isinstance(result, BaseException))

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(member.endpoint.aclose() for member in self._members))


def balanced(endpoints: Iterable[Endpoint]) -> Endpoint | Balanced:
    """The endpoint where there is one, else all of them asked as one."""
    every = list(endpoints)
    return every[0] if len(every) == 1 else Balanced(every)


def _next(members: Sequence[_Member]) -> _Member:
    """The open member with the fewest outstanding; where all rest, the one that rests least."""
    now = time.monotonic()
    candidates = [member for member in members if member.is_open(now)]
    if candidates:
        return min(candidates, key=lambda member: (member.outstanding, member.started))
    return min(members, key=lambda member: (member.given_up, member.rests_until))


def _telling(errors: Sequence[EndpointError]) -> EndpointError:
    """The error that says best what may help: waiting, then trying again, then nothing."""
    for kind in ("throttled", "server", "connection"):
        for error in errors:
            if error.kind == kind:
                return error
    return errors[-1]
