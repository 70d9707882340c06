"""Whom training must not see: identities left out by name or group, and pairs that state them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from pytest_pbias.errors import ConfigurationError, DataError, near_matches, quoted
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.prompts import Identity, default_identities
from pytest_pbias.training.pairs import PreferencePair


def people_of(table: OutcomeTable) -> tuple[Identity, ...]:
    """Every identity of a run, the baseline and controls included."""
    rows = table.arrow.select(["identity", "group", "kind"]).to_pylist()
    return tuple(dict.fromkeys(Identity(*row.values()) for row in rows))


def left_out(wanted: Iterable[str], people: Collection[Identity], where: str) -> tuple[str, ...]:
    """The identities of ``people`` that ``wanted`` leaves out, by name or by group.

    Raises:
        ConfigurationError: a name is neither; ``where`` says what has no such identity.
    """
    names = {person.name for person in people}
    groups = {person.group for person in people}
    found: dict[str, None] = {}
    for name in (" ".join(text.split()) for text in wanted):
        if name not in names | groups:
            hint = near_matches(name, [*sorted(names), *sorted(groups)])
            raise ConfigurationError(
                f"{where} has no identity or group {quoted(name)}: {hint}", setting="leave-out"
            )
        chosen = [name] if name in names else [one.name for one in people if one.group == name]
        found |= dict.fromkeys(chosen)
    return tuple(found)


def left_out_of_pairs(
    wanted: Sequence[str], pairs: Sequence[PreferencePair], people: Collection[Identity] = ()
) -> tuple[str, ...]:
    """The same for pairs of a data set: of ``people``, the catalogue, or stated in the pairs.

    Raises:
        ConfigurationError: a name is neither.
    """
    own = [name for name in wanted if any(_states(pair, [name]) for pair in pairs)]
    stated = [Identity(" ".join(name.split()), "Custom") for name in own]
    return left_out(wanted, [*people, *default_identities(), *stated], "the catalogue")


def without(pairs: Sequence[PreferencePair], names: Sequence[str]) -> tuple[PreferencePair, ...]:
    """The pairs in whose conversation nobody of ``names`` is stated ("I am ...").

    Raises:
        DataError: no pair remains.
    """
    if not names:
        return tuple(pairs)
    kept = tuple(pair for pair in pairs if not _states(pair, names))
    if not kept:
        raise DataError("every pair states an identity that is left out", setting="leave-out")
    return kept


def _states(pair: PreferencePair, names: Sequence[str]) -> bool:
    either = "|".join(r"\s+".join(map(re.escape, name.split())) for name in names if name.split())
    if not either:
        return False
    statement = re.compile(rf"\bI(?:\s+am|['\u2019]m)\s+(?:{either})(?!\w)", re.IGNORECASE)
    return any(statement.search(turn["content"]) for turn in pair.messages)
