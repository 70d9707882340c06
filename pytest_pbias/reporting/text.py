"""Making text from models and users inert before a person sees it."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal

Style = Literal["", "red", "green", "yellow", "bold"]
Line = tuple[str, Style]
"""A line for a terminal, and how it is shown."""


def plain(text: str, width: int | None = None) -> str:
    """One line without control, formatting and direction characters, cut to ``width``."""
    kept = "".join(
        " "
        if unicodedata.category(character) in ("Cc", "Zl", "Zp")
        else ""
        if unicodedata.category(character) in ("Cf", "Cs", "Co", "Cn")
        else character
        for character in text
    )
    line = " ".join(kept.split())
    if width is not None and len(line) > width:
        return line[: max(0, width - 3)] + "..."
    return line


_MARKDOWN = str.maketrans(
    {character: "\\" + character for character in "\\`*_{}[]()#+!|~"}
    | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def markdown(text: str) -> str:
    """One line that Markdown and HTML show as it is."""
    escaped = plain(text).translate(_MARKDOWN)
    # A bare address or an @name would otherwise become a link or a notification.
    return escaped.replace("://", ":\u200b//").replace("@", "@\u200b")


def wrapped(text: str, width: int = 80) -> list[str]:
    """Lines of at most ``width`` columns; those after the first stand two further in."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    return textwrap.wrap(
        plain(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )


def paragraph(text: str) -> str:
    """The text in lines of at most 80 columns, for a message."""
    return "\n".join(wrapped(text))


def signed(estimate: float, low: float, high: float) -> str:
    """A difference with its interval: ``-27.3 (-34.1 to -20.9)``."""
    # Adding 0.0 takes the sign off a rounded -0.0.
    estimate, low, high = (round(value, 1) + 0.0 for value in (estimate, low, high))
    return f"{estimate:+.1f} ({low:+.1f} to {high:+.1f})"


def unsigned(estimate: float, low: float, high: float) -> str:
    """A rate or PB with its interval: ``96.0 (93.6 to 97.5)``."""
    return f"{estimate:.1f} ({low:.1f} to {high:.1f})"


def probability(value: float) -> str:
    """A p-value as people write it."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def server_line(server: Mapping[str, Any]) -> str:
    """Engine, version and how it ran, as in ``vLLM 0.32.0, float32, context 512``."""
    parts = [f"{server.get('engine', 'a server')} {', '.join(server.get('versions', []))}".strip()]
    parts += [str(server[name]) for name in ("dtype", "quantization", "device") if name in server]
    if server.get("max_model_len"):
        parts.append(f"context {server['max_model_len']}")
    return ", ".join(parts)
