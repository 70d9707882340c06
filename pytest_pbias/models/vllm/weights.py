"""Asking servers on this machine: directly, whatever proxy the environment names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.request import ProxyHandler, Request, build_opener

from pytest_pbias.errors import ConfigurationError

_opener = build_opener(ProxyHandler({}))


def ask_local(request: str | Request, seconds: float) -> HTTPResponse:
    """Open an address of this machine, waiting at most ``seconds`` for each part of its answer.

    Raises:
        OSError: nothing answers (URLError), or with an error status (HTTPError).
    """
    return cast("HTTPResponse", _opener.open(request, timeout=seconds))


def weights_identity(folder: Path, arguments: Sequence[str]) -> str:
    """What identifies a served folder: its weights, tokenizer and configuration, and arguments.

    Raises:
        ConfigurationError: it holds no weights that vLLM serves.
    """
    weights = weight_files(folder)
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("*.jinja")), *weights]
    digest = hashlib.sha256()
    digest.update(files_digest(files))
    digest.update(json.dumps(list(arguments)).encode())
    return digest.hexdigest()


def is_path(name: str) -> bool:
    """Whether a model's name can only be a folder here, neither an alias nor a hub id."""
    starts = name.startswith(("/", "./", "../", "~"))
    return starts or name.count("/") > 1 or Path(name).is_dir()


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that hold its weights.

    Raises:
        ConfigurationError: there is no such folder, or it has no weights or configuration.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"model {str(folder)!r}: there is no such folder")
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not weights or not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"{folder} is not a model folder: it needs config.json and *.safetensors"
        )
    return weights


def files_digest(files: Iterable[Path]) -> bytes:
    """A hash over names and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.digest()


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
