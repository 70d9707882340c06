"""Two runs side by side: their tasks, items and identities in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_pbias.analysis.across_runs.changes import Change, Family, RateChange, mean_change
from pytest_pbias.analysis.across_runs.matching import (
    LEAST_MATCHED,
    AskedByCue,
    OnTasks,
    common_rows,
    compared_identities,
    cues_of,
    over_identities,
    same_references,
)
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, Scores, TaskOutcomes
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import (
    ChangeResult,
    difference_in_differences,
    match_items,
    paired_bias_change,
    paired_difference,
)


@dataclass(frozen=True, slots=True)
class PairedTask(AskedByCue):
    """One task of both runs: scores (identities, items, repeats) on the matched items.

    ``references`` are the baselines' scores in the same shape, row by row those that the identity
    is compared with; ``baseline`` (items, repeats) is the task's own. Of several cues
    each is a task, ``mmlu by profile``.
    """

    task: str
    axis: str
    identities: tuple[Identity, ...]
    new: Scores
    old: Scores
    new_references: Scores
    old_references: Scores
    new_baseline: Scores
    old_baseline: Scores
    clusters: npt.NDArray[np.str_]
    only_new_items: int
    only_old_items: int
    only_new: tuple[str, ...]
    only_old: tuple[str, ...]

    @property
    def n_items(self) -> int:
        """How many items are in both runs."""
        return int(self.clusters.size)

    def cell_change(self, number: int, confidence: float) -> ChangeResult:
        """Change of an identity's difference from its baseline, percentage points."""
        return difference_in_differences(
            self.new[number],
            self.new_references[number],
            self.old[number],
            self.old_references[number],
            clusters=self.clusters,
            confidence=confidence,
        )


@dataclass(frozen=True, slots=True)
class PairedRuns(OnTasks[PairedTask]):
    """The tasks that both runs can be compared on, and the others with the reason.

    Changes are new minus old, percentage points.
    """

    tasks: tuple[PairedTask, ...]
    left_out: tuple[str, ...]

    def of_cues(self, cues: Sequence[str]) -> PairedRuns:
        """Only what was asked by these cues.

        Raises:
            DataError: nothing was, in both runs.
        """
        tasks = tuple(task for task in self.tasks if task.identities[0].cue in cues)
        if not tasks:
            raise DataError(f"no task was asked by the cue {' or '.join(cues)} in both runs")
        return replace(self, tasks=tasks)

    def bias_change(self, scope: str, confidence: float) -> ChangeResult | None:
        """Change of PB (root mean square over the tasks); None below two identities in common."""
        tasks = self.of(scope)
        return bias_change_of(tasks, [1 / len(tasks)] * len(tasks), confidence)

    def baseline_change(self, scope: str, confidence: float) -> RateChange | None:
        """Change of the baseline's rate, the mean over the tasks."""
        parts = [
            _rate_change(task.new_baseline, task.old_baseline, task, confidence)
            for task in self.of(scope)
        ]
        return _mean_change(parts)

    def rate_change(self, scope: str, confidence: float) -> RateChange | None:
        """Change of the identities' mean rate, the mean over the tasks."""
        parts = []
        for task in self.of(scope):
            rows = task.demographic() or list(range(len(task.identities)))
            new, old = (over_identities(run[rows]) for run in (task.new, task.old))
            parts.append(_rate_change(new, old, task, confidence))
        return _mean_change(parts)

    def changes(self, family: Family, scope: str, confidence: float) -> list[Change]:
        """The changes that a condition of this family is decided on, at levels that they share."""
        if family == "cell":
            cells = sum(len(task.identities) for task in self.of(scope))
            return [
                Change(f"{identity.name}, {task.task}", found.estimate, found.low, found.high)
                for task, identity, found in self.cell_changes(
                    scope, 1 - (1 - confidence) / max(1, cells)
                )
            ]
        cues = cues_of(self.of(scope))
        level = (1 - confidence) / max(1, len(cues))
        found = [
            (told, self.of_cues([cue])._change(family, scope, 1 - level))
            for cue, told in cues.items()
        ]
        return [
            Change(told, change.estimate, change.low, change.high)
            for told, change in found
            if change is not None
        ]

    def _change(
        self, family: Family, scope: str, confidence: float
    ) -> ChangeResult | RateChange | None:
        """Of one cue, whose identities PB and mean rates are over."""
        if family == "pb":
            return self.bias_change(scope, confidence)
        if family == "baseline":
            return self.baseline_change(scope, confidence)
        return self.rate_change(scope, confidence)

    def cell_changes(
        self, scope: str, confidence: float
    ) -> tuple[tuple[PairedTask, Identity, ChangeResult], ...]:
        """Change of every cell's difference from its baseline, each at ``confidence``."""
        return tuple(
            (task, identity, task.cell_change(n, confidence))
            for task in self.of(scope)
            for n, identity in enumerate(task.identities)
        )


def bias_change_of(
    tasks: Sequence[PairedTask], weights: Sequence[float], confidence: float
) -> ChangeResult | None:
    """Change of PB over ``tasks``, weighted; None below two identities that all of them have."""
    rows = common_rows(tasks)
    if not rows or len(rows[0]) < 2:
        return None
    return paired_bias_change(
        [task.new[row] for task, row in zip(tasks, rows, strict=True)],
        [task.old[row] for task, row in zip(tasks, rows, strict=True)],
        clusters=[task.clusters for task in tasks],
        weights=weights,
        confidence=confidence,
    )


