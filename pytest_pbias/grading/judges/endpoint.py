"""An endpoint that is asked for structured output, as far as it can give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_pbias.identities.placement import Message
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.replies import EndpointError, Reply


class StructuredEndpoint(Endpoint):
    """Asks with ``response_format``; an endpoint that refuses that is asked without it."""

    def __init__(self, *arguments: Any, response_format: Mapping[str, Any], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._wanted: dict[str, Any] = {"response_format": dict(response_format)}
        self._refused: set[str] = set()

    def body(self, messages: Sequence[Message], **options: Any) -> dict[str, Any]:
        """The JSON body of one chat completion."""
        body = super().body(messages, **options) | self._wanted
        return {name: value for name, value in body.items() if name not in self._refused}

    async def ask(self, messages: Sequence[Message], **options: Any) -> Reply:
        """Ask once; a parameter that the endpoint does not take is left out from then on.

        Raises:
            EndpointError: no usable answer came.
        """
        try:
            return await super().ask(messages, **options)
        except EndpointError as fault:
            # Some models take no temperature but their own, and say so.
            name = "temperature" if "temperature" in fault.reason else "response_format"
            # Servers that cannot guide decoding say so with a 400, or break down over it (500).
            refused = fault.kind == "refused" or "(500)" in fault.reason
            if not refused or name in self._refused:
                raise
            self._refused.add(name)
            try:
                return await super().ask(messages, **options)
            except EndpointError:
                self._refused.discard(name)  # that was not it
                raise fault from None
