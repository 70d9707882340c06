"""Posting chats through the HTTP client of the ``openai`` package, at its least cost.

``AsyncOpenAI.post`` builds every request anew: address, headers, options. Here they are built once;
what is left takes less than half of the time (benchmarks/perf/collecting.py). Authentication,
headers and transport stay the official client's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI, DefaultAioHttpClient


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server sent: its status, headers and body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> object:
        """The body read as JSON.

        Raises:
            ValueError: it is none, nests too deep, or is not UTF-8.
        """
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("nested too deep") from None

    def error_body(self) -> object:
        """What a failure says: the object under ``error`` where there is one, else the body."""
        try:
            body = self.json()
        except ValueError:
            return self.content.decode("utf-8", "replace")
        return body.get("error", body) if isinstance(body, dict) else body


class ChatPost:
    """Posts bodies to ``chat/completions`` of a client's endpoint."""

    def __init__(self, client: AsyncOpenAI, http: DefaultAioHttpClient) -> None:
        self._http = http
        headers = {**client.default_headers, **client.auth_headers}
        template = http.build_request(
            "POST",
            f"{str(client.base_url).rstrip('/')}/chat/completions",
            # Headers that the client leaves out are marked by an object of its own.
            headers={name: value for name, value in headers.items() if isinstance(value, str)},
            content=b"",
        )
        self._request: Any = type(template)
        self._url = template.url
        self._extensions = dict(template.extensions)
        self._headers = [
            pair for pair in template.headers.raw if pair[0].lower() != b"content-length"
        ]

    async def send(self, body: Mapping[str, Any]) -> HttpAnswer:
        """Post one body and read the answer whole.

        Raises:
            Exception: what the HTTP client raises where no answer came.
        """
        content = json.dumps(body, separators=(",", ":")).encode()
        length = (b"content-length", str(len(content)).encode())
        request = self._request(
            "POST",
            self._url,
            headers=[*self._headers, length],
            content=content,
            extensions=self._extensions,
        )
        response = await self._http.send(request)
        return HttpAnswer(response.status_code, response.headers, response.content)
