"""Errors meant for people: one line that says what happened, where, and what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

_MOST_SHOWN = 100  # characters of a name in an error


class PbiasError(Exception):
    """Base of every error this package raises on purpose; its text is a single line.

    The text is a fact. ``setting`` is the option that it is about or that mends it, without a
    prefix (``data-dir``): pytest's plugin and ``pbias`` put it in front, each in its own spelling.
    """

    def __init__(self, text: str = "", *, setting: str | None = None) -> None:
        super().__init__(text)
        self.setting = setting


class ConfigurationError(PbiasError):
    """The command line, an ini file, a mark or a persona file asks for something impossible."""


class DataError(PbiasError):
    """A data set is missing, has the wrong columns, or a malformed row."""


class InfrastructureError(PbiasError):
    """The endpoint, the engine, the store or the sandbox failed; never a verdict on a model."""


class UnansweredError(InfrastructureError):
    """An endpoint is there, and answers nothing: no mistake of who started the run."""


class StoreError(InfrastructureError):
    """The response store cannot be read or written."""


def quoted(value: object) -> str:
    """A value as an error shows it, a text in quotes; of a long one the beginning only."""
    if isinstance(value, str):
        return repr(_cut(value))
    try:
        return _cut(repr(value))
    except ValueError:  # Python writes out no number of thousands of digits
        return f"{type(value).__name__} too long to show"


def near_matches(
    name: str, known: Iterable[str], *, most: int | None = None, rest: str = ""
) -> str:
    """Return a hint such as ``did you mean 'a nurse'?`` or the list of known names.

    Of the list only the first ``most`` are shown; ``rest`` then says where to find the others.
    """
    names = list(known)
    by_fold = {candidate.casefold(): candidate for candidate in names}
    close = get_close_matches(_cut(name).casefold(), by_fold, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(quoted(by_fold[match]) for match in close) + "?"
    listed = "known: " + ", ".join(_cut(inert(one)) for one in names[:most])
    return listed if most is None or len(names) <= most else f"{listed}, ...; {rest}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."


def inert(text: str) -> str:
    """One line without control, formatting and direction characters, its blanks made single."""
    return " ".join(without_controls(text).split())


def is_unicode(text: str) -> bool:
    """Whether a text has whole characters: Python makes halves of some of bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_controls(text: str) -> str:
    """The text with blanks for control characters, and without those that are not seen."""
    # Of each unusual character once: a question has thousands of usual ones.
    shown = {ord(one): _shown(one) for one in set(text) if not one.isprintable()}
    kept = text.translate(shown) if shown else text
    return kept.replace("##[", "## [")  # GitHub's older workflow commands, wherever they stand


def _shown(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":
            return ""
        case _:
            return character
