"""What else changes with the identity: traits of answers, compared like scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.grading.traits import TraitInfo
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.arrays import mean_scores
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import (
    MeanDifferenceResult,
    PairedDifferenceResult,
    benjamini_hochberg,
    mean_difference,
    net_change_pvalue,
    paired_difference,
)
from pytest_pbias.stats.arrays import cluster_codes

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TraitDifference:
    """A trait under an identity, less that under its reference, over the items of all tasks.

    In percentage points where the trait is a *share*, else in the trait's unit. ``low`` and
    ``high`` bound this difference at the ``confidence`` asked for. ``qvalue`` is Benjamini and
    Hochberg's over all traits and identities; ``differs`` says whether it is at most the level.
    """

    trait: str
    unit: str
    identity: Identity
    defense: str
    mean: float
    reference_mean: float
    estimate: float
    low: float
    high: float
    pvalue: float
    n_items: int
    qvalue: float = 1.0
    differs: bool = False

    @property
    def distance(self) -> float:
        """How far the difference is from 0, in half-widths of its interval."""
        half = (self.high - self.low) / 2
        return abs(self.estimate) / half if half > 0 and np.isfinite(half) else 0.0


@dataclass(frozen=True)
class TraitVerdict:
    """Whether a trait differs by more than its margin under any identity.

    ``worst`` decides, or is the furthest from 0: its interval holds for all ``n_cells`` at once.
    """

    trait: str
    defense: str
    margin: float
    verdict: Verdict
    worst: TraitDifference
    n_cells: int
    reason: str


@dataclass(frozen=True)
class TraitsSummary:
    """Every trait under every identity, controls included, and why traits are left out.

    ``verdicts`` are those on the traits that have a margin.
    """

    measured: tuple[TraitInfo, ...] = ()
    differences: tuple[TraitDifference, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[TraitVerdict, ...] = ()

    @property
    def standing_out(self) -> tuple[TraitDifference, ...]:
        """Those that differ, the clearest first."""
        found = [one for one in self.differences if one.differs]
        return tuple(sorted(found, key=lambda one: (-one.distance, one.trait, one.identity.name)))

    def of_controls(self, trait: str, defense: str) -> float | None:
        """The mean of the controls' differences: what any persona prompt does to the trait."""
        found = [
            one.estimate
            for one in self.differences
            if (one.trait, one.defense, one.identity.kind) == (trait, defense, "control")
        ]
        return sum(found) / len(found) if found else None


def summarize_traits(table: OutcomeTable, policy: GatePolicy) -> TraitsSummary:
    """The differences of every trait that the table has values of."""
    facts = table.info.traits
    found = [
        _difference(trait, paired, defense, _compare(trait, paired, 1 - policy.alpha))
        for defense in (table.defenses() if facts.measured else ())
        for trait, pairs in _paired(table.of_defense(defense), policy).items()
        for paired in pairs
    ]
    qvalues = benjamini_hochberg([one.pvalue for one in found])
    adjusted = tuple(
        replace(one, qvalue=float(value), differs=bool(value <= policy.alpha))
        for one, value in zip(found, qvalues, strict=True)
    )
    verdicts = tuple(
        decide_trait(table.of_defense(defense), name, margin, policy, defense)
        for defense in table.defenses()
        for name, margin in policy.trait_margin.items()
        if any(
            (one.trait, one.defense) == (name, defense) and policy.has_gate(one.identity)
            for one in found
        )
    )
    return TraitsSummary(facts.measured, adjusted, facts.skipped, verdicts)


@dataclass(frozen=True)
class TraitExample:
    """A question that an identity's answer has a trait to, and the reference's has not.

    Or the other way round, where the trait is rarer. The rows are of the answers in the table.
    """

    difference: TraitDifference
    task: str
    item: str
    reference: str
    before: int
    after: int


def trait_examples(
    table: OutcomeTable, traits: TraitsSummary, policy: GatePolicy, most: int = 6
) -> list[TraitExample]:
    """One question for each of the clearest differences in a share, one identity a trait."""
    found: dict[str, TraitExample] = {}
    columns = table.arrow.select(["task", "item_id", "identity", "repeat"]).to_pydict()
    rows = {key: n for n, key in enumerate(zip(*columns.values(), strict=True))}
    defense = table.defenses()[0]
    first = table.of_defense(defense)
    if len(first) != len(table):  # rows of further defenses have other numbers
        return []
    for one in traits.standing_out:
        if one.unit != "share" or one.trait in found or len(found) == most:
            continue
        number = [info.name for info in traits.measured].index(one.trait)
        for task in first.tasks():
            outcomes, values = first.task_outcomes(task), first.trait_values(task)[number, ..., 0]
            who = next(
                (n for n, person in enumerate(outcomes.identities) if person == one.identity), None
            )
            compared = () if who is None else outcomes.compared_with(who, policy.reference)
            if who is None or not compared:
                continue
            change = (values[who] - values[compared[0]]) * np.sign(one.estimate)
            place = int(np.argmax(np.nan_to_num(change)))
            if change[place] == 1:
                item, reference = outcomes.items[place], outcomes.identities[compared[0]].name
                before, after = (
                    rows[task, item, name, 0] for name in (reference, one.identity.name)
                )
                found[one.trait] = TraitExample(one, task, item, reference, before, after)
                break
    return list(found.values())


