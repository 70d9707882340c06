"""Asking servers on this machine: directly, whatever proxy the environment names."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.request import ProxyHandler, Request, build_opener

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.contents import contents_digest

_opener = build_opener(ProxyHandler({}))


def ask_local(request: str | Request, seconds: float) -> HTTPResponse:
    """Open an address of this machine, waiting at most ``seconds`` for each part of its answer.

    Raises:
        OSError: nothing answers (URLError), or with an error status (HTTPError).
    """
    return cast("HTTPResponse", _opener.open(request, timeout=seconds))


# Before the second, a list of names said which files count: what was stored under that is not used.

_SCHEME = "vllm folder 2"

# Options that name folders which change no answer, and may be as large as a disk.

_OTHER_FOLDERS = ("--download-dir", "--allowed-local-media-path")


def weights_identity(folder: Path, arguments: Sequence[str]) -> str:
    """What identifies a served folder: everything in it that may change answers, and arguments.

    Raises:
        ConfigurationError: it holds no weights that vLLM serves, or something cannot be read.
    """
    weight_files(folder)
    digest = hashlib.sha256(contents_digest(folder, scheme=_SCHEME).encode())
    digest.update(json.dumps(list(arguments)).encode())
    return digest.hexdigest()


def named_files(arguments: Sequence[str]) -> list[str]:
    """The files and folders here that arguments name, such as a chat template, with their digests.

    Raises:
        ConfigurationError: one cannot be read.
    """
    found: dict[str, str] = {}
    option = ""
    for argument in arguments:
        if argument.startswith("-"):
            option, _, argument = argument.partition("=")
        if option in _OTHER_FOLDERS:
            continue
        for value in _values(argument):
            path = Path(value)
            if _exists(path):
                found[value] = contents_digest(path, scheme=_SCHEME)
    return [f"{value}={digest}" for value, digest in sorted(found.items())]


def _values(argument: str) -> Iterator[str]:
    """What may be a path in an argument: itself, what follows an ``=``, and texts within JSON."""
    try:
        inner = json.loads(argument) if argument.startswith(("{", "[")) else None
    except ValueError:
        inner = None
    waiting = [inner]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            waiting += value.values() if isinstance(value, dict) else value
    yield argument
    yield argument.partition("=")[2]


def _exists(path: Path) -> bool:
    try:
        here = Path.cwd().resolve()
        around = (here, *here.parents)  # "." or "/" names no folder of a model
        return path.is_file() or (path.is_dir() and path.resolve() not in around)
    except (OSError, ValueError):  # longer than file names may be, or with a null character
        return False


def is_path(name: str) -> bool:
    """Whether a model's name can only be a folder here, neither an alias nor a hub id."""
    starts = name.startswith(("/", "./", "../", "~"))
    return starts or name.count("/") > 1 or os.path.isdir(name)


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that hold its weights.

    Raises:
        ConfigurationError: there is no such folder, or it has no weights or configuration.
    """
    if not os.path.isdir(folder):
        raise ConfigurationError(f"model {str(folder)!r}: there is no such folder")
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not weights or not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"{folder} is not a model folder: it needs config.json and *.safetensors"
        )
    return weights


def context_length(folder: Path) -> int | None:
    """The context length a model folder states, in tokens, or None."""
    try:
        return stated_context(json.loads((folder / "config.json").read_text("utf-8")))
    except (OSError, ValueError):
        return None


def stated_context(config: Any) -> int | None:
    """The context length in a model's configuration; multimodal models nest that of the text."""
    for part in (config, config.get("text_config") if isinstance(config, dict) else None):
        length = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if isinstance(length, int):
            return length
    return None
