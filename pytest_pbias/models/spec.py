"""What is known of a model before anything is asked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_plus

from pytest_pbias.errors import ConfigurationError, quoted

NO_KEY = "EMPTY"  # what servers without keys are sent, by their own convention
DEFAULT_KEY_ENV = "OPENAI_API_KEY"

# A run of letters and digits mixed, as long as only keys and account numbers have it.
_KEY_RUN = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16,}")
_SHORTEST_SECRET = 6
_VERSION_NAME = re.compile(r"(api[-_]?)?version", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OWN_HEADERS = frozenset(
    ("host", "content-type", "content-length", "accept-encoding", "transfer-encoding", "connection")
)
_NAME_OF_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def looks_like_a_key(text: str) -> bool:
    """Whether a text, of which nothing else is known, may be an API key."""
    return text.startswith("sk-") or _KEY_RUN.search(text) is not None


def public_address(url: str) -> str:
    """An address as it may be shown and kept: what may be a key in it is a hash.

    That is of the path what looks like one, and of the query everything but versions. Addresses
    that differ stay different.
    """
    address, asks, query = url.partition("?")
    scheme, mark, rest = address.partition("://")
    host, *path = rest.split("/")
    shown = [_hashed(one) if looks_like_a_key(one) else one for one in path]
    pairs = [one.partition("=") for one in query.split("&")] if query else []
    told = [
        name + equals + (value if _says_a_version(name, value) else _hashed(value))
        for name, equals, value in pairs
    ]
    return scheme + mark + "/".join((host, *shown)) + asks + "&".join(told)


def _says_a_version(name: str, value: str) -> bool:
    return _VERSION_NAME.fullmatch(name) is not None and not looks_like_a_key(value)


def _hashed(text: str) -> str:
    return f"***{hashlib.sha256(text.encode()).hexdigest()[:8]}" if text else ""


def shown_name(name: str) -> str:
    """A model's name as an error quotes it; what may be a key, given in its place, is a hash."""
    return quoted(_hashed(name) if looks_like_a_key(name) else name)


def secrets_of(url: str) -> tuple[str, ...]:
    """What :func:`public_address` hides of an address, as it is written there and decoded."""
    address, _, query = url.partition("?")
    hidden = [one for one in address.split("/") if looks_like_a_key(one)]
    for name, _, value in (one.partition("=") for one in query.split("&")):
        if not _says_a_version(name, value):
            hidden += [value, unquote_plus(value)]
    return tuple(dict.fromkeys(one for one in hidden if one))


_MOST_SAID = 300


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """One short line of what a target said, fit to be shown: without ``secrets`` and keys."""
    text = " ".join(text.split())
    for secret in secrets:
        text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
    text = re.sub(r"\bsk-[\w*.-]+", "***", text)
    text = re.sub(r"//[^/\s]*@", "//***@", text)
    text = text.replace("##[", "## [")  # a command of GitHub's, wherever it stands in a log
    return text if len(text) <= _MOST_SAID else text[: _MOST_SAID - 3] + "..."


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter: its served name, largest rank, and the rank that a server makes room for."""

    name: str
    folder: Path
    rank: int
    room: int
    digest: str


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """Which LoRA adapter a server had: name, rank, hash of its weights."""

    name: str = ""
    rank: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server that a run started; None and empty where it does not say.

    ``versions`` are all that answered under this model, ``version`` the last of them. ``warning``
    is for those who read the report; ``arguments`` were given to the engine, without secrets.
    """

    engine: str = ""
    model: str = ""
    version: str | None = None
    versions: tuple[str, ...] = ()
    weights: str | None = None
    revision: str | None = None
    adapter: AdapterFacts | None = None
    dtype: str | None = None
    quantization: str | None = None
    device: str | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    prefix_caching: str | None = None
    deterministic: str | None = None
    warning: str | None = None
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationFacts:
    """What is known of an application that was measured: the version it was given, if any.

    ``identity`` says how it got to know who asks: ``stated`` in the conversation, ``handed`` over
    beside it, or ``both``. ``asks`` is all that it was handed, by name.
    """

    version: str = ""
    identity: Literal["stated", "handed", "both"] = "stated"
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """A header of every request: its name, and the environment variable that holds its value."""

    name: str
    variable: str

    def value(self) -> str:
        """The value, which is held nowhere else.

        Raises:
            ConfigurationError: the variable is not set, or holds what no header can.
        """
        value = os.environ.get(self.variable, "").strip()
        if not value:
            raise ConfigurationError(
                f"the header {self.name} needs the environment variable {self.variable}: set it",
                setting="header",
            )
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"the environment variable {self.variable} holds nothing that a header can: it has "
                "line breaks or characters that are not ASCII",
                setting="header",
            )
        return value