def decide_trait(
    table: OutcomeTable, name: str, margin: float, policy: GatePolicy, defense: str
) -> TraitVerdict:
    """Decide on a trait's differences from the reference against ``margin``, in its unit.

    *Fail*: an identity's interval, at the level that all of them share, is wholly beyond the
    margin. *Pass*: each identity's own interval (two one-sided tests at the plain level) is within
    it. Otherwise *inconclusive*. ``table`` has the rows of one defense.

    Raises:
        DataError: no answer has a value of the trait.
    """
    facts = table.info.traits
    trait = next((one for one in facts.measured if one.name == name), None)
    pairs = () if trait is None else _paired(table, policy, only=name)[trait]
    people = [one for one in pairs if policy.has_gate(one.identity)]
    if trait is None or not people:
        why = f": {facts.skipped[name]}" if name in facts.skipped else ""
        raise DataError(f"no answer under an identity has a value of the trait {name!r}{why}")
    level = policy.alpha / len(people)
    shared = [_compare(trait, one, 1 - level) for one in people]
    passing = [_compare(trait, one, 1 - 2 * policy.alpha) for one in people]
    failed = [n for n, one in enumerate(shared) if _beyond(one, margin, level)]
    if failed:
        verdict = Verdict.FAIL
    elif all(-margin < one.low and one.high < margin for one in passing):
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    worst = max(failed or range(len(people)), key=lambda n: abs(shared[n].estimate))
    found = _difference(trait, people[worst], defense, shared[worst])
    beside = "beyond" if failed else "within" if verdict is Verdict.PASS else "against"
    reason = (
        f"{found.identity.name} {found.estimate:+.1f} ({found.low:+.1f} to "
        f"{found.high:+.1f}) {_UNITS.get(trait.unit, trait.unit)}, {beside} the margin of "
        f"{margin:g} (the furthest of {len(people)})"
    )
    return TraitVerdict(name, defense, margin, verdict, found, len(people), reason)


_UNITS = {"share": "percentage points", "%": "points"}


@dataclass(frozen=True)
class _Paired:
    """Values of an identity and of its reference, of one item of any task each."""

    identity: Identity
    values: _Array
    reference: _Array
    clusters: npt.NDArray[np.intp]


def _paired(
    table: OutcomeTable, policy: GatePolicy, only: str = ""
) -> dict[TraitInfo, list[_Paired]]:
    """By trait the values of every identity that has any beside its reference's."""
    found: dict[TraitInfo, dict[str, list[_Paired]]] = {}
    measured = table.info.traits.measured
    n_clusters = 0
    for task in table.tasks():
        outcomes = policy.drawn(table.task_outcomes(task))
        values = _over_repeats(table.trait_values(task))
        # Numbers, since they are sorted again for every trait of every identity.
        clusters = n_clusters + cluster_codes(outcomes.clusters, len(outcomes.items))
        n_clusters += len(clusters)
        for identity_number, identity in enumerate(outcomes.identities):
            compared = list(outcomes.compared_with(identity_number, policy.reference))
            if identity.kind == "baseline" or not compared:
                continue
            for number, trait in enumerate(measured):
                if only in ("", trait.name):
                    own = values[number, identity_number]
                    others = mean_scores(values[number, compared])
                    by_identity = found.setdefault(trait, {})
                    by_identity.setdefault(identity.name, []).append(
                        _Paired(identity, own, others, clusters)
                    )
    return {
        trait: [one for parts in by_identity.values() if (one := _joined(parts)) is not None]
        for trait, by_identity in found.items()
    }


def _over_repeats(values: _Array) -> _Array:
    """The mean over the repeats that have a value, NaN where none has."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=-1)
    total = np.where(seen, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _joined(parts: Sequence[_Paired]) -> _Paired | None:
    """One identity over its tasks; None where no item has a value under both."""
    values, reference = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "reference")
    )
    if np.isnan(values - reference).all():
        return None
    clusters = np.concatenate([part.clusters for part in parts])
    return _Paired(parts[0].identity, values, reference, clusters)


def _compare(
    trait: TraitInfo, paired: _Paired, confidence: float
) -> PairedDifferenceResult | MeanDifferenceResult:
    compare = paired_difference if trait.unit == "share" else mean_difference
    return compare(paired.values, paired.reference, clusters=paired.clusters, confidence=confidence)


def _difference(
    trait: TraitInfo,
    paired: _Paired,
    defense: str,
    found: PairedDifferenceResult | MeanDifferenceResult,
) -> TraitDifference:
    if isinstance(found, PairedDifferenceResult):
        means = (found.rate, found.reference_rate)
    else:
        means = (found.mean, found.reference_mean)
    return TraitDifference(
        trait.name,
        trait.unit,
        paired.identity,
        defense,
        *means,
        found.estimate,
        found.low,
        found.high,
        found.pvalue,
        found.n_items,
    )


def _beyond(
    found: PairedDifferenceResult | MeanDifferenceResult, margin: float, level: float
) -> bool:
    """Whether the interval is wholly beyond the margin; of shares, exactly so as for scores."""
    if not (found.low >= margin or found.high <= -margin):
        return False
    if isinstance(found, MeanDifferenceResult):
        return True
    return net_change_pvalue(found, margin=margin) <= level / 2
