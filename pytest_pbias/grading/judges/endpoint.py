"""An endpoint that is asked for structured output, as far as it can give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_pbias.models.chat import ChatRequest, EndpointError
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.dialect import Dialect


class StructuredEndpoint(Endpoint):
    """Asks with ``response_format``; an endpoint that refuses that is asked without it."""

    def __init__(self, *arguments: Any, response_format: Mapping[str, Any], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._wanted: dict[str, Any] = {"response_format": dict(response_format)}

    def _plain_body(self, request: ChatRequest) -> dict[str, Any]:
        return super()._plain_body(request) | self._wanted

    def _learn(
        self, dialect: Dialect, fault: EndpointError, request: ChatRequest
    ) -> Dialect | None:
        """Also a refusal that names no field is taken for one of guided decoding."""
        learned = super()._learn(dialect, fault, request)
        if learned is not None or not _is_refusal(fault):
            return learned
        left_out = dialect.left_out | {"response_format"}
        guess = replace(dialect, left_out=left_out)
        return None if guess == dialect or (guess, fault.reason) in self._no_help else guess


def _is_refusal(fault: EndpointError) -> bool:
    """Servers that cannot guide decoding say so with a 400, or break down over it (500)."""
    return fault.kind == "refused" or fault.status == 500
