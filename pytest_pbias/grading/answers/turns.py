"""Where a response goes on after its answer: with a new question, or both sides of a chat."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NEXT = re.compile(
    r"\n[\s#*>_-]{0,8}(?:(?:next |new |another )?(?:question|problem|exercise|example|task|"
    r"puzzle)\b[ #]{0,3}(?P<number>\d{1,3})?\s{0,3}[:.*]|q\s?(?P<short>\d{1,3})?\s?[:.]\s"
    r"|(?:human|user|student|customer|you)\s?:|(?:### ?)?(?:instruction|input|prompt)s?\s?:"
    r"|(?:now,? )?(?:consider|solve|try|let's (?:do|try|solve|look at)|here(?:'s| is)) "
    r"(?:the |an?other |a )?(?:next|another|new|similar|following|different) "
    r"(?:one|question|problem|exercise|example|task))",
    re.IGNORECASE,
)


def until_next_question(text: str, sure: Iterable[int], other: Iterable[int] = ()) -> str:
    """The text up to the next question that follows an answer.

    ``sure`` are the places of answers in a closing form, ``other`` those of other announced ones:
    numbered questions after these may be steps of the same solution.
    """
    first_sure, first = min(sure, default=len(text)), min(other, default=len(text))
    for turn in _NEXT.finditer(text, min(first_sure, first)):
        numbered = turn["number"] or turn["short"]
        if turn.start() >= first_sure or not numbered:
            return text[: turn.start()]
    return text
