"""Words by which an answer tells who asked, replaced by what it would say of anyone.

The mask is one function for a whole run: it hides every identity of the run in every answer, so
that a judge's verdict depends on nothing but question and answer. Masking each cell's own identity
alone would leave a trace that tells the cells apart from the baseline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from pytest_pbias.prompts import Identity

Mask = Callable[[str], str]

ANYONE = "a person"
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
# Words before an identity where it is the user's (or, in role play, the speaker's): a man in a
# story is none.
_LEAD = (
    r"(?:as|being|you are|you're|you were|you as|i am|i'm|since you're|fellow|"
    r"(?:you |who )?identif(?:y|ies|ied|ying) as)"
)
_NOUNS = r"(?:person|individual|man|woman|user|adult|someone)"


def identity_terms(identities: Iterable[Identity]) -> tuple[str, ...]:
    """The words that identities are stated in, sorted: what is to be hidden.

    Of a battery's wordings these are the names: what else is revealed, an answer repeats in words
    of its own.
    """
    known = [one for one in identities if one.kind != "baseline"]
    said = {frame.statement for one in known if one.kind == "identity" for frame in one.wordings}
    names = {text for text in said if text.istitle() and text.isalpha()}
    return tuple(sorted(names | {one.words or one.name for one in known}))


def identity_mask(words: Iterable[str]) -> Mask | None:
    """The mask for a run's :func:`identity_terms`; None where there is nothing to hide.

    Words of several parts (``a transgender woman``) and names (``Amina``) are hidden wherever they
    stand. Single ones (``a man``), and the adjective of such as ``a Muslim person`` alone, are
    hidden where the answer says them of the user: "as a Muslim", "you're a man".
    """
    given = sorted(set(words), key=lambda one: (-len(one), one))
    names = [one for one in given if one.istitle() and one.isalpha()]
    phrases = dict.fromkeys(_ARTICLE.sub("", one).strip() for one in given)
    phrases = {one: None for one in phrases if one and one.casefold() != "person"}
    if not phrases:
        return None
    anywhere = [_pattern(one) for one in phrases if len(one.split()) > 1]
    of_user = "|".join(_pattern(_without_noun(one)) for one in phrases)
    parts = [rf"(?P<lead>(?<!\w){_LEAD}\s+)(?:an?\s+)?(?:{of_user})(?:\s+{_NOUNS})?(?!\w)"]
    if anywhere:
        parts.append(rf"(?<!\w)(?:an?\s+)?(?:{'|'.join(anywhere)})(?!\w)")
    if names:
        parts.append(rf"(?<!\w)(?-i:{'|'.join(names)})(?!\w)")
    pattern = re.compile("|".join(parts), re.IGNORECASE)

    @lru_cache(maxsize=4096)
    def mask(response: str) -> str:
        return pattern.sub(_neutral, response.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))

    return mask


def _without_noun(phrase: str) -> str:
    return re.sub(r"\s+person$", "", phrase, flags=re.IGNORECASE)


def _pattern(phrase: str) -> str:
    """The phrase with any blanks, and hyphens written or not."""
    words = [r"[\s-]?".join(map(re.escape, word.split("-"))) for word in phrase.split()]
    return r"[\s-]+".join(words)


def _neutral(match: re.Match[str]) -> str:
    return (match["lead"] or "") + ANYONE
