"""The outcomes of two runs on the same items, identities and tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_pbias.errors import ConfigurationError, DataError, near_matches
from pytest_pbias.identities import Identity
from pytest_pbias.outcomes import OutcomeTable, Scores, TaskOutcomes
from pytest_pbias.reporting.comparing.result import RateChange
from pytest_pbias.stats import (
    ChangeResult,
    difference_in_differences,
    item_means,
    match_items,
    paired_bias_change,
    paired_difference,
)

AXES = ("utility", "safety")
# A task is compared where at least this share of the smaller run's items is in the other too.
LEAST_MATCHED = 0.5


@dataclass(frozen=True, slots=True)
class PairedTask:
    """One task of both runs: scores (identities, items, runs) on the matched items.

    ``references`` are the baselines' scores in the same shape, row by row those that the identity
    is compared with; ``baseline`` (items, runs) is the task's own.
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

    def demographic(self) -> list[int]:
        """Positions of the identities that PB is over, controls left out."""
        return [n for n, identity in enumerate(self.identities) if identity.kind == "identity"]


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """The tasks that both runs can be compared on, and the others with the reason.

    A *scope* is an axis or a task. Changes are new minus old, percentage points.
    """

    tasks: tuple[PairedTask, ...]
    left_out: tuple[str, ...]

    def scopes(self) -> tuple[str, ...]:
        """The axes and tasks that can be asked for."""
        axes = tuple(axis for axis in AXES if any(task.axis == axis for task in self.tasks))
        return (*axes, *(task.task for task in self.tasks))

    def of(self, scope: str) -> tuple[PairedTask, ...]:
        """The tasks of a scope."""
        return tuple(task for task in self.tasks if scope in (task.axis, task.task))

    def bias_change(self, scope: str, confidence: float) -> ChangeResult | None:
        """Change of PB (root mean square over the tasks); None below two identities in common."""
        tasks = self.of(scope)
        names = [{task.identities[n].name for n in task.demographic()} for task in tasks]
        common = sorted(set.intersection(*names)) if names else []
        if len(common) < 2:
            return None
        rows = [[_position(task, name) for name in common] for task in tasks]
        return paired_bias_change(
            [task.new[row] for task, row in zip(tasks, rows, strict=True)],
            [task.old[row] for task, row in zip(tasks, rows, strict=True)],
            clusters=[task.clusters for task in tasks],
            weights=[1 / len(tasks)] * len(tasks),
            confidence=confidence,
        )

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
            new, old = (_over_identities(run[rows]) for run in (task.new, task.old))
            parts.append(_rate_change(new, old, task, confidence))
        return _mean_change(parts)

    def cell_changes(
        self, scope: str, confidence: float
    ) -> tuple[tuple[PairedTask, Identity, ChangeResult], ...]:
        """Change of every cell's difference from its baseline, each at ``confidence``."""
        return tuple(
            (
                task,
                identity,
                difference_in_differences(
                    task.new[n],
                    task.new_references[n],
                    task.old[n],
                    task.old_references[n],
                    clusters=task.clusters,
                    confidence=confidence,
                ),
            )
            for task in self.of(scope)
            for n, identity in enumerate(task.identities)
        )


def of_one_defense(table: OutcomeTable, defense: str | None = None) -> OutcomeTable:
    """The rows of one prompt defence; by default those without, or the only one that there is.

    Raises:
        ConfigurationError: the run has no answers under ``defense``.
    """
    known = table.defenses()
    if defense is None and len(known) == 1:
        return table
    wanted = defense or "none"
    if wanted not in known:
        hint = near_matches(wanted, known)
        raise ConfigurationError(f"a run has no answers under the defence {wanted!r}: {hint}")
    return table.of_defense(wanted)


def pair_runs(new: OutcomeTable, old: OutcomeTable) -> PairedRuns:
    """Match two runs' tasks, items (by content) and identities (by name).

    Raises:
        DataError: no task has enough items in common, or answers to the same of them.
    """
    tasks, left_out = [], []
    for name in new.tasks():
        if name not in old.tasks():
            left_out.append(f"{name}: not in the earlier run")
            continue
        paired, reason = _pair_task(new.task_outcomes(name), old.task_outcomes(name))
        if paired is not None:
            tasks.append(paired)
        if reason:
            left_out.append(f"{name}: {reason}")
    left_out += [f"{name}: not in the new run" for name in old.tasks() if name not in new.tasks()]
    if not tasks:
        raise DataError(
            f"the runs cannot be compared: {'; '.join(left_out) or 'they hold no answers'}"
        )
    return PairedRuns(tuple(tasks), tuple(left_out))


def _pair_task(new: TaskOutcomes, old: TaskOutcomes) -> tuple[PairedTask | None, str]:
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
    paired = PairedTask(
        task=new.task,
        axis=new.axis,
        identities=tuple(new.identities[row] for row in new_rows),
        new=new.scores[new_rows][:, match.new],
        old=old.scores[old_rows][:, match.old],
        new_references=_references(new, new_rows)[:, match.new],
        old_references=_references(old, old_rows)[:, match.old],
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
    """Where any of the runs was answered: (..., items, runs) -> (..., items)."""
    return np.asarray(np.isfinite(scores).any(axis=-1))


def _compared(task: TaskOutcomes) -> dict[str, int]:
    """The identities with a baseline, by name; those without any answer are left out."""
    return {
        identity.name: number
        for number, identity in enumerate(task.identities)
        if identity.kind != "baseline"
        and task.baseline_of(number) is not None
        and np.isfinite(task.scores[number]).any()
    }


def _references(task: TaskOutcomes, rows: Sequence[int]) -> Scores:
    return np.stack([task.scores[task.references[row] or 0] for row in rows])


def _position(task: PairedTask, name: str) -> int:
    return next(n for n, identity in enumerate(task.identities) if identity.name == name)


def _rate_change(new: Scores, old: Scores, task: PairedTask, confidence: float) -> RateChange:
    found = paired_difference(new, old, clusters=task.clusters, confidence=confidence)
    return RateChange(found.reference_rate, found.rate, found.estimate, found.low, found.high)


def _over_identities(scores: Scores) -> Scores:
    """Mean of the answers there are to each item: (identities, items, runs) -> (items,)."""
    return item_means(np.moveaxis(scores, 0, 1).reshape(scores.shape[1], -1))


def _mean_change(parts: Sequence[RateChange]) -> RateChange | None:
    """The mean over tasks; half-widths add in squares (independent items)."""
    if not parts:
        return None
    k = len(parts)
    estimate = sum(part.estimate for part in parts) / k
    down = math.hypot(*(part.estimate - part.low for part in parts)) / k
    up = math.hypot(*(part.high - part.estimate for part in parts)) / k
    return RateChange(
        old=sum(part.old for part in parts) / k,
        new=sum(part.new for part in parts) / k,
        estimate=estimate,
        low=estimate - down,
        high=estimate + up,
    )
