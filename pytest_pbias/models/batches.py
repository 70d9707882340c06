"""The Batch API of an OpenAI-compatible endpoint: half the price, answers within a day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_pbias.models.client import Endpoint, parse_completion
from pytest_pbias.models.replies import BatchStatus, EndpointError, Reply

_TAG = "pytest-pbias"


class BatchEndpoint(Endpoint):
    """An endpoint asked through files and batches; use it within one event loop.

    Raises:
        EndpointError: from every method that asks, where the endpoint gave no usable answer.
    """

    async def submit(self, lines: Sequence[bytes], tag: str) -> str:
        """Upload requests, one JSON line each, and start a batch of them; return its id."""
        try:
            file = await self._client.files.create(
                file=("requests.jsonl", b"\n".join(lines)), purpose="batch"
            )
            batch = await self._client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TAG: tag},
            )
        except Exception as error:
            raise self._fault(error) from None
        return batch.id

    async def find(self, tag: str) -> str | None:
        """The id of a batch with this tag among the newest hundred, or None."""
        try:
            page = await self._client.batches.list(limit=100)
        except Exception as error:
            raise self._fault(error) from None
        for batch in page.data:
            if (batch.metadata or {}).get(_TAG) == tag and batch.status not in ("failed",):
                return batch.id
        return None

    async def status(self, batch_id: str) -> BatchStatus:
        """How the batch stands."""
        try:
            batch = await self._client.batches.retrieve(batch_id)
        except Exception as error:
            raise self._fault(error) from None
        files = tuple(name for name in (batch.output_file_id, batch.error_file_id) if name)
        errors = (batch.errors.data if batch.errors is not None else None) or []
        said = self._clean("; ".join(error.message or error.code or "" for error in errors[:3]))
        done = batch.request_counts.completed if batch.request_counts is not None else 0
        return BatchStatus(batch.id, batch.status, done, files, said)

    async def results(self, file_id: str) -> dict[str, Reply | EndpointError]:
        """What a result file holds, by the keys under which requests were submitted."""
        try:
            content = await self._client.files.content(file_id)
            text = content.text
        except Exception as error:
            raise self._fault(error) from None
        found: dict[str, Reply | EndpointError] = {}
        for line in text.splitlines():
            if line.strip():
                found.update(self._result(line))
        return found

    def _result(self, line: str) -> dict[str, Reply | EndpointError]:
        try:
            row = json.loads(line)
            key = row["custom_id"]
        except (ValueError, TypeError, KeyError):
            return {}  # a request without its result stays missing and is asked again
        response: Any = row.get("response") or {}
        try:
            if row.get("error") or response.get("status_code") != 200:
                said = row.get("error") or response.get("body") or "no reason given"
                status = response.get("status_code", "no status")
                raise EndpointError(
                    "refused", f"refused in the batch ({status}): {self._clean(json.dumps(said))}"
                )
            return {key: parse_completion(response.get("body"))}
        except EndpointError as error:
            return {key: error}
