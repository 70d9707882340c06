"""The wording keys of a persona file -> :class:`Frame`, checked against each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_pbias.errors import near_matches, quoted
from pytest_pbias.identities import PLACEMENTS, Frame, Placement
from pytest_pbias.personas.document import Document
from pytest_pbias.personas.positions import Path as KeyPath

FRAME_KEYS = ("placement", "statement", "system", "opening", "reply", "neutral")
_HISTORY_KEYS = ("opening", "reply", "neutral")
_HOLDS = {
    "statement": ("identity",),
    "system": ("statement", "identity"),
    "opening": ("statement", "identity"),
    "reply": (),
    "neutral": (),
}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


def read_frame(
    document: Document, table: Mapping[str, Any], path: KeyPath, usual: Frame, *, of_one: bool
) -> Frame:
    """The frame that ``table`` gives over ``usual``.

    ``of_one``: the table is that of one identity, whose statement may be a sentence of its own.

    Raises:
        ConfigurationError: a text lacks its placeholder, or a key has no use in the placement.
    """
    given = {key: document.text(table, path, key) for key in FRAME_KEYS}
    placement = _placement(document, given["placement"], path) or usual.placement
    for key, placeholders in _HOLDS.items():
        text = given[key]
        if text is not None:
            free = of_one and key == "statement"
            _check_placeholders(document, (*path, key), text, placeholders, required=not free)
    for key in _HISTORY_KEYS:
        if given[key] is not None and placement != "history":
            document.fail((*path, key), f'{key} has a use with placement = "history" only')
    if given["system"] is not None and placement == "history":
        document.fail((*path, "system"), 'system has no use with placement = "history"')
    frame = Frame(
        statement=given["statement"] or usual.statement,
        system=given["system"] or usual.system,
        placement=placement,
        opening=given["opening"] or usual.opening,
        reply=given["reply"] or usual.reply,
        neutral=given["neutral"] or usual.neutral,
    )
    carrier = "opening" if placement == "history" else "system"
    if given["statement"] is not None and "{statement}" not in getattr(frame, carrier):
        document.fail(
            (*path, "statement"), f"statement is not used: {carrier} has no {{statement}}"
        )
    if placement == "history" and not frame.neutral_opening:
        document.fail(
            (*path, "opening"),
            "nothing is left of the opening for the baseline to say; give it a `neutral` text",
        )
    return frame


def _placement(document: Document, name: str | None, path: KeyPath) -> Placement | None:
    if name is None:
        return None
    for placement in PLACEMENTS:
        if placement == name:
            return placement
    hint = near_matches(name, PLACEMENTS)
    return document.fail((*path, "placement"), f"unknown placement {quoted(name)}: {hint}")


def _check_placeholders(
    document: Document, path: KeyPath, text: str, known: tuple[str, ...], *, required: bool
) -> None:
    found = _PLACEHOLDER.findall(text)
    shown = " or ".join(f"{{{name}}}" for name in known) or "nothing in braces"
    for name in found:
        if name not in known:
            document.fail(path, f"unknown placeholder {{{name}}}: {path[-1]} takes {shown}")
    if required and known and not found:
        document.fail(path, f"{path[-1]} must hold {shown}, the place of the identity")
