"""The Batch API of an OpenAI-compatible endpoint: half the price, answers within a day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openai import NotFoundError

from pytest_pbias.models.chat import (
    BATCH_ENDED,
    BLOCKED,
    BatchStatus,
    ChatRequest,
    EndpointError,
    GoneError,
    Response,
)
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.dialect import Dialect
from pytest_pbias.models.replies import is_filtered

_TAG = "pytest-pbias"
_MOST_LISTED = 1000  # of the newest batches, among which one with a tag is looked for


class BatchEndpoint(Endpoint):
    """An endpoint asked through files and batches; use it within one event loop.

    Raises:
        EndpointError: from every method that asks, where the endpoint gave no usable answer.
    """

    def learn(self, request: ChatRequest, fault: EndpointError, *, said: Dialect) -> bool:
        """Take from a line refused in the dialect ``said`` what the endpoint does not take.

        Whether that was something: the request can be asked in another way then.
        """
        learned = said.after(fault, said.said(self._plain_body(request)))
        if learned is None:
            return False
        if (both := self.dialect | learned) != self.dialect:
            self._adopt(both)
        return True

    async def upload(self, lines: Sequence[bytes]) -> str:
        """Upload requests, one JSON line each; return the id of their file."""
        try:
            file = await self._client.files.create(
                file=("requests.jsonl", b"\n".join(lines)), purpose="batch"
            )
        except Exception as error:
            raise self._fault(error) from None
        return _id_of(file)

    async def create(self, file_id: str, tag: str) -> str:
        """Start a batch of the requests in a file, which is what costs; return its id."""
        try:
            batch = await self._client.batches.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TAG: tag},
            )
        except Exception as error:
            raise self._fault(error) from None
        return _id_of(batch)

    async def find(self, tag: str) -> str | None:
        """The id of a batch with this tag among the newest thousand, or None.

        Those that ended without a file of answers are left out.
        """
        listed = 0
        try:
            async for batch in self._client.batches.list(limit=100):
                fruitless = batch.status in BATCH_ENDED and not batch.output_file_id
                if (batch.metadata or {}).get(_TAG) == tag and not fruitless:
                    return batch.id
                listed += 1
                if listed == _MOST_LISTED:
                    break
        except Exception as error:
            raise self._fault(error) from None
        return None

    async def status(self, batch_id: str) -> BatchStatus:
        """How the batch stands.

        Raises:
            GoneError: the endpoint knows no such batch.
        """
        try:
            batch = await self._client.batches.retrieve(batch_id)
            files = tuple(name for name in (batch.output_file_id, batch.error_file_id) if name)
            errors = (batch.errors.data if batch.errors is not None else None) or []
            said = "; ".join(error.message or error.code or "" for error in errors[:3])
            done = batch.request_counts.completed if batch.request_counts is not None else 0
        except NotFoundError:
            raise GoneError(f"the provider no longer knows the batch {batch_id} (404)") from None
        except Exception as error:
            raise self._fault(error) from None
        return BatchStatus(batch_id, batch.status, done, files, self._clean(said))

    async def results(self, file_id: str) -> dict[str, Response | EndpointError]:
        """What a result file holds, by the keys under which requests were submitted.

        Raises:
            GoneError: the endpoint knows no such file.
        """
        try:
            content = (await self._client.files.content(file_id)).content
        except NotFoundError:
            raise GoneError(f"the provider no longer has the results {file_id} (404)") from None
        except Exception as error:
            raise self._fault(error) from None
        found: dict[str, Response | EndpointError] = {}
        # As bytes: texts hold characters at which str.splitlines() would break a line as well.
        for line in content.split(b"\n"):
            found.update(self._result(line))
        return found

    def _result(self, line: bytes) -> dict[str, Response | EndpointError]:
        """The result on a line under its key; nothing where there is no key to be read.

        A request without its result stays missing and is asked again.
        """
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError):
            return {}
        key = row.get("custom_id") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(key, str):
            return {}
        try:
            return {key: self._response(key, row)}
        except EndpointError as error:
            return {key: error}

    def _response(self, key: str, row: dict[str, Any]) -> Response:
        response = row.get("response") or {}
        if not isinstance(response, dict):
            raise EndpointError("malformed", "its line in the batch's results has no response")
        if row.get("error") or response.get("status_code") != 200:
            said = row.get("error") or response.get("body") or "no reason given"
            if is_filtered(said):
                return Response(key, "", BLOCKED, None, None, 0.0)
            status = response.get("status_code", "no status")
            raise EndpointError(
                "refused",
                f"refused in the batch ({status}): {self._clean(json.dumps(said))}",
                said=said,
            )
        return self._read(key, response.get("body"), latency=0.0)


def _id_of(made: object) -> str:
    name = getattr(made, "id", None)
    if not isinstance(name, str) or not name:
        raise EndpointError("malformed", "what the endpoint says it made has no id")
    return name
