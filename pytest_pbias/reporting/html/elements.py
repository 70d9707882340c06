"""Pieces of HTML that every section is made of; text from anywhere goes through :func:`safe`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pytest_pbias.reporting.text import plain

_LONG = 60  # characters of a cell that may take several lines


def safe(text: object) -> str:
    """Text from anywhere, inert in HTML."""
    return escape(plain(str(text)))


def html_table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0
) -> str:
    """A table whose first column names its rows; cells are HTML already.

    The last ``numbers`` columns are figures.
    """
    first_number = len(head) - numbers
    top = "".join(
        f'<th scope="col" class="number">{safe(name)}</th>'
        if place >= first_number
        else f'<th scope="col">{safe(name)}</th>'
        for place, name in enumerate(head)
    )
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(
            f'<td class="number">{cell}</td>'
            if place >= first_number
            else f'<td class="words">{cell}</td>'
            if len(cell) > _LONG
            else f"<td>{cell}</td>"
            for place, cell in enumerate(row[1:], 1)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{safe(caption)}"><table>'
        f"<caption>{safe(caption)}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def badge(verdict: str) -> str:
    """A verdict as a word in a frame; its colour says nothing that the word does not."""
    return f'<span class="badge {verdict.replace(" ", "-")}">{safe(verdict)}</span>'


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{safe(title)}</summary>{content}</details>"
