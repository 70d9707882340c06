"""HTTP below the openai client: proxy, certificates and addresses; chats posted through aiohttp."""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx2
from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from openai import AsyncOpenAI
from yarl import URL

from pytest_pbias.errors import ConfigurationError

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # the first that is set counts


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy for one endpoint.

    ``url`` is without credentials, since errors of the transport print it. They go as headers:
    ``tunnel_headers`` when a tunnel is asked for, or ``headers`` with each request where there is
    none.
    """

    url: URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tunnel_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """The proxy of an endpoint, None where it is asked directly, and the certificates trusted."""

    proxy: Proxy | None
    tls: ssl.SSLContext

    def client_proxy(self) -> httpx2.Proxy | None:
        """The proxy as the official client takes it."""
        if self.proxy is None:
            return None
        return httpx2.Proxy(str(self.proxy.url), headers=self.proxy.tunnel_headers)


def find_route(base_url: str) -> Route:
    """The route to an endpoint that the environment names.

    Raises:
        ConfigurationError: a variable names no HTTP proxy, or no certificates.
    """
    named = tuple(os.environ.get(name) for name in _CERTIFICATES)
    return Route(environment_proxy(URL(base_url)), _trusted_certificates(*named))


def environment_proxy(url: URL) -> Proxy | None:
    """The proxy that the environment names for ``url``; never one for this machine itself.

    Entries of NO_PROXY are hosts and all below them, also with a port, or blocks of addresses
    (``10.0.0.0/8``).

    Raises:
        ConfigurationError: it is not an HTTP proxy, or not an address.
    """
    host = url.host
    if host is None or _is_this_machine(host) or _is_exempt(host, url.port):
        return None
    proxies = getproxies()
    variable = next((name for name in (url.scheme, "all") if proxies.get(name)), None)
    if variable is None:
        return None
    named = proxies[variable]
    try:
        whole = URL(named if "://" in named else f"http://{named}")
        place = whole.origin()
    except ValueError:
        raise ConfigurationError(
            f"the environment variable {variable.upper()}_PROXY does not hold a proxy's address: "
            "write http://HOST:PORT, with special characters of a password percent-encoded"
        ) from None
    if whole.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"the environment names a {whole.scheme} proxy for {host}, but only HTTP proxies "
            "can be used: name one in HTTPS_PROXY or HTTP_PROXY, or exempt the host in NO_PROXY"
        )
    if whole.user is None and whole.password is None:
        return Proxy(place)
    login = b64encode(f"{whole.user or ''}:{whole.password or ''}".encode()).decode()
    credentials = {"Proxy-Authorization": f"Basic {login}"}
    if url.scheme == "https":
        return Proxy(place, tunnel_headers=credentials)
    return Proxy(place, headers=credentials)


def _is_this_machine(host: str) -> bool:
    if host.rstrip(".").lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_exempt(host: str, port: int | None) -> bool:
    if proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return True
    address = _address(host)
    return address is not None and any(
        address in block
        for entry in getproxies().get("no", "").split(",")
        if (block := _block(entry.strip())) is not None
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _block(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=4)
def _trusted_certificates(*named: str | None) -> ssl.SSLContext:
    """The certificates where the environment has ``named`` them, read once: that takes a while."""
    try:
        return httpx2.create_ssl_context()
    except OSError as error:  # unreadable, or no certificates in it
        given = zip(_CERTIFICATES, named, strict=True)
        variable = next((name for name, value in given if value), None)
        source = f"the environment variable {variable}" if variable else "the system"
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"no certificates can be read where {source} names them ({reason}): "
            "name a readable PEM file in SSL_CERT_FILE, or leave it unset for the system's own"
        ) from None


_KEEP_ALIVE_SECONDS = 60.0
_LARGEST_BODY = 16 << 20  # bytes; hundreds of thousands of tokens, with every character escaped
_WINDOW_BITS = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}


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
        """What a failure says: its JSON, or its text where it is none."""
        try:
            return self.json()
        except ValueError:
            return self.content.decode("utf-8", "replace")


class BodyError(Exception):
    """The body of an answer cannot be read, or is too large to be one; the text says so."""


async def _content(response: ClientResponse) -> bytes:
    """The body, decompressed; what a small body would inflate to is never held in memory.

    Raises:
        BodyError: it is larger than any answer, or compressed as nobody asked for.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", *_WINDOW_BITS):
        raise BodyError(f"the answer is compressed as {coding[:20]!r}, which was not asked for")
    compressed, inflater = coding in _WINDOW_BITS, None
    pieces: list[bytes] = []
    left = _LARGEST_BODY
    try:
        while chunk := await response.content.readany():
            if compressed and inflater is None:
                # What is called deflate has a header (RFC 9110), or none all the same.
                bare = coding == "deflate" and chunk[0] & 0x0F != zlib.DEFLATED
                inflater = zlib.decompressobj(-zlib.MAX_WBITS if bare else _WINDOW_BITS[coding])
            piece = chunk if inflater is None else inflater.decompress(chunk, left + 1)
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise BodyError(f"the answer is larger than {_LARGEST_BODY >> 20} MiB")
    except zlib.error:
        raise BodyError(f"the answer is not compressed as {coding}, as it says") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class ChatTransport:
    """Posts bodies to ``path`` of a client's endpoint, from within one event loop.

    ``query`` and ``headers`` go with every request; a header comes before the client's own.
    ``timeout`` and ``connect_timeout`` in seconds; the first bounds a request as a whole.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        route: Route,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        connections: int,
        timeout: float,
        connect_timeout: float,
        path: tuple[str, ...] = ("chat", "completions"),
    ) -> None:
        base = URL(str(client.base_url).rstrip("/"))
        self._url = base.joinpath(*path).with_query(query)
        self._models_url = base.joinpath("models").with_query(query)
        given = {name.casefold() for name in headers}
        usual = {**client.default_headers, **client.auth_headers}
        usual = {name: one for name, one in usual.items() if name.casefold() not in given}
        all_headers = {**usual, **headers}
        # Headers that the client leaves out are marked by an object of its own.
        self._headers = {name: one for name, one in all_headers.items() if isinstance(one, str)}
        self._headers["Accept-Encoding"] = "gzip, deflate"
        self._headers.pop("Content-Type", None)  # a list of models is got without a body
        self._route = route
        # A session's own headers, the API key among them, would go to the proxy as well.
        self._each: dict[str, Any] = {}
        if route.proxy is not None:
            self._each = {"headers": self._headers, "proxy_headers": route.proxy.tunnel_headers}
        typed = {**self._each.get("headers", {}), "Content-Type": "application/json"}
        self._posted = {**self._each, "headers": typed}
        self._connections = connections
        self._timeout = ClientTimeout(total=timeout, sock_connect=connect_timeout)
        self._session: ClientSession | None = None

    async def send(self, body: Mapping[str, Any]) -> HttpAnswer:
        """Post one body and read the answer whole.

        Raises:
            BodyError: the answer is of no use.
            Exception: what aiohttp raises where no answer came, TimeoutError among them.
        """
        session = self._session or self._open()
        content = json.dumps(body, separators=(",", ":")).encode()
        async with session.post(
            self._url, data=content, allow_redirects=False, **self._posted
        ) as response:
            return HttpAnswer(response.status, response.headers, await _content(response))

    async def list_models(self) -> HttpAnswer:
        """Get the endpoint's list of models; raises as :meth:`send` does."""
        session = self._session or self._open()
        async with session.get(self._models_url, allow_redirects=False, **self._each) as response:
            return HttpAnswer(response.status, response.headers, await _content(response))

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
            auto_decompress=False,  # see _content
        )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
