"""Words of a response that only repeat the prompt: nothing is answered by them.

A model that goes on with its prompt instead of answering it would otherwise be read by the letters
and numbers of the question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_PROBE = 24  # characters by which a repeated prompt is noticed
_FEWEST_WORDS = 6  # fewer may well be an answer in the question's words


def without_prompt(response: str, prompt: str) -> str:
    """The response less every whole repetition of the prompt, whatever its line breaks."""
    if len(prompt.strip()) < _PROBE or prompt[:_PROBE] not in response:
        return response
    return _spaced(prompt).sub("\n", response)


def without_echo(response: str, prompt: str, options: Sequence[str]) -> str:
    """The response to a multiple-choice question less what it repeats of the prompt.

    That is the whole prompt, and a list of all options as they are given. A response that is part
    of the prompt, cut off anywhere, answers nothing, unless it is one option.
    """
    rest = without_prompt(response, prompt)
    if options and all(option in rest for option in options):
        rest = _listing(tuple(options)).sub("\n", rest)
    words = rest.split()
    if len(words) < _FEWEST_WORDS or " ".join(words) not in " ".join(prompt.split()):
        return rest
    said = " ".join(words)
    one = any(
        said in f"({chr(ord('A') + number)}) {' '.join(option.split())}"
        for number, option in enumerate(options)
    )
    return rest if one else ""


@lru_cache(maxsize=64)
def _spaced(text: str) -> re.Pattern[str]:
    return re.compile(r"\s+".join(re.escape(word) for word in text.split()))


@lru_cache(maxsize=256)
def _listing(options: tuple[str, ...]) -> re.Pattern[str]:
    """All options in order, each with its letter: ``(A) one (B) two``, or a line each."""
    parts = [
        rf"(?<![^\W_])[(\[]?{chr(ord('A') + number)}[)\].:]\)?\s{{0,3}}"
        + r"\s+".join(re.escape(word) for word in option.split())
        for number, option in enumerate(options)
    ]
    return re.compile(r"[\s,;.]{1,6}".join(parts))
