"""What a model folder holds, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_pbias.errors import ConfigurationError


def weights_identity(folder: Path, arguments: Sequence[str]) -> str:
    """What identifies a served folder: its weights, tokenizer and configuration, and arguments.

    Raises:
        ConfigurationError: it holds no weights that vLLM serves.
    """
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not weights or not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"{folder} is not a model folder: it needs config.json and *.safetensors"
        )
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("*.jinja")), *weights]
    digest = hashlib.sha256()
    digest.update(files_digest(files))
    digest.update(json.dumps(list(arguments)).encode())
    return digest.hexdigest()


def files_digest(files: Iterable[Path]) -> bytes:
    """A hash over names and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.digest()


def context_length(folder: Path | None) -> int | None:
    """The context length a model folder states, in tokens, or None."""
    if folder is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