def pair_runs(new: OutcomeTable, old: OutcomeTable, policy: GatePolicy) -> PairedRuns:
    """Match two runs' tasks, items (by content) and identities (by name).

    Differences are from the policy's reference where both runs asked the same ones, else from the
    baseline; items of its strata count one by one.

    Raises:
        DataError: no task has enough items in common, or answers to the same of them.
    """
    tasks, left_out = [], []
    for name in new.tasks():
        if name not in old.tasks():
            left_out.append(f"{name}: not in the earlier run")
            continue
        whole, before = (policy.drawn(run.task_outcomes(name)) for run in (new, old))
        alone = len(whole.cues) == len(before.cues) == 1
        for cue in whole.cues:
            title = under(name, "none", cue if len(whole.cues) > 1 else "")
            if cue not in before.cues and not alone:
                left_out.append(f"{title}: not in the earlier run")
                continue
            earlier = before.of_cue(cue) if cue in before.cues else before
            paired, reason = _pair_task(
                whole.of_cue(cue).common(), earlier.common(), policy.reference
            )
            if paired is not None:
                tasks.append(replace(paired, task=title))
            if reason:
                left_out.append(f"{title}: {reason}")
    left_out += [f"{name}: not in the new run" for name in old.tasks() if name not in new.tasks()]
    if not tasks:
        raise DataError(
            f"the runs cannot be compared: {'; '.join(left_out) or 'they hold no answers'}"
        )
    return PairedRuns(tuple(tasks), tuple(left_out))


def _pair_task(
    new: TaskOutcomes, old: TaskOutcomes, reference: str
) -> tuple[PairedTask | None, str]:
    """The task on the items of both runs, and what had to be left out of it, or why all of it."""
    match = match_items(new.items, old.items)
    least = LEAST_MATCHED * min(len(new.items), len(old.items))
    if match.new.size < max(1.0, least):
        total = f"{len(new.items)} and {len(old.items)}"
        return None, f"only {match.new.size} of {total} questions are in both runs (other data)"
    new_numbers, old_numbers = _compared(new), _compared(old)
    names = [name for name in new_numbers if name in old_numbers]
    new_baseline, old_baseline = new.baseline, old.baseline
    if not names or new_baseline is None or old_baseline is None:
        return None, "no identity was compared with a baseline in both runs"
    new_rows, old_rows = ([run[name] for name in names] for run in (new_numbers, old_numbers))
    new_references, old_references = same_references((new, old), (new_rows, old_rows), reference)
    paired = PairedTask(
        task=new.task,
        axis=new.axis,
        identities=tuple(new.identities[row] for row in new_rows),
        new=new.scores[new_rows][:, match.new],
        old=old.scores[old_rows][:, match.old],
        new_references=new_references[:, match.new],
        old_references=old_references[:, match.old],
        new_baseline=new_baseline[match.new],
        old_baseline=old_baseline[match.old],
        clusters=new.clusters[match.new],
        only_new_items=match.only_new,
        only_old_items=match.only_old,
        only_new=tuple(name for name in new_numbers if name not in old_numbers),
        only_old=tuple(name for name in old_numbers if name not in new_numbers),
    )
    return _answered(paired)


def _answered(task: PairedTask) -> tuple[PairedTask | None, str]:
    """The task with the identities that can be compared, and why others, or all, cannot be."""
    if not (_seen(task.new_baseline) & _seen(task.old_baseline)).any():
        return None, "no question was answered under the baseline in both runs"
    cells = (task.new, task.new_references, task.old, task.old_references)
    comparable = np.logical_and.reduce([_seen(scores) for scores in cells]).any(axis=1)
    if comparable.all():
        return task, ""
    if not comparable.any():
        return None, "no question was answered in both runs under an identity and its baseline"
    names = [one.name for one, kept in zip(task.identities, comparable, strict=True) if not kept]
    return replace(
        task,
        identities=tuple(one for one in task.identities if one.name not in names),
        new=task.new[comparable],
        old=task.old[comparable],
        new_references=task.new_references[comparable],
        old_references=task.old_references[comparable],
    ), f"{', '.join(names)}: no question was answered in both runs, and under the baseline"


def _seen(scores: Scores) -> npt.NDArray[np.bool_]:
    """Where any of the runs was answered: (..., items, repeats) -> (..., items)."""
    return np.asarray(np.isfinite(scores).any(axis=-1))


def _compared(task: TaskOutcomes) -> dict[str, int]:
    """The identities with a baseline, by name; those without any answer are left out."""
    return {
        name: number
        for name, number in compared_identities(task).items()
        if np.isfinite(task.scores[number]).any()
    }


def _rate_change(new: Scores, old: Scores, task: PairedTask, confidence: float) -> RateChange:
    found = paired_difference(new, old, clusters=task.clusters, confidence=confidence)
    return RateChange(found.reference_rate, found.rate, found.estimate, found.low, found.high)


def _mean_change(parts: Sequence[RateChange]) -> RateChange | None:
    """The mean over tasks."""
    if not parts:
        return None
    found = mean_change(parts)
    return RateChange(
        old=sum(part.old for part in parts) / len(parts),
        new=sum(part.new for part in parts) / len(parts),
        estimate=found.estimate,
        low=found.low,
        high=found.high,
    )
