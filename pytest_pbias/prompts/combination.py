"""Identities combined: ``a Muslim person`` and ``a woman`` make ``a Muslim woman``."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts.identity import Identity

MOST_COMBINATIONS = 20
JOINED = " x "  # between the groups of a combination
_MOST_TO_DRAW_FROM = 100_000

# English puts age before condition, condition before origin, origin before faith. Groups that are
# not here come last, next to the noun.
_ADJECTIVE_ORDER = ("Age", "Disability", "Sexuality", "Gender", "Race", "Religion")
_GENERIC_NOUN = "person"
# Where two nouns meet, the first of these leads and the other follows in a relative clause.
_NOUN_ORDER = ("Gender", "Age", "Political Affiliation")
_PHRASE = re.compile(r"^(?P<article>an?)\s+(?P<rest>.+)$", re.IGNORECASE)
_AN = re.compile(r"^(?:[aeio]|u(?!s|ni(?!n)|ki|ti)|hon(?:est|ou?r)|hour|heir)", re.IGNORECASE)
_A = re.compile(r"^(?:eu|ew|one\b|once\b)", re.IGNORECASE)


def combine(choices: Sequence[Sequence[Identity]]) -> tuple[Identity, ...]:
    """Every combination of one identity from each of ``choices``, in order.

    The group of a combination is ``Religion x Gender``.

    Raises:
        ConfigurationError: fewer than two sets are given, one is empty, or the combinations are
            more than anyone could mean.
    """
    if len(choices) < 2 or not all(choices):
        raise ConfigurationError("a combination needs at least two groups with an identity each")
    total = math.prod(len(choice) for choice in choices)
    if total > _MOST_TO_DRAW_FROM:
        raise ConfigurationError(
            f"{total:,} combinations are too many to draw from (at most {_MOST_TO_DRAW_FROM:,})"
        )
    return tuple(
        Identity(phrase(parts), JOINED.join(dict.fromkeys(part.group for part in parts)))
        for parts in itertools.product(*choices)
    )


def draw(
    identities: Sequence[Identity], *, most: int = MOST_COMBINATIONS, seed: int = 0
) -> tuple[Identity, ...]:
    """At most ``most`` identities, drawn without replacement by ``seed``, in their own order."""
    if len(identities) <= most:
        return tuple(identities)
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(len(identities), size=most, replace=False))
    return tuple(identities[int(number)] for number in numbers)


def phrase(parts: Sequence[Identity]) -> str:
    """The combined words: adjectives in English order before the noun, the article fitted.

    A second noun follows in a relative clause: ``a Muslim woman who is a senior citizen``.
    """
    adjectives: list[tuple[int, str]] = []
    nouns: list[tuple[int, str, str]] = []
    for part in parts:
        article, rest = _split(part.words or part.name)
        if not article:
            adjectives.append((_rank(_ADJECTIVE_ORDER, part.group), rest))
        elif rest.endswith(f" {_GENERIC_NOUN}"):
            adjective = rest.removesuffix(f" {_GENERIC_NOUN}")
            adjectives.append((_rank(_ADJECTIVE_ORDER, part.group), adjective))
        else:
            nouns.append((_rank(_NOUN_ORDER, part.group), article, rest))
    before = [text for _, text in sorted(adjectives, key=lambda pair: pair[0])]
    if not nouns:
        return _with_article([*before, _GENERIC_NOUN])
    ordered = sorted(nouns, key=lambda noun: noun[0])
    (_, article, head), others = ordered[0], ordered[1:]
    leading = _with_article([*before, head]) if before else f"{article} {head}"
    clauses = " and ".join(f"{article} {noun}" for _, article, noun in others)
    return f"{leading} who is {clauses}" if clauses else leading


def _split(words: str) -> tuple[str, str]:
    """Article and rest; words without an article (``gay``) are an adjective."""
    found = _PHRASE.match(words)
    return ("", words) if found is None else (found["article"], found["rest"])


def _rank(order: Sequence[str], group: str) -> int:
    return order.index(group) if group in order else len(order)


def _with_article(words: Sequence[str]) -> str:
    text = " ".join(words)
    article = "an" if _AN.match(text) and not _A.match(text) else "a"
    return f"{article} {text}"
