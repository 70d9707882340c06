"""Whether the cues that make an identity known agree: the same effect, however it is said."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import TaskOutcomes
from pytest_pbias.outcomes.arrays import Scores, mean_scores
from pytest_pbias.prompts import person_of
from pytest_pbias.stats import (
    CueEffectResult,
    EffectCorrelation,
    cue_contrast,
    cue_effect,
    effect_correlation,
    heterogeneity_pvalue,
    holm,
)
from pytest_pbias.tasks.base import AXES


@dataclass(frozen=True)
class PersonByCue:
    """One identity over an axis: its difference from the reference by each cue that was asked.

    ``pvalue`` is that of equal effects over the cues, ``adjusted`` Holm's over the axis.
    """

    identity: str
    group: str
    effects: Mapping[str, CueEffectResult]
    pvalue: float
    adjusted: float = 1.0


@dataclass(frozen=True)
class CuePair:
    """Two cues over an axis: for whom the effects agree, for whom they differ, or neither.

    They *agree* where their difference lies within ``margin`` (percentage points, both one-sided
    tests at the plain level), and *differ* where it is shown at the level that the identities
    share; of those the direction *turns* where one cue raises and the other lowers the rate, each
    by itself. The rest is open.
    """

    first: str
    second: str
    margin: float
    agree: tuple[str, ...]
    differ: tuple[str, ...]
    turns: tuple[str, ...]
    open: tuple[str, ...]
    correlation: EffectCorrelation | None

    @property
    def sentence(self) -> str:
        """What there is to say of the two, without a full stop."""
        total = len(self.agree) + len(self.differ) + len(self.open)
        text = (
            f"{self.first} and {self.second} agree within {self.margin:g} points for "
            f"{len(self.agree)} of {total}"
        )
        if self.differ:
            text += f", differ for {len(self.differ)} ({_listed(self.differ)})"
        if self.open:
            text += f", {len(self.open)} open"
        for name in self.turns[:1]:
            more = f" and {len(self.turns) - 1} more" if len(self.turns) > 1 else ""
            text += f"; for {name!r}{more} the direction turns"
        return text


@dataclass(frozen=True)
class AxisCues:
    """The cues of an axis, under one defense; ``unsaid``: cue -> identities not known by it."""

    axis: str
    defense: str
    cues: tuple[str, ...]
    people: tuple[PersonByCue, ...]
    pairs: tuple[CuePair, ...]
    unsaid: Mapping[str, tuple[str, ...]]


def _listed(names: Sequence[str], most: int = 2) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def summarize_cues(
    outcomes: Mapping[str, Sequence[TaskOutcomes]], policy: GatePolicy
) -> tuple[AxisCues, ...]:
    """Compare the cues of each axis under each defense; empty where there is one cue only."""
    found = []
    for defense, axis in itertools.product(outcomes, AXES):
        tasks = [task for task in outcomes[defense] if task.axis == axis]
        cues = list(dict.fromkeys(cue for task in tasks for cue in task.cues))
        if len(cues) > 1:
            found.append(_compare(tasks, cues, axis, defense, policy))
    return tuple(found)


@dataclass(frozen=True)
class _Answers:
    """An identity's answers by one cue over the tasks of an axis: all of shape (items,)."""

    scores: Scores
    reference: Scores
    wordings: npt.NDArray[np.int64] | None

    @property
    def pair(self) -> tuple[Scores, Scores]:
        return self.scores, self.reference


