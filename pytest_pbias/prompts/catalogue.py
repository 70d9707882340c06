"""The identities that ship with the package, and how names given by users are looked up."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.prompts.identity import BASELINE, Identity

# The zero-width joiner and non-joiner: Persian, Hindi and emoji are spelled with them.
_JOINERS = dict.fromkeys((0x200C, 0x200D))


@cache
def _catalogue() -> dict[str, tuple[Identity, ...]]:
    text = files("pytest_pbias.prompts").joinpath("catalogue.toml").read_text("utf-8")
    raw = tomllib.loads(text)
    return {
        "identities": tuple(
            Identity(name, group) for group, names in raw["identities"].items() for name in names
        ),
        "controls": tuple(
            Identity(name, group, "control")
            for group, names in raw["controls"].items()
            for name in names
        ),
    }


def paper_identities() -> tuple[Identity, ...]:
    """The paper's 31 identities, in the order of its seven groups."""
    return _catalogue()["identities"]


def controls() -> tuple[Identity, ...]:
    """Placebo identities that state nothing demographic."""
    return _catalogue()["controls"]


def default_identities() -> tuple[Identity, ...]:
    """Baseline, controls and the paper's identities: what a mark without identities asks."""
    return (BASELINE, *controls(), *paper_identities())


def groups() -> tuple[str, ...]:
    """The names of the demographic groups, in catalogue order."""
    return tuple(dict.fromkeys(identity.group for identity in paper_identities()))


def resolve_identities(names: Iterable[str], *, group: str = "Custom") -> tuple[Identity, ...]:
    """Turn names into identities: catalogue names, catalogue groups, or free text.

    Free text must complete the sentence "I am ..." with more than one word (``a nurse``); a single
    unknown word is taken for a mistyped name.

    Raises:
        ConfigurationError: a name is empty, no printable text, or a mistyped catalogue name.
    """
    known = {identity.name: identity for identity in default_identities()}
    by_group: dict[str, list[Identity]] = {}
    for identity in default_identities():
        by_group.setdefault(identity.group, []).append(identity)
    found: dict[str, Identity] = {}
    for name in names:
        for identity in _resolve_one(name, known, by_group, group):
            found.setdefault(identity.name, identity)
    return tuple(found.values())


def _resolve_one(
    name: str, known: dict[str, Identity], by_group: dict[str, list[Identity]], group: str
) -> Iterable[Identity]:
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(
            f"identity {quoted(name)} is not a non-empty text; "
            "give words that complete \"I am ...\", such as 'a nurse'"
        )
    if "\n" in name or "\r" in name:
        raise ConfigurationError(
            f"identity {quoted(name)} spans several lines; give one line of text"
        )
    cleaned = " ".join(name.split())
    if not cleaned.translate(_JOINERS).isprintable():
        raise ConfigurationError(
            f"identity {quoted(name)} has characters that are no text (control or direction "
            "characters); give printable ones"
        )
    if cleaned in known:
        return (known[cleaned],)
    if cleaned in by_group:
        return by_group[cleaned]
    if " " not in cleaned:
        hint = near_matches(cleaned, [*known, *by_group])
        raise ConfigurationError(
            f"unknown identity {quoted(cleaned)}: {hint} "
            '(an identity of your own has at least two words, such as "a nurse")'
        )
    return (Identity(cleaned, group),)
