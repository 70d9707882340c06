"""Asking servers on this machine: directly, whatever proxy the environment names."""

from __future__ import annotations

from http.client import HTTPResponse
from typing import cast
from urllib.request import ProxyHandler, Request, build_opener

_opener = build_opener(ProxyHandler({}))


def ask_local(request: str | Request, seconds: float) -> HTTPResponse:
    """Open an address of this machine, waiting at most ``seconds`` for each part of its answer.

    Raises:
        OSError: nothing answers (URLError), or with an error status (HTTPError).
    """
    return cast("HTTPResponse", _opener.open(request, timeout=seconds))
