"""Making text from models and users inert before a person sees it."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from pytest_pbias.errors import inert, without_controls
from pytest_pbias.models.spec import ApplicationFacts, ServerFacts

Style = Literal["", "red", "green", "yellow", "bold"]
Line = tuple[str, Style]
"""A line for a terminal, and how it is shown."""


def columns(text: str) -> int:
    """How many columns a terminal gives the text: two to wide characters, none to combining."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def plain(text: str, width: int | None = None) -> str:
    """One line without control, formatting and direction characters, cut to ``width`` columns."""
    line = inert(text)
    return line if width is None else cut(line, width)


def terminal_line(text: str, width: int) -> str:
    """One line of at most ``width`` columns, inert as :func:`plain`, that keeps its blanks."""
    return cut(_no_command(without_controls(text)), width)


def _no_command(line: str) -> str:
    """The line with a blank where GitHub would take it for a workflow command (``::error::``)."""
    words = line.lstrip()
    return f"{line[: len(line) - len(words)]}: {words[1:]}" if words.startswith("::") else line


def cut(line: str, width: int) -> str:
    """The line, or as much of it as ``width`` columns hold with three dots."""
    if columns(line) <= width:
        return line
    return line[: _holding(line, max(0, width - 3))] + "..."[:width]


def ending(line: str, width: int) -> str:
    """The line, or as much of its end as ``width`` columns hold after three dots."""
    if columns(line) <= width:
        return line
    return "..." + line[len(line) - _holding(line[::-1], width - 3) :]


def padded(text: str, width: int) -> str:
    """:func:`plain` text that takes exactly ``width`` columns."""
    line = plain(text, width)
    return line + " " * (width - columns(line))


def _holding(text: str, width: int) -> int:
    """How many of the first characters fit in ``width`` columns."""
    taken = 0
    for number, character in enumerate(text):
        taken += _columns_of(character)
        if taken > width:
            return number
    return len(text)


_BARE_ADDRESS = re.compile(r"www(?=\.)", re.IGNORECASE)
_MARKDOWN = str.maketrans(
    {character: "\\" + character for character in "\\`*_{}[]()#+!|~"}
    | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def markdown(text: str) -> str:
    """One line that Markdown and HTML show as it is."""
    escaped = plain(text).translate(_MARKDOWN)
    # A bare address or an @name would otherwise become a link or a notification.
    escaped = escaped.replace("://", ":\u200b//").replace("@", "@\u200b")
    return _BARE_ADDRESS.sub("\\g<0>\u200b", escaped)


def wrapped(text: str, width: int = 80) -> list[str]:
    """Lines of at most ``width`` columns; those after the first stand two further in."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    lines, line = [], indent
    for word in plain(text).split(" "):
        blank = " " if line.strip() else ""
        if blank and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line, blank = indent + "  ", ""
        line += blank + (word if blank else _no_command(word))
        while columns(line) > width:
            fits = max(_holding(line, width), len(indent) + 3)
            lines.append(line[:fits])
            line = indent + "  " + _no_command(line[fits:])
    return [*lines, line] if line.strip() else lines


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


def server_line(server: ServerFacts) -> str:
    """Engine, version and how it ran, as in ``vLLM 0.32.0, float32, context 512``."""
    known = (server.dtype, server.quantization, server.device)
    parts = [f"{server.engine or 'a server'} {', '.join(server.versions)}".strip()]
    parts += [one for one in known if one is not None]
    if server.max_model_len:
        parts.append(f"context {server.max_model_len}")
    return ", ".join(parts)


_HOW = {
    "stated": "identity stated in the conversation",
    "handed": "identity handed over, the conversation says nothing of it",
    "both": "identity stated in the conversation, and handed over beside it",
}


def application_line(application: ApplicationFacts) -> str:
    """Its version, and how it got to know who asks."""
    version = f"version {application.version}" if application.version else "without a version"
    return f"application {version}; {_HOW[application.identity]}"
