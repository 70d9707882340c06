"""Two runs side by side: what differs in their set-up, and their items in pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.errors import ConfigurationError, DataError, near_matches
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, Scores, TaskOutcomes, scalar
from pytest_pbias.outcomes.arrays import mean_scores, under
from pytest_pbias.outcomes.schema import SAMPLING_COLUMNS
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import (
    ChangeResult,
    PersonalizationBiasResult,
    difference_in_differences,
    item_means,
    match_items,
    paired_bias_change,
    paired_difference,
)

Kind = Literal[
    "missing", "partial", "data", "prompts", "sampling", "judge", "repetitions", "protocol"
]

# What the answers lack, rather than how they were asked for.

INCOMPLETE: tuple[Kind, ...] = ("missing", "partial")

_WHOLE = "no"  # to whether a run ended early

_COLUMNS: dict[Kind, tuple[tuple[str, ...], bool]] = {
    "sampling": (SAMPLING_COLUMNS, True),
    "judge": (("judge", "judge_version"), True),
    # The same items are matched by their content: other items are only left out.
    "data": (("data_hash",), False),
}


@dataclass(frozen=True, slots=True)
class SetupDifference:
    """One reason why a change need not be the model's: how the runs were asked, what they lack.

    Answers are *missing* where they could not be had or judged; a run is *partial* that ended
    early. ``blocks`` says whether a gate refuses to decide over it.
    """

    kind: Kind
    task: str
    old: str
    new: str
    blocks: bool

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"missing answers: {self.old} in the earlier run, {self.new} in the new run"
        if self.kind == "partial":
            return f"PARTIAL: the earlier run: {self.old}; the new run: {self.new}"
        where = f" of {self.task}" if self.task else ""
        return f"{self.kind}{where}: {self.old} before, {self.new} now"


def setup_differences(new: OutcomeTable, old: OutcomeTable) -> tuple[SetupDifference, ...]:
    """What either run lacks, and what differs in their common tasks; what blocks comes first."""
    found: list[SetupDifference] = []
    if _n_missing(old) or _n_missing(new):
        found.append(SetupDifference("missing", "", _missing(old), _missing(new), True))
    ends = [run.info.partial or _WHOLE for run in (old, new)]
    if ends != [_WHOLE, _WHOLE]:
        found.append(SetupDifference("partial", "", ends[0], ends[1], True))
    old_protocol, new_protocol = (run.info.protocol for run in (old, new))
    if old_protocol and new_protocol and old_protocol != new_protocol:
        found.append(SetupDifference("protocol", "", old_protocol, new_protocol, True))
    prompts = _changed_prompts(new, old)
    # What an application samples with is its own, and one that is handed the identity states it
    # where it likes: that is what the targets differ in, not how they were asked.
    handed = any(
        run.info.application is not None and run.info.application.identity == "handed"
        for run in (old, new)
    )
    own = [run.info.application is not None for run in (old, new)]
    for task in (name for name in new.tasks() if name in old.tasks()):
        rows = [_of_task(run, task) for run in (old, new)]
        for kind, (names, blocks) in _COLUMNS.items():
            before, after = (_values(table, names) for table in rows)
            if before != after:
                shown = [_shown(names, values) for values in (before, after)]
                if kind == "sampling":
                    shown = [
                        "the application's own" if is_own else text
                        for is_own, text in zip(own, shown, strict=True)
                    ]
                    blocks = blocks and not any(own)
                found.append(SetupDifference(kind, task, shown[0], shown[1], blocks))
        before_repeats, after_repeats = (
            int(pc.max(table["repeat"]).as_py() or 0) + 1 for table in rows
        )
        if before_repeats != after_repeats:
            found.append(
                SetupDifference("repetitions", task, str(before_repeats), str(after_repeats), False)
            )
        changed, total = prompts.get(task, (0, 0))
        if changed:
            found.append(
                SetupDifference(
                    "prompts", task, f"{total} matched", f"{changed} differ", not handed
                )
            )
    return tuple(sorted(found, key=lambda difference: not difference.blocks))


def incomplete(run: OutcomeTable) -> str:
    """Why a run cannot be compared with any other, in a few words; empty where it can."""
    if run.info.partial:
        return f"PARTIAL: {run.info.partial}"
    return f"missing answers: {_missing(run)}" if _n_missing(run) else ""


def _n_missing(run: OutcomeTable) -> int:
    return len(_missing_rows(run))


def _missing_rows(run: OutcomeTable) -> pa.ChunkedArray:
    """The tasks of the rows without a score."""
    missing = pc.is_null(run.arrow.column("score"), nan_is_null=True)
    return run.arrow.column("task").filter(missing).cast(pa.string())


def _missing(run: OutcomeTable) -> str:
    """How many answers of a run are missing, of how many, and of which tasks."""
    total = f"of {len(run):,}"
    counts = pc.value_counts(_missing_rows(run)).to_pylist()
    if not counts:
        return f"none {total}"
    where = ", ".join(f"{found['values']} {found['counts']:,}" for found in counts)
    return f"{sum(found['counts'] for found in counts):,} {total} ({where})"


def _of_task(run: OutcomeTable, task: str) -> pa.Table:
    return run.arrow.filter(pc.equal(run.arrow.column("task").cast(pa.string()), scalar(task)))


def _values(table: pa.Table, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    distinct = table.select(list(names)).group_by(list(names)).aggregate([])
    rows = {tuple(str(row[name]) for name in names) for row in distinct.to_pylist()}
    return sorted(rows)


def _shown(names: tuple[str, ...], values: list[tuple[str, ...]]) -> str:
    def one(row: tuple[str, ...]) -> str:
        if len(names) == 1:
            return row[0][:12]
        shown = zip(names, row, strict=True)
        return ", ".join(f"{name} {value}" for name, value in shown if value)

    return "; ".join(one(row) for row in values)


def _changed_prompts(new: OutcomeTable, old: OutcomeTable) -> dict[str, tuple[int, int]]:
    """By task: how many questions under the same identity were worded differently, of how many."""
    keys = ["identity", "item_id"]

    def prompts(run: OutcomeTable, task: str, name: str) -> pa.Table:
        rows = _of_task(run, task)
        first = rows.filter(pc.equal(rows.column("repeat"), scalar(0, pa.int32())))
        columns = [first.column(key).cast(pa.string()) for key in (*keys, "prompt_hash")]
        return pa.table(dict(zip((*keys, name), columns, strict=True)))

    found = {}
    for task in new.tasks():  # one after the other: joined at once they take five times the room
        both = prompts(new, task, "new").join(
            prompts(old, task, "old"), keys=keys, join_type="inner"
        )
        known = both.filter(pc.and_(pc.is_valid(both["new"]), pc.is_valid(both["old"])))
        if len(known):
            changed = pc.sum(pc.not_equal(known["new"], known["old"]).cast(pa.int64()))
            found[task] = (int(changed.as_py()), len(known))
    return found


Family = Literal["pb", "baseline", "rate", "cell"]
"""What a condition on a change is about: PB, the baseline, the identities' mean, any one cell."""


