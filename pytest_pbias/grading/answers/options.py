"""The options of a multiple-choice question in a response's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_pbias.grading.answers.plain_text import plain_text

_LISTED = re.compile(r"(?m)^[\s>*-]{0,6}\(?([A-R])[).:]\)?\s{1,3}(\S[^\n]{0,300})$")
_LEAD = re.compile(
    r"[\s:,\"'(\x02-]*(?:(?:the|a|an|that|it is|it's|option|choice|answer|is|would be|be|clearly|"
    r"therefore|most likely|probably)\s+)*[\"'(]?"
)


def fold(text: str) -> str:
    """A text as options are compared: small letters, single spaces, no closing dot."""
    return " ".join(text.casefold().split()).strip(" .\"'")


def restated_options(text: str, n_choices: int) -> list[str]:
    """The options that a response lists itself, or nothing where it does not list them all."""
    found = dict(_LISTED.findall(text))
    letters = [chr(ord("A") + number) for number in range(n_choices)]
    return [found[letter] for letter in letters] if all(map(found.get, letters)) else []


def named_option(text: str, options: Sequence[str]) -> str:
    """The letter of the option that a text opens with (the longest that fits), or nothing."""
    folded = fold(text)
    lead = _LEAD.match(folded)
    starts = (folded, folded[lead.end() :] if lead else folded)
    fits = {
        letter: option
        for letter, option in _lettered(options)
        if any(_opens_with(start, option) for start in starts)
    }
    return max(fits, key=lambda letter: len(fits[letter])) if fits else ""


def said_options(text: str, options: Sequence[str]) -> list[str]:
    """The letters of the options whose words a text says, less those inside a longer one."""
    folded = fold(text)
    said = {
        letter: option
        for letter, option in _lettered(options)
        if re.search(rf"(?<!\w){re.escape(option)}(?!\w)", folded)
    }
    return [
        letter
        for letter, option in said.items()
        if not any(option != other and option in other for other in said.values())
    ]


def _lettered(options: Sequence[str]) -> list[tuple[str, str]]:
    folded = [
        (chr(ord("A") + number), fold(plain_text(option))) for number, option in enumerate(options)
    ]
    return [(letter, option) for letter, option in folded if option]


def _opens_with(text: str, option: str) -> bool:
    if not text.startswith(option):
        return False
    following = text[len(option) : len(option) + 2]
    return not re.match(r"\w|[.,]\d", following)
