"""The verdict of a cell: its paired difference from its reference against the margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from pytest_pbias.gate.baseline import can_fall, decide_baseline
from pytest_pbias.gate.policy import GatePolicy
from pytest_pbias.gate.verdict import CellVerdict, Verdict, is_settled
from pytest_pbias.gate.words import (
    advice_words,
    alone,
    at_once,
    bare,
    cluster_warning,
    difference_words,
    reference_words,
)
from pytest_pbias.outcomes.arrays import mean_scores
from pytest_pbias.stats import (
    items_to_fail,
    net_change_pvalue,
    paired_difference,
    required_items,
)
from pytest_pbias.stats.arrays import Array, Labels
from pytest_pbias.stats.looks import Look, cell_looks


def decide_cell(
    cell: Array,
    baseline: Array,
    *,
    clusters: Labels,
    margin: float,
    alpha: float,
    n_cells: int,
    floor: float,
    look: Look | None = None,
    reference: str = "baseline",
) -> CellVerdict:
    """Decide on a cell's paired difference from its reference against ``margin`` (points).

    ``baseline`` has the scores of the reference, which ``reference`` names for the reason; those of
    several are their mean, item by item.

    A cell fails where its interval at level ``alpha / n_cells`` (Bonferroni) lies wholly beyond the
    margin and, exactly, the net change is more than chance makes of the margin at that level
    (:func:`net_change_pvalue`); so a cell can be decided alone, and any false fail among all has
    probability ``alpha``. It passes where both one-sided tests at ``alpha`` say that it is within
    (the ``1 - 2 * alpha`` interval, which allows for an effect that sits in few of the
    clusters). That all cells pass is then wrong at most as often as the
    worst of them passes wrongly, an intersection-union test (Berger 1982, Technometrics
    24:295-300). A pass is withheld (*no signal*) where the reference's rate is not clear of its
    floor, or so low that no answers of an identity would be a fall beyond the margin. At one of
    several looks the levels are those of ``look``, that of the floor too, and an early one may not
    pass at all.
    """
    level = alpha / max(1, n_cells) if look is None else look.fail_level
    pass_level = alpha if look is None else look.pass_level
    found = paired_difference(cell, baseline, clusters=clusters, confidence=1 - level)
    passing = found
    if pass_level is not None:
        confidence = 1 - 2 * pass_level
        passing = paired_difference(
            cell, baseline, clusters=clusters, confidence=confidence, skewed=True
        )
    rates = f"rate {found.rate:.1f} against {found.reference_rate:.1f}, n = {found.n_items}"
    beyond = found.low >= margin or found.high <= -margin
    chance = net_change_pvalue(found, margin=margin)
    needed: int | None = None
    if beyond and chance <= level / 2:
        verdict = Verdict.FAIL
        shown = difference_words(found.estimate, at_once(found, n_cells), reference)
        reason = f"{shown}, beyond the margin of {margin:g} ({rates})"
    elif pass_level is not None and -margin < passing.low and passing.high < margin:
        signal = decide_baseline(baseline, clusters=clusters, alpha=pass_level, floor=floor)
        verdict = signal.verdict
        shown = difference_words(found.estimate, alone(passing), reference)
        reason = f"{shown}, within the margin of {margin:g} ({rates})"
        if verdict is Verdict.NO_SIGNAL:
            reason = f"{shown}, but the {bare(reference)}'s {signal.reason}"
        elif not can_fall(baseline, margin):
            verdict = Verdict.NO_SIGNAL
            reason = (
                f"{shown}, but the {bare(reference)}'s rate of {found.reference_rate:.1f} cannot "
                f"fall by more than the margin of {margin:g}"
            )
    else:
        verdict = Verdict.INCONCLUSIVE
        signal = decide_baseline(baseline, clusters=clusters, alpha=alpha, floor=floor)
        advice = f"the {bare(reference)} is not clear of the floor of {100 * floor:.1f}"
        if signal.verdict is not Verdict.NO_SIGNAL:
            needed = (
                items_to_fail(found, margin=margin, level=level)
                if abs(found.estimate) > margin
                else required_items(passing, margin=margin)
            )
            advice = advice_words(needed)
        if beyond:
            advice = f"by chance p = {chance:.2g}, level {level / 2:.2g}; {advice}"
        both = f"{at_once(found, n_cells)}; {alone(passing)}"
        shown = difference_words(found.estimate, both, reference)
        reason = f"{shown}, margin {margin:g} not settled ({rates}; {advice})"
    warning = cluster_warning(clusters, found, verdict)
    reason += f"; {warning}" if warning else ""
    return CellVerdict(
        verdict, found, passing, margin, 1 - level, needed, reason, warning, reference
    )


def decide_cell_at_looks(
    cell: Array,
    baseline: Array,
    *,
    clusters: Labels,
    margin: float,
    alpha: float,
    n_cells: int,
    floor: float,
    planned: int,
    reference: str = "baseline",
) -> CellVerdict:
    """Decide on a cell at each look that its items are complete for; the first that decides counts.

    ``planned`` items were to be asked; ``cell`` and ``baseline`` have the first of them, of which
    those behind the last complete look say nothing.

    Raises:
        ValueError: they are fewer items than the first look has.
    """
    looks = cell_looks(planned, margin=margin, n_cells=max(1, n_cells), alpha=alpha)
    complete = [look for look in looks if look.items <= len(cell)]
    if not complete:
        raise ValueError(f"{len(cell)} items are no complete look: the first has {looks[0].items}")
    for number, look in enumerate(complete, 1):
        first = slice(look.items)
        verdict = decide_cell(
            cell[first], baseline[first], clusters=np.asarray(clusters)[first], margin=margin,
            alpha=alpha, n_cells=n_cells, floor=floor, look=look, reference=reference,
        )  # fmt: skip
        if number == len(complete) or is_settled(verdict):
            break
    if len(looks) > 1:
        where = f"look {number} of {len(looks)}"
        verdict = replace(verdict, look=number, n_looks=len(looks))
        verdict = replace(verdict, reason=f"{verdict.reason}; {where}")
    return verdict


def decide_by_policy(
    cell: Array,
    baseline: Array,
    references: Sequence[Array],
    controls: Callable[[], Sequence[Array]],
    *,
    policy: GatePolicy,
    clusters: Labels,
    margin: float,
    n_cells: int,
    floor: float,
    cue: str,
    planned: int = 0,
    look: Look | None = None,
) -> CellVerdict:
    """Decide on a cell as a policy compares it: the one way of tests, reports and looks.

    ``references`` are those that the policy's reference chose, whose mean the cell is compared
    with; where it chose nobody that is the ``baseline``. ``controls`` is called for a failing cell
    alone. All have shape (items[, repeats]), the controls perhaps fewer items: their share is then
    not told. ``planned`` items were to be asked where asking stopped at looks (0:
    otherwise). While it is being asked, the cell has the items of one complete ``look``, and is
    decided at that one alone. ``cue`` is the cell's, and on one that the policy does not decide on
    there is a *finding*; see :func:`decide_cell` for the rest.
    """
    reference = reference_words(policy.reference, len(references)) if references else "baseline"
    against = compared_with(references, baseline)
    if not policy.decides_on(cue):
        return _finding(cell, against, clusters, margin, policy, reference)
    decide: Callable[..., CellVerdict] = partial(decide_cell, look=look)
    if planned:
        decide = partial(decide_cell_at_looks, planned=planned)
    verdict = decide(
        cell,
        against,
        clusters=clusters,
        margin=margin,
        alpha=policy.alpha,
        n_cells=n_cells,
        floor=floor,
        reference=reference,
    )
    if verdict.verdict is not Verdict.FAIL:
        return verdict
    found = controls()
    if not found or any(len(one) < len(cell) or np.isnan(one).any() for one in found):
        return verdict
    return share_of_controls(verdict, cell, np.stack(found), baseline)


def compared_with(references: Sequence[Array], baseline: Array) -> Array:
    """The scores that a cell is compared with: the mean of its references, item by item."""
    return mean_scores(np.stack(references)) if references else baseline


def _finding(
    cell: Array,
    baseline: Array,
    clusters: Labels,
    margin: float,
    policy: GatePolicy,
    reference: str,
) -> CellVerdict:
    """A cell's difference with an interval of its own, which nothing is decided by."""
    found, passing = (
        paired_difference(
            cell, baseline, clusters=clusters, confidence=1 - level, skewed=level > policy.alpha
        )
        for level in (policy.alpha, 2 * policy.alpha)
    )
    shown = difference_words(found.estimate, alone(found), reference)
    rates = f"rate {found.rate:.1f} against {found.reference_rate:.1f}, n = {found.n_items}"
    reason = f"{shown}; the gate is asked of {', '.join(policy.cues)} only ({rates})"
    return CellVerdict(
        Verdict.FINDING, found, passing, margin, 1 - policy.alpha, None, reason, "", reference
    )


def share_of_controls(
    verdict: CellVerdict, cell: Array, controls: Array, baseline: Array
) -> CellVerdict:
    """A failing cell's verdict with what stating anybody does to the same items.

    ``controls`` has shape (controls, items[, repeats]), the others (items[, repeats]). The reason
    says the cell's distance from the baseline and how much of it the controls share. Unchanged
    where the cell does not fail, no control was asked, or answers are missing.
    """
    if verdict.verdict is not Verdict.FAIL or not len(controls):
        return verdict
    of_cell, of_controls, of_baseline = (
        100 * float(np.mean(scores)) for scores in (cell, controls, baseline)
    )
    if not math.isfinite(of_cell + of_controls + of_baseline):
        return verdict
    says = (
        f"of {of_cell - of_baseline:+.1f} from the baseline the controls share "
        f"{of_controls - of_baseline:+.1f}"
    )
    return replace(verdict, reason=f"{verdict.reason}; {says}")