def _compare(
    tasks: Sequence[TaskOutcomes],
    cues: Sequence[str],
    axis: str,
    defense: str,
    policy: GatePolicy,
) -> AxisCues:
    clusters = np.concatenate(
        [np.char.add(f"{number}/", task.clusters) for number, task in enumerate(tasks)]
    )
    groups: dict[str, str] = {}
    asked: dict[tuple[str, str], _Answers] = {}
    for cue in cues:
        for who, group in _people(tasks, cue):
            answers = _answers(tasks, cue, who, policy.reference)
            if answers is not None:
                groups.setdefault(who, group)
                asked[who, cue] = answers
    known = {who: [cue for cue in cues if (who, cue) in asked] for who in groups}
    several = {who: own for who, own in known.items() if len(own) > 1}
    contrasts = {
        (who, *pair): _contrast(asked, who, pair, clusters, 0.95)
        for who, own in several.items()
        for pair in itertools.combinations(own, 2)
    }
    people = [
        PersonByCue(
            identity=who,
            group=groups[who],
            effects={
                cue: cue_effect(
                    *asked[who, cue].pair, wordings=asked[who, cue].wordings, clusters=clusters
                )
                for cue in own
            },
            pvalue=heterogeneity_pvalue(
                [contrasts[who, *pair] for pair in itertools.combinations(own, 2)]
            ),
        )
        for who, own in several.items()
    ]
    adjusted = holm([one.pvalue for one in people])
    people = [
        replace(one, adjusted=float(value)) for one, value in zip(people, adjusted, strict=True)
    ]
    effects = {one.identity: one.effects for one in people}
    pairs = []
    for first, second in itertools.combinations(cues, 2):
        both = [who for who in effects if (who, first, second) in contrasts]
        if both:
            within = {
                who: _contrast(asked, who, (first, second), clusters, 1 - 2 * policy.alpha)
                for who in both
            }
            shown = {who: contrasts[who, first, second] for who in both}
            pairs.append(_pair(first, second, shown, within, effects, policy, axis))
    unsaid = {cue: tuple(who for who, own in known.items() if cue not in own) for cue in cues}
    return AxisCues(
        axis=axis,
        defense=defense,
        cues=tuple(cues),
        people=tuple(people),
        pairs=tuple(pairs),
        unsaid={cue: who for cue, who in unsaid.items() if who},
    )


def _pair(
    first: str,
    second: str,
    contrasts: Mapping[str, CueEffectResult],
    within: Mapping[str, CueEffectResult],
    effects: Mapping[str, Mapping[str, CueEffectResult]],
    policy: GatePolicy,
    axis: str,
) -> CuePair:
    margin, alpha = policy.margin[axis], policy.alpha
    adjusted = holm([one.pvalue for one in contrasts.values()])
    agree, differ, turns, still_open = [], [], [], []
    for who, value in zip(contrasts, adjusted, strict=True):
        one, two = effects[who][first], effects[who][second]
        if -margin < within[who].low and within[who].high < margin:
            agree.append(who)
        elif value <= alpha:
            differ.append(who)
            if one.estimate * two.estimate < 0 and max(one.pvalue, two.pvalue) <= alpha:
                turns.append(who)
        else:
            still_open.append(who)
    return CuePair(
        first, second, margin, tuple(agree), tuple(differ), tuple(turns), tuple(still_open),
        effect_correlation(
            [effects[who][first].estimate for who in contrasts],
            [effects[who][second].estimate for who in contrasts],
        ),
    )  # fmt: skip


def _contrast(
    asked: Mapping[tuple[str, str], _Answers],
    who: str,
    pair: tuple[str, str],
    clusters: npt.NDArray[np.str_],
    confidence: float,
) -> CueEffectResult:
    one, two = (asked[who, cue] for cue in pair)
    return cue_contrast(
        one.pair,
        two.pair,
        wordings=(one.wordings, two.wordings),
        clusters=clusters,
        confidence=confidence,
    )


def _people(tasks: Sequence[TaskOutcomes], cue: str) -> list[tuple[str, str]]:
    """The identities that a cue makes known under every task, and their groups."""
    asked = [
        {
            person_of(one.name, cue): one.group
            for one in task.identities
            if one.kind == "identity" and one.cue == cue
        }
        for task in tasks
    ]
    return [(who, group) for who, group in asked[0].items() if all(who in one for one in asked)]


def _answers(tasks: Sequence[TaskOutcomes], cue: str, who: str, reference: str) -> _Answers | None:
    """None where a task has nobody to compare with, or no answer that can be compared."""
    scores, references, wordings = [], [], []
    for task in tasks:
        place = next(
            n
            for n, one in enumerate(task.identities)
            if one.cue == cue and person_of(one.name, cue) == who
        )
        compared = task.compared_with(place, reference)
        if not compared:
            return None
        scores.append(_over_repeats(task.scores[place]))
        references.append(_over_repeats(mean_scores(task.scores[list(compared)])))
        wordings.append(task.wordings[place])
    said = np.concatenate(wordings)
    cell, against = np.concatenate(scores), np.concatenate(references)
    if np.isnan(cell - against).all():
        return None
    return _Answers(cell, against, None if (said < 0).all() else said)


def _over_repeats(scores: Scores) -> Scores:
    """The mean over repeats, NaN where one is missing: (items, repeats) -> (items,)."""
    return np.asarray(scores.mean(axis=1), dtype=np.float64)
