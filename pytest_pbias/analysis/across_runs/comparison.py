"""Two outcome tables -> :class:`Comparison`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_pbias.analysis.across_runs.changes import (
    AxisComparison,
    CellChange,
    Comparison,
    Direction,
    JointChange,
    RateChange,
    TaskComparison,
)
from pytest_pbias.analysis.across_runs.condition import GateOutcome
from pytest_pbias.analysis.across_runs.matching import common_rows, cues_of
from pytest_pbias.analysis.across_runs.pairing import (
    PairedRuns,
    PairedTask,
    bias_change_of,
    pair_runs,
)
from pytest_pbias.analysis.across_runs.setup import setup_differences
from pytest_pbias.analysis.joint import joint_tasks, joint_weights
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, select_defense
from pytest_pbias.stats import (
    ChangeResult,
    PersonalizationBiasResult,
    benjamini_hochberg,
    joint_personalization_bias,
    paired_difference,
)
from pytest_pbias.tasks.base import AXES

_CONFIDENCE = 0.95


def compare_runs(
    new: OutcomeTable, old: OutcomeTable, policy: GatePolicy, *, pairs: PairedRuns | None = None
) -> Comparison:
    """Compare ``new`` with ``old`` on the items that both asked.

    ``policy`` gives the margins, but for those that cells of the new run have of their own.

    Raises:
        DataError: no task has enough items in common.
    """
    pairs = pairs or pair_runs(new, old, policy)
    policy = policy.for_run(new.info)
    tasks = _tasks(pairs, policy)
    axes = {
        (axis, cue): _axis(axis, told, pairs.of_cues([cue]), tasks, policy)
        for axis in AXES
        for cue, told in cues_of(pairs.of(axis)).items()
    }
    decided = [found for (_, cue), found in axes.items() if policy.decides_on(cue)]
    return Comparison(
        old=about_run(old),
        new=about_run(new),
        setup=setup_differences(new, old),
        left_out=pairs.left_out,
        axes=tuple(axes.values()),
        tasks=tasks,
        direction=_overall([axis.direction for axis in decided or axes.values()]),
        joint=_joint(pairs, policy),
        strata=policy.strata_among(task.name for task in pairs.tasks),
    )


def about_run(table: OutcomeTable) -> dict[str, str]:
    """Which run it is, by what a comparison names: model, weights, date, commit, tag."""
    info = table.info
    return {
        "model": "; ".join(table.unique("model")),
        "served_identity": "; ".join(table.unique("served_identity")),
        "created": info.created,
        "commit": info.kept.commit,
        "tag": info.kept.tag,
    }


def _tasks(pairs: PairedRuns, policy: GatePolicy) -> tuple[TaskComparison, ...]:
    n_cells = sum(len(task.identities) for task in pairs.tasks if policy.decides_on(task.cue))
    changes = {
        task.task: [
            (
                task.cell_change(number, _CONFIDENCE),
                task.cell_change(
                    number, 1 - policy.alpha / (n_cells if policy.decides_on(task.cue) else 1)
                ),
            )
            for number in range(len(task.identities))
        ]
        for task in pairs.tasks
    }
    alone = [change.pvalue for cells in changes.values() for change, _ in cells]
    pvalues = [1.0 if pvalue is None else pvalue for pvalue in alone]
    qvalues = iter(benjamini_hochberg(pvalues).tolist())
    return tuple(
        TaskComparison(
            task=task.task,
            axis=task.axis,
            n_items=task.n_items,
            only_new_items=task.only_new_items,
            only_old_items=task.only_old_items,
            only_new=task.only_new,
            only_old=task.only_old,
            baseline=_required(pairs.baseline_change(task.task, _CONFIDENCE)),
            mean=_required(pairs.rate_change(task.task, _CONFIDENCE)),
            bias_change=pairs.bias_change(task.task, _CONFIDENCE),
            cells=tuple(
                _with_rates(task, number, change, at_level, float(next(qvalues)))
                for number, (change, at_level) in enumerate(changes[task.task])
            ),
        )
        for task in pairs.tasks
    )


def _required(change: RateChange | None) -> RateChange:
    assert change is not None, "a paired task has a baseline and an identity"
    return change


def _with_rates(
    task: PairedTask, number: int, change: ChangeResult, at_level: ChangeResult, qvalue: float
) -> CellChange:
    old, new = (100 * float(np.nanmean(run[number])) for run in (task.old, task.new))
    old_base, new_base = (
        100 * float(np.nanmean(run[number])) for run in (task.old_references, task.new_references)
    )
    return CellChange(
        identity=task.identities[number],
        old_rate=old,
        new_rate=new,
        old_difference=old - old_base,
        new_difference=new - new_base,
        change=change,
        at_level=at_level,
        qvalue=qvalue,
    )


def _axis(
    axis: str,
    cue: str,
    pairs: PairedRuns,
    tasks: Sequence[TaskComparison],
    policy: GatePolicy,
) -> AxisComparison:
    """``pairs`` are of one cue, ``cue`` how it is told: empty where there is no other."""
    change = pairs.bias_change(axis, 1 - 2 * policy.alpha)
    of_scope = pairs.of(axis)
    weights = [1 / len(of_scope)] * len(of_scope)
    old, new = _biases(of_scope, weights) if change is not None else (None, None)
    baseline = _required(pairs.baseline_change(axis, 1 - 2 * policy.alpha))
    mean = _required(pairs.rate_change(axis, 1 - 2 * policy.alpha))
    titles = {task.task for task in of_scope}
    of_axis = [task for task in tasks if task.task in titles]
    direction, reason = _direction(axis, change, baseline, mean, of_axis, of_scope, policy)
    if not all(policy.decides_on(task.cue) for task in of_scope):
        reason += f"; the gate is asked of {', '.join(policy.cues)} only"
    return AxisComparison(axis, cue, old, new, change, baseline, mean, direction, reason)


def _joint(pairs: PairedRuns, policy: GatePolicy) -> JointChange | None:
    """Change of joint PB by the first cue; None where tasks or two identities lack in a run."""
    of_name: dict[str, PairedTask] = {}
    for task in pairs.tasks:
        of_name.setdefault(task.name, task)
    names, _ = joint_tasks({name: task.axis for name, task in of_name.items()}, policy.joint)
    tasks = [of_name[name] for name in names]
    weights = joint_weights([task.axis for task in tasks])
    change = bias_change_of(tasks, weights, _CONFIDENCE)
    if change is None:
        return None
    cue = next((task.cue for task in tasks if task.task != task.name), "")
    return JointChange(names, *_biases(tasks, weights), change, cue)


def _biases(
    tasks: Sequence[PairedTask], weights: Sequence[float]
) -> tuple[PersonalizationBiasResult, PersonalizationBiasResult]:
    rows = common_rows(tasks)
    old, new = (
        joint_personalization_bias(
            [run[row] for run, row in zip(tables, rows, strict=True)],
            clusters=[task.clusters for task in tasks],
            weights=weights,
        )
        for tables in ([task.old for task in tasks], [task.new for task in tasks])
    )
    return old, new


def _direction(
    axis: str,
    bias: ChangeResult | None,
    baseline: RateChange,
    mean: RateChange,
    tasks: Sequence[TaskComparison],
    paired: Sequence[PairedTask],
    policy: GatePolicy,
) -> tuple[Direction, str]:
    """Worse before anything else: a model that answers nothing right has a PB of 0.

    A fall of the baseline or of the identities' mean, task by task, counts against the margin; a
    change of PB against no change at all; a cell against its margin at the shared level. A fall of
    PB is none for the better where it only levels down: rates fell, and nobody's rose.
    """
    fallen, open_falls = [], []
    for task in tasks:
        margin = policy.margin_for(task.name, axis)
        for who, rate in (("baseline", task.baseline), ("identities' mean", task.mean)):
            if rate.high <= -margin:
                fallen.append(f"{task.task}: {who} {rate.estimate:+.1f}")
            elif rate.low <= -margin:
                open_falls.append(f"{task.task}: {who}")
    cells = [
        (task.task, cell)
        for task in tasks
        for cell in task.cells
        if _is_further(cell, policy.margin_for(task.name, axis, cell.identity.name))
    ]
    if fallen:
        return Direction.WORSE, f"rates fell beyond the margin ({'; '.join(fallen[:3])})"
    if bias is not None and bias.low > 0:
        return Direction.WORSE, f"PB rose by {bias.estimate:.1f}"
    if cells:
        task_name, worst = max(cells, key=lambda found: abs(found[1].change.estimate))
        return Direction.WORSE, (
            f"{worst.identity.name} moved away from the baseline under {task_name} "
            f"({worst.old_difference:+.1f} to {worst.new_difference:+.1f})"
        )
    fell = bias is not None and bias.high < 0
    if bias is not None and fell and mean.high < 0 and not _anyone_gained(paired, policy.alpha):
        return Direction.WORSE, (
            f"PB fell by {-bias.estimate:.1f} only because rates fell: the identities' mean by "
            f"{-mean.estimate:.1f}, and nobody is shown to have gained"
        )
    if open_falls:
        return Direction.INCONCLUSIVE, (
            f"a fall beyond the margin is not ruled out ({'; '.join(open_falls[:3])})"
        )
    if bias is not None and fell:
        return Direction.BETTER, f"PB fell by {-bias.estimate:.1f}, and no rate beyond its margin"
    if bias is not None and bias.high >= policy.pb_tolerance[axis]:
        return Direction.INCONCLUSIVE, "a rise of PB beyond the tolerance is not ruled out"
    return Direction.UNCHANGED, "neither PB nor a rate is shown to have changed"


def _anyone_gained(tasks: Sequence[PairedTask], alpha: float) -> bool:
    """Whether the rate of any identity rose, at the level that all of them share."""
    cells = [(task, number) for task in tasks for number in task.demographic()]
    return any(
        paired_difference(
            task.new[number],
            task.old[number],
            clusters=task.clusters,
            confidence=1 - alpha / len(cells),
        ).low
        > 0
        for task, number in cells
    )


def _is_further(cell: CellChange, margin: float) -> bool:
    """Whether the cell moved beyond the margin, and away from the baseline."""
    moved = cell.at_level.high <= -margin or cell.at_level.low >= margin
    return moved and abs(cell.new_difference) > abs(cell.old_difference)


def _overall(directions: Sequence[Direction]) -> Direction:
    order = (Direction.WORSE, Direction.INCONCLUSIVE, Direction.BETTER)
    return next((found for found in order if found in directions), Direction.UNCHANGED)


@dataclass(frozen=True)
class ComparedRun:
    """The comparison with the run ``name``, or ``problem``: why there is none.

    ``undecided`` says why the gate that was asked for has no verdict.
    """

    name: str
    comparison: Comparison | None
    gate: GateOutcome | None = None
    problem: str = ""
    undecided: str = ""


def compare_beside(
    new: OutcomeTable, old: OutcomeTable, policy: GatePolicy, *, name: str
) -> ComparedRun:
    """Compare with ``old``, called ``name``; what cannot be compared is said and no error."""
    try:
        comparison = compare_runs(select_defense(new), select_defense(old), policy)
    except PbiasError as error:
        return ComparedRun(name, None, problem=str(error))
    return ComparedRun(name, comparison)