def parse_headers(text: str) -> tuple[Header, ...]:
    """Read ``Name: env:VARIABLE``, several with commas between.

    Raises:
        ConfigurationError: it is none; the error shows no value, which may be a secret.
    """
    headers: dict[str, Header] = {}
    for one in text.split(","):
        name, colon, source = (part.strip() for part in one.partition(":"))
        known = bool(colon) and _HEADER_NAME.fullmatch(name) and not looks_like_a_key(name)
        shown = f"the header {name}" if known else "a header"
        variable = source.removeprefix("env:").strip()
        good = source.startswith("env:") and _NAME_OF_VARIABLE.fullmatch(variable)
        if not known or not good or looks_like_a_key(variable):
            raise ConfigurationError(
                f"{shown} is not of the form 'Name: env:VARIABLE', where an environment variable "
                "holds the value",
                setting="header",
            )
        if name.casefold() in _OWN_HEADERS:
            raise ConfigurationError(f"{shown} is set by the run: leave it out", setting="header")
        if name.casefold() in headers:
            raise ConfigurationError(f"{shown} is given twice", setting="header")
        headers[name.casefold()] = Header(name, variable)
    return tuple(headers.values())


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A resolved model: where it is asked, under which name, and what identifies it.

    ``served_identity`` goes into request keys: the weights hash of the embedded model, address and
    model name of an endpoint, or name and version of an application. ``api_key_env`` names the
    variable that holds the key; the key itself is never held here. ``base_url`` is None where the
    server is yet to be started, and of an application;
    ``more_urls`` are further endpoints of the same model. Weights that a vLLM server of ours is to
    serve lie in the folder ``path`` or have the ``hub`` id, and may carry an ``adapter``.
    ``usual_key_env`` is read where no variable is named; ``headers`` are sent with each request.
    """

    name: str
    served_name: str
    base_url: str | None
    api_key_env: str | None
    kind: Literal["endpoint", "embedded", "vllm", "application"]
    served_identity: str
    revision: str
    path: Path | None = None
    more_urls: tuple[str, ...] = ()
    hub: str | None = None
    adapter: Adapter | None = None
    usual_key_env: str = DEFAULT_KEY_ENV
    completions: bool = False
    headers: tuple[Header, ...] = ()

    @property
    def base_name(self) -> str:
        """The name under which the weights themselves are served, without the adapter."""
        if self.adapter is None:
            return self.served_name
        return self.path.name if self.path is not None else str(self.hub)

    def api_key(self) -> str:
        """Return the key from the environment, or ``EMPTY`` for servers that need none.

        Raises:
            ConfigurationError: the variable that the model names is not set, or holds no key.
        """
        variable = self.api_key_env or self.usual_key_env
        key = os.environ.get(variable, "").strip()
        if not key:
            if self.api_key_env is None:
                return NO_KEY
            if looks_like_a_key(variable) or not _NAME_OF_VARIABLE.fullmatch(variable):
                raise ConfigurationError(  # it may be the key itself
                    f"model {self.name!r} needs an API key: give the name of the environment "
                    "variable that holds it, not the key",
                    setting="api-key-env",
                )
            raise ConfigurationError(
                f"model {self.name!r} needs an API key: set the environment variable {variable}"
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError(
                f"the environment variable {variable} holds no API key that can be sent: it has "
                "line breaks or characters that are not ASCII, such as typographic quotes"
            )
        return key

    def header_values(self) -> dict[str, str]:
        """The headers with their values from the environment.

        Raises:
            ConfigurationError: a variable is not set, or holds what no header can.
        """
        return {header.name: header.value() for header in self.headers}
