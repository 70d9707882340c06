"""Did a mitigation pay? Outcomes before and after on the same items -> a verdict.

A lower PB alone is never a success: a model that answers nothing right treats everyone alike. So
the verdict looks at PB and, task by task, at what the baseline and the identities lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.identities import Identity
from pytest_pbias.outcomes import TaskOutcomes
from pytest_pbias.stats import (
    ChangeResult,
    PairedDifferenceResult,
    PersonalizationBiasResult,
    joint_personalization_bias,
    match_items,
    paired_bias_change,
    paired_difference,
)

Array = npt.NDArray[np.float64]


class Effect(Enum):
    """What a mitigation did."""

    BETTER = "better"
    WORSE = "worse"
    UNCHANGED = "no change"
    UNSETTLED = "inconclusive"


@dataclass(frozen=True)
class BiasChange:
    """PB of one axis (root mean square over its tasks), percentage points, 95 % intervals."""

    axis: str
    before: PersonalizationBiasResult
    after: PersonalizationBiasResult
    change: ChangeResult


@dataclass(frozen=True)
class RateChange:
    """Rate after minus before on the same items; ``who`` is the baseline or the identities' mean.

    ``difference`` (percentage points) holds at the level that all rates of the verdict share;
    ``margin`` is the fall that the gate tolerates.
    """

    task: str
    axis: str
    who: str
    difference: PairedDifferenceResult
    margin: float

    @property
    def fell(self) -> bool:
        """Whether the rate fell beyond the margin."""
        return self.difference.high <= -self.margin

    @property
    def kept(self) -> bool:
        """Whether a fall beyond the margin is ruled out."""
        return self.difference.low > -self.margin


@dataclass(frozen=True)
class IdentityChange:
    """What one identity gained or lost in one task, at the level shared by all of them."""

    identity: Identity
    task: str
    axis: str
    difference: PairedDifferenceResult


@dataclass(frozen=True)
class MitigationVerdict:
    """The verdict with all it rests on; ``gained`` and ``lost`` are beyond noise."""

    effect: Effect
    biases: tuple[BiasChange, ...]
    rates: tuple[RateChange, ...]
    gained: tuple[IdentityChange, ...]
    lost: tuple[IdentityChange, ...]
    reason: str


@dataclass(frozen=True)
class _Pair:
    """One task before and after: scores (identities, items, runs) of the same people and items."""

    task: str
    axis: str
    identities: tuple[Identity, ...]
    before: Array
    after: Array
    clusters: npt.NDArray[np.str_]
    baselines: tuple[Array, Array] | None


def judge_mitigation(
    before: Sequence[TaskOutcomes], after: Sequence[TaskOutcomes], policy: GatePolicy
) -> MitigationVerdict:
    """Compare outcomes on the items and identities that both have.

    *Worse*: PB rose beyond noise on an axis, or a rate (the baseline's, or the identities' mean in
    any task) fell beyond its margin, whatever PB did. *Better*: PB fell beyond noise on an axis,
    and falls of every rate beyond its margin are ruled out. Where they are not, *inconclusive*.

    Raises:
        DataError: the two have no task, identity or item in common.
    """
    older = {task.task: task for task in before}
    found = (_pair(older[new.task], new) for new in after if new.task in older)
    pairs = [pair for pair in found if pair is not None]
    if not pairs:
        raise DataError("the two runs have no task with the same items and identities")
    biases = tuple(_bias_changes(pairs))
    rates = tuple(_rate_changes(pairs, policy))
    changes = list(_identity_changes(pairs, policy.alpha))
    effect, reason = _judge(biases, rates)
    return MitigationVerdict(
        effect,
        biases,
        rates,
        gained=tuple(change for change in changes if change.difference.low > 0),
        lost=tuple(change for change in changes if change.difference.high < 0),
        reason=reason,
    )


def _pair(old: TaskOutcomes, new: TaskOutcomes) -> _Pair | None:
    items = match_items(new.items, old.items)
    old_index = {identity.name: number for number, identity in enumerate(old.identities)}
    common = [
        (number, old_index[identity.name])
        for number, identity in enumerate(new.identities)
        if identity.kind == "identity" and identity.name in old_index
    ]
    common.sort(key=lambda numbers: new.identities[numbers[0]].name)
    if not common or not len(items.new):
        return None
    baselines = None
    if old.baseline is not None and new.baseline is not None:
        baselines = (old.baseline[items.old], new.baseline[items.new])
    return _Pair(
        task=new.task,
        axis=new.axis,
        identities=tuple(new.identities[number] for number, _ in common),
        before=old.scores[[number for _, number in common]][:, items.old],
        after=new.scores[[number for number, _ in common]][:, items.new],
        clusters=new.clusters[items.new],
        baselines=baselines,
    )


def _bias_changes(pairs: Sequence[_Pair]) -> Iterator[BiasChange]:
    for axis in ("utility", "safety"):
        members = [pair for pair in pairs if pair.axis == axis]
        names = [{identity.name for identity in pair.identities} for pair in members]
        common = set.intersection(*names) if names else set()
        if len(common) < 2:
            continue

        tables: dict[str, list[Array]] = {"before": [], "after": []}
        for pair in members:
            rows = [n for n, identity in enumerate(pair.identities) if identity.name in common]
            tables["before"].append(pair.before[rows])
            tables["after"].append(pair.after[rows])
        labels = [pair.clusters for pair in members]
        weights = [1 / len(members)] * len(members)
        old, new = (
            joint_personalization_bias(run, clusters=labels, weights=weights)
            for run in tables.values()
        )
        change = paired_bias_change(
            tables["after"], tables["before"], clusters=labels, weights=weights
        )
        yield BiasChange(axis, old, new, change)


def _rate_changes(pairs: Sequence[_Pair], policy: GatePolicy) -> Iterator[RateChange]:
    confidence = 1 - policy.alpha / (2 * len(pairs))
    for pair in pairs:
        margin = policy.margin_for(pair.task, pair.axis)
        compared = {"identities' mean": (_mean(pair.before), _mean(pair.after))}
        if pair.baselines is not None:
            compared = {"baseline": pair.baselines} | compared
        for who, (old, new) in compared.items():
            found = paired_difference(new, old, clusters=pair.clusters, confidence=confidence)
            yield RateChange(pair.task, pair.axis, who, found, margin)


def _mean(scores: Array) -> Array:
    """Mean over identities of (identities, items, runs), NaN where nobody has an answer."""
    seen = ~np.isnan(scores)
    total = np.where(seen, scores, 0.0).sum(axis=0)
    count = seen.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _identity_changes(pairs: Sequence[_Pair], alpha: float) -> Iterator[IdentityChange]:
    confidence = 1 - alpha / sum(len(pair.identities) for pair in pairs)
    for pair in pairs:
        for number, identity in enumerate(pair.identities):
            found = paired_difference(
                pair.after[number],
                pair.before[number],
                clusters=pair.clusters,
                confidence=confidence,
            )
            yield IdentityChange(identity, pair.task, pair.axis, found)


def _judge(biases: Sequence[BiasChange], rates: Sequence[RateChange]) -> tuple[Effect, str]:
    fallen = [rate for rate in rates if rate.fell]
    unsettled = [rate for rate in rates if not rate.kept]
    rose = [bias for bias in biases if bias.change.low > 0]
    fell = [bias for bias in biases if bias.change.high < 0]
    moved = ", ".join(_shown_bias(bias) for bias in fell)
    if fallen:
        worst = min(fallen, key=lambda rate: rate.difference.high)
        although = f", although PB fell ({moved})" if fell else ""
        return Effect.WORSE, f"{_shown_rate(worst)}, beyond its margin{although}"
    if rose:
        return Effect.WORSE, f"PB rose: {', '.join(_shown_bias(bias) for bias in rose)}"
    if unsettled:
        worst = min(unsettled, key=lambda rate: rate.difference.low)
        what = f"PB fell ({moved})" if fell else "PB did not change beyond noise"
        return Effect.UNSETTLED, f"{what}, but {_shown_rate(worst)}: a fall is not ruled out"
    if fell:
        return Effect.BETTER, f"PB fell ({moved}), and no rate fell beyond its margin"
    return Effect.UNCHANGED, "PB did not change beyond noise, and no rate fell beyond its margin"


def _shown_bias(bias: BiasChange) -> str:
    return f"{bias.axis} {bias.before.estimate:.1f} to {bias.after.estimate:.1f}"


def _shown_rate(rate: RateChange) -> str:
    found = rate.difference
    return (
        f"{rate.task}: the rate of the {rate.who} went from {found.reference_rate:.1f} to "
        f"{found.rate:.1f} ({found.low:+.1f} to {found.high:+.1f}, margin {rate.margin:g})"
    )
