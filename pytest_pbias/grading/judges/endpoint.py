"""An endpoint that is asked for structured output, as far as it can give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_pbias.models.chat import ChatRequest, EndpointError, Response
from pytest_pbias.models.client import Endpoint


class StructuredEndpoint(Endpoint):
    """Asks with ``response_format``; an endpoint that refuses that is asked without it."""

    def __init__(self, *arguments: Any, response_format: Mapping[str, Any], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._wanted: dict[str, Any] = {"response_format": dict(response_format)}
        self._refused: set[str] = set()

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The JSON body of one chat completion."""
        body = super().body(request) | self._wanted
        return {name: value for name, value in body.items() if name not in self._refused}

    async def ask(self, request: ChatRequest) -> Response:
        """Ask once; parameters that the endpoint does not take are left out from then on.

        Raises:
            EndpointError: no usable answer came.
        """
        # What was refused is judged by what this request carried: others are under way meanwhile.
        body = self.body(request)
        left_out: set[str] = set()
        refusal: EndpointError | None = None
        while True:
            try:
                response = await self._complete(request.key, body)
            except EndpointError as fault:
                if not _is_refusal(fault):
                    raise
                refusal = refusal or fault
                # Some models take no temperature but their own, and say so.
                name = "temperature" if "temperature" in fault.reason else "response_format"
                if name not in body:
                    raise refusal from None  # nothing more to leave out: that was not it
                del body[name]
                left_out.add(name)
            else:
                self._refused |= left_out
                return response


def _is_refusal(fault: EndpointError) -> bool:
    """Servers that cannot guide decoding say so with a 400, or break down over it (500)."""
    return fault.kind == "refused" or "(500)" in fault.reason