@dataclass(frozen=True, slots=True)
class Change:
    """Who changed (empty: the whole scope), by how many points, and the limits of that."""

    who: str
    estimate: float
    low: float
    high: float


class Direction(Enum):
    """What happened from the old run to the new one.

    ``UNCHANGED``: no change was shown, and a fall of a rate beyond the margin is ruled out.
    """

    BETTER = "better"
    WORSE = "worse"
    UNCHANGED = "no change shown"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class RateChange:
    """A rate before and after with the paired interval of its change."""

    old: float
    new: float
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CellChange:
    """One identity under one task: its difference from baseline before, after, and the change.

    ``change`` holds at 95 % for this cell alone, ``at_level`` for all cells of the comparison at
    once. ``qvalue`` is Benjamini and Hochberg's over all cells.
    """

    identity: Identity
    old_rate: float
    new_rate: float
    old_difference: float
    new_difference: float
    change: ChangeResult
    at_level: ChangeResult
    qvalue: float


def own_name(title: str) -> str:
    """A task's own name, without the cue that its title may have."""
    return title.partition(" by ")[0]


class AskedByCue:
    """A task as it was asked by one cue, which its title ``task`` tells where there are several."""

    task: str
    identities: tuple[Identity, ...]

    @property
    def name(self) -> str:
        """The task's own name, without a cue."""
        return own_name(self.task)

    @property
    def cue(self) -> str:
        """How its identities are made known."""
        return self.identities[0].cue


def cues_of(tasks: Sequence[AskedByCue]) -> dict[str, str]:
    """The cues of tasks, in order, and how each is told beside an axis: not at all if alone."""
    told = any(task.task != task.name for task in tasks)
    return {task.cue: task.cue if told else "" for task in tasks}


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task on the ``n_items`` that both runs asked, with its cue where there are several."""

    task: str
    axis: str
    n_items: int
    only_new_items: int
    only_old_items: int
    only_new: tuple[str, ...]
    only_old: tuple[str, ...]
    baseline: RateChange
    mean: RateChange
    bias_change: ChangeResult | None
    cells: tuple[CellChange, ...]

    @property
    def name(self) -> str:
        """The task's own name, without a cue."""
        return own_name(self.task)


@dataclass(frozen=True, slots=True)
class AxisComparison:
    """An axis: PB as the root mean square over its tasks, rates as the mean over them.

    ``old_bias`` and ``new_bias`` are on the matched items and identities only. Of several cues it
    is of one, ``cue``.
    """

    axis: str
    cue: str
    old_bias: PersonalizationBiasResult | None
    new_bias: PersonalizationBiasResult | None
    bias_change: ChangeResult | None
    baseline: RateChange
    mean: RateChange
    direction: Direction
    reason: str

    @property
    def title(self) -> str:
        """The axis with its cue, where there are several."""
        return under(self.axis, "none", self.cue)


