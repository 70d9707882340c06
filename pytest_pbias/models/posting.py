"""Posting chats with the headers of the ``openai`` client, over the transport it stands on.

``AsyncOpenAI.post`` builds every request and answer anew in two layers above aiohttp: two thirds of
what a chat costs (benchmarks/perf/collecting.py). Here address and headers are taken from the
official client once, and chats go to aiohttp directly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from openai import AsyncOpenAI
from yarl import URL

from pytest_pbias.models.route import Route

_KEEP_ALIVE_SECONDS = 60.0


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
    """Posts bodies to ``chat/completions`` of a client's endpoint, from within one event loop.

    ``timeout`` and ``connect_timeout`` in seconds; the first bounds a request as a whole.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        route: Route,
        *,
        connections: int,
        timeout: float,
        connect_timeout: float,
    ) -> None:
        self._url = URL(f"{str(client.base_url).rstrip('/')}/chat/completions")
        headers = {**client.default_headers, **client.auth_headers}
        # Headers that the client leaves out are marked by an object of its own.
        self._headers = {name: one for name, one in headers.items() if isinstance(one, str)}
        self._route = route
        # A session's own headers, the API key among them, would go to the proxy as well.
        self._each: dict[str, Any] = {}
        if route.proxy is not None:
            self._each = {"headers": self._headers, "proxy_headers": route.proxy.tunnel_headers}
        self._connections = connections
        self._timeout = ClientTimeout(total=timeout, sock_connect=connect_timeout)
        self._session: ClientSession | None = None

    async def send(self, body: Mapping[str, Any]) -> HttpAnswer:
        """Post one body and read the answer whole.

        Raises:
            Exception: what aiohttp raises where no answer came, TimeoutError among them.
        """
        session = self._session or self._open()
        content = json.dumps(body, separators=(",", ":")).encode()
        async with session.post(
            self._url, data=content, allow_redirects=False, **self._each
        ) as response:
            return HttpAnswer(response.status, response.headers, await response.read())

    def _open(self) -> ClientSession:
        tls, proxy = self._route.tls, self._route.proxy
        self._session = ClientSession(
            connector=TCPConnector(
                limit=self._connections, keepalive_timeout=_KEEP_ALIVE_SECONDS, ssl=tls
            ),
            headers=self._headers if proxy is None else None,
            timeout=self._timeout,
            proxy=None if proxy is None else proxy.url,
            cookie_jar=DummyCookieJar(),
        )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
