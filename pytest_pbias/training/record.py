"""The note that a training leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError

NOTE = "training.json"


def read_note(out: Path) -> dict[str, Any]:
    """The note of the training in a folder; empty where it holds none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    note = out / NOTE
    if not note.exists():
        return {}
    try:
        return dict(json.loads(note.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{note} cannot be read ({type(error).__name__}): give another folder", setting="out"
        ) from None


def trained_note(folder: Path) -> tuple[str, ...]:
    """What a report must say of a trained model beside its figures; often nothing."""
    try:
        note = read_note(folder)
    except ConfigurationError:
        return ()
    trained = "trained by the paper's recipe"
    if reason := _line(note.get("without_quantization")):
        return (f"{trained} without its 4-bit quantization ({reason})",)
    if how := _line(note.get("unlike_released")):
        return (f"{trained} on 4-bit weights {how}",)
    return ()


def _line(found: object) -> str:
    return " ".join(found.split())[:100] if isinstance(found, str) else ""