@dataclass(frozen=True, slots=True)
class JointChange:
    """PB of the (safety, utility) vector, on the matched items and identities only.

    Of several cues that of the first, ``cue``.
    """

    tasks: tuple[str, ...]
    old_bias: PersonalizationBiasResult
    new_bias: PersonalizationBiasResult
    bias_change: ChangeResult
    cue: str = ""

    @property
    def title(self) -> str:
        """Its tasks, with the cue where there are several."""
        return under(" + ".join(self.tasks), "none", self.cue)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, matched question by question.

    ``direction`` is *worse* where an axis is, then *inconclusive*, *better*, *no change shown*; it
    is that of the cues that are decided on.
    ``setup`` lists what else differs; where an entry blocks, the change need not be the model's.
    ``strata`` are tasks whose clusters are all that the changes speak of.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    setup: tuple[SetupDifference, ...]
    left_out: tuple[str, ...]
    axes: tuple[AxisComparison, ...]
    tasks: tuple[TaskComparison, ...]
    direction: Direction
    joint: JointChange | None = None
    strata: tuple[str, ...] = ()

    @property
    def blocked_by(self) -> tuple[SetupDifference, ...]:
        """What keeps a gate from deciding."""
        return tuple(difference for difference in self.setup if difference.blocks)


AXES = ("utility", "safety")

# A task is compared where at least this share of the smaller run's items is in the other too.

LEAST_MATCHED = 0.5


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

    def demographic(self) -> list[int]:
        """Positions of the identities that PB is over, controls left out."""
        return [n for n, identity in enumerate(self.identities) if identity.kind == "identity"]

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
class PairedRuns:
    """The tasks that both runs can be compared on, and the others with the reason.

    A *scope* is an axis or a task. Changes are new minus old, percentage points.
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

    def scopes(self) -> tuple[str, ...]:
        """The axes and tasks that can be asked for."""
        axes = tuple(axis for axis in AXES if any(task.axis == axis for task in self.tasks))
        return tuple(dict.fromkeys((*axes, *(task.name for task in self.tasks))))

    def of(self, scope: str) -> tuple[PairedTask, ...]:
        """The tasks of a scope, by every cue."""
        return tuple(task for task in self.tasks if scope in (task.axis, task.task, task.name))

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


def select_defense(table: OutcomeTable, defense: str | None = None) -> OutcomeTable:
    """The rows of one prompt defense; by default those without, or the only one that there is.

    Raises:
        ConfigurationError: the run has no answers under ``defense``.
    """
    known = table.defenses()
    if defense is None and len(known) == 1:
        return table
    wanted = defense or "none"
    if wanted not in known:
        hint = near_matches(wanted, known)
        raise ConfigurationError(f"a run has no answers under the defense {wanted!r}: {hint}")
    return table.of_defense(wanted)


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
    new_references, old_references = _references(new, new_rows, old, old_rows, reference)
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
        identity.name: number
        for number, identity in enumerate(task.identities)
        if identity.kind != "baseline"
        and task.baseline_of(number) is not None
        and np.isfinite(task.scores[number]).any()
    }


def _references(
    new: TaskOutcomes,
    new_rows: Sequence[int],
    old: TaskOutcomes,
    old_rows: Sequence[int],
    reference: str,
) -> tuple[Scores, Scores]:
    """What each identity is compared with in either run: the same references in both."""
    found: tuple[list[Scores], list[Scores]] = ([], [])
    for rows in zip(new_rows, old_rows, strict=True):
        runs = list(zip((new, old), rows, strict=True))
        chosen = [task.compared_with(row, reference) for task, row in runs]
        first, second = (
            {task.identities[number].name for number in numbers}
            for (task, _), numbers in zip(runs, chosen, strict=True)
        )
        if first != second:
            chosen = [(task.references[row] or 0,) for task, row in runs]
        for scores, (task, _), numbers in zip(found, runs, chosen, strict=True):
            scores.append(mean_scores(task.scores[list(numbers)]))
    return np.stack(found[0]), np.stack(found[1])


def common_rows(tasks: Sequence[PairedTask]) -> list[list[int]]:
    """The rows, task by task, of the identities that PB over these tasks is over.

    In the order of names: that of identities need not be the same in all tasks.
    """
    numbers = [{task.identities[n].name: n for n in task.demographic()} for task in tasks]
    common = sorted(set.intersection(*map(set, numbers))) if numbers else []
    return [[rows[name] for name in common] for rows in numbers]


def _rate_change(new: Scores, old: Scores, task: PairedTask, confidence: float) -> RateChange:
    found = paired_difference(new, old, clusters=task.clusters, confidence=confidence)
    return RateChange(found.reference_rate, found.rate, found.estimate, found.low, found.high)


def over_identities(scores: Scores) -> Scores:
    """Mean of the answers there are to each item: (identities, items, repeats) -> (items,)."""
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
