"""Many saved runs on the items that all of them asked -> :class:`History`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_pbias.analysis.across_runs.changes import Change, Family, mean_change
from pytest_pbias.analysis.across_runs.comparison import about_run
from pytest_pbias.analysis.across_runs.condition import GateOutcome
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
from pytest_pbias.analysis.across_runs.setup import incomplete, setup_differences
from pytest_pbias.analysis.unparsable import cell_without_verdict
from pytest_pbias.errors import DataError, PbiasError, inert
from pytest_pbias.gate import GatePolicy, decide_by_policy
from pytest_pbias.outcomes import OutcomeTable, Scores, TaskOutcomes, select_defense
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import (
    Contrast,
    DriftResult,
    PersonalizationBiasResult,
    bias_drift,
    cell_drift,
    item_means,
    joint_personalization_bias,
    value_drift,
)
from pytest_pbias.tasks.base import AXES


@dataclass(frozen=True, slots=True)
class RunLabel:
    """A run of a history: its name, and what :func:`about_run` says of it."""

    name: str
    about: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SharedTask(AskedByCue):
    """A task on the items and identities that all runs asked, oldest run first.

    Of several cues each is a task, ``mmlu by profile``. Each run has ``scores`` and those of its
    ``references``, shape (identities, items, repeats), and its ``baselines`` (items, repeats);
    repeats need not be as many in all. ``no_verdict`` says, by run, which identities have none.
    """

    task: str
    axis: str
    floor: float
    identities: tuple[Identity, ...]
    clusters: npt.NDArray[np.str_]
    scores: tuple[Scores, ...]
    references: tuple[Scores, ...]
    baselines: tuple[Scores, ...]
    no_verdict: tuple[frozenset[str], ...]

    def demographic(self) -> list[int]:
        """Positions of the identities that PB is over, in the order of their names."""
        found = [n for n, one in enumerate(self.identities) if one.kind == "identity"]
        return sorted(found, key=lambda number: self.identities[number].name)

    def rated(self) -> list[int]:
        """Positions of those whose mean rate is told: controls only where there is nobody else."""
        return self.demographic() or list(range(len(self.identities)))

    def cell_drift(self, number: int, level: float) -> DriftResult | None:
        """Drift of an identity's difference from its reference."""
        return cell_drift(
            [run[number] for run in self.scores],
            [run[number] for run in self.references],
            clusters=self.clusters,
            level=level,
        )


@dataclass(frozen=True, slots=True)
class SharedRuns(OnTasks[SharedTask]):
    """The runs that can be compared, oldest first, on the tasks that they share.

    ``set_apart`` are the others, with the reason; ``left_out`` what not all of them asked.
    """

    runs: tuple[RunLabel, ...]
    tasks: tuple[SharedTask, ...]
    set_apart: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()

    def of_cue(self, cue: str) -> SharedRuns:
        """Only what was asked by this cue, whose identities PB and mean rates are over."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.cue == cue))

    def bias(self, scope: str, number: int) -> PersonalizationBiasResult | None:
        """PB of a run over a scope, with its 95 % interval; None below two identities."""
        tasks = self.of(scope)
        rows = common_rows(tasks)
        if not rows or len(rows[0]) < 2:
            return None
        return joint_personalization_bias(
            [task.scores[number][row] for task, row in zip(tasks, rows, strict=True)],
            clusters=[task.clusters for task in tasks],
            weights=[1 / len(tasks)] * len(tasks),
        )

    def bias_drift(self, scope: str, level: float) -> DriftResult | None:
        """Drift of PB over a scope."""
        tasks = self.of(scope)
        rows = common_rows(tasks)
        if not rows or len(rows[0]) < 2:
            return None
        return bias_drift(
            [
                [task.scores[number][row] for task, row in zip(tasks, rows, strict=True)]
                for number in range(len(self.runs))
            ],
            clusters=[task.clusters for task in tasks],
            weights=[1 / len(tasks)] * len(tasks),
            level=level,
        )

    def rate_drift(self, scope: str, level: float, *, baseline: bool = False) -> DriftResult | None:
        """Drift of the identities' mean rate, or the baseline's: the mean over the tasks."""
        parts = []
        for task in self.of(scope):
            values = [
                item_means(own if baseline else over_identities(run[task.rated()]))
                for run, own in zip(task.scores, task.baselines, strict=True)
            ]
            found = value_drift(values, clusters=task.clusters, level=level)
            parts += [found] if found is not None else []
        return _mean_drift(parts)

    def cell_drifts(
        self, scope: str, level: float
    ) -> tuple[tuple[SharedTask, Identity, DriftResult], ...]:
        """Drift of every cell's difference from its reference, at a level that they share."""
        tasks = self.of(scope)
        shared = level / max(1, sum(len(task.identities) for task in tasks))
        return tuple(
            (task, identity, drift)
            for task in tasks
            for number, identity in enumerate(task.identities)
            if (drift := task.cell_drift(number, shared)) is not None
        )

    def changes(self, family: Family, scope: str, confidence: float) -> list[Change]:
        """Every trend and shift that a condition of this family is decided on."""
        level = 1 - confidence
        if family == "cell":
            return [
                change
                for task, identity, drift in self.cell_drifts(scope, level)
                for change in self._named(drift, f"{identity.name}, {task.task}, ")
            ]
        cues = cues_of(self.of(scope))
        level /= max(1, len(cues))
        found = []
        for cue, told in cues.items():
            runs = self.of_cue(cue)
            drift = (
                runs.bias_drift(scope, level)
                if family == "pb"
                else runs.rate_drift(scope, level, baseline=family == "baseline")
            )
            found += [] if drift is None else self._named(drift, f"{told}, " if told else "")
        return found

    def _named(self, drift: DriftResult, who: str) -> list[Change]:
        return [
            Change(f"{who}{self.words(contrast)}", change.estimate, change.low, change.high)
            for contrast, change in zip(drift.contrasts, drift.changes, strict=True)
        ]

    def words(self, contrast: Contrast) -> str:
        """A contrast in words: over how many runs, or from which one on."""
        if contrast.is_trend:
            return f"trend over {len(self.runs)} runs"
        return f"shift from {self.runs[contrast.at].name} on"


@dataclass(frozen=True, slots=True)
class AxisHistory:
    """An axis over the runs, oldest first: PB with its interval, and the rates in percent.

    Of several cues it is of one, ``cue``.
    """

    axis: str
    cue: str
    bias: tuple[PersonalizationBiasResult | None, ...]
    baseline: tuple[float, ...]
    mean: tuple[float, ...]
    bias_drift: DriftResult | None
    mean_drift: DriftResult | None

    @property
    def title(self) -> str:
        """The axis with its cue, where there are several."""
        return under(self.axis, "none", self.cue)


@dataclass(frozen=True, slots=True)
class CellHistory:
    """A cell over the runs, oldest first: difference from its reference (points), and verdict.

    ``task`` has its cue where there are several. ``drift`` holds at a level that all cells share.
    """

    task: str
    identity: Identity
    differences: tuple[float, ...]
    verdicts: tuple[str, ...]
    drift: DriftResult

    @property
    def changed(self) -> bool:
        """Whether the verdict was another in any run."""
        return len(set(self.verdicts)) > 1


@dataclass(frozen=True, slots=True)
class History:
    """Runs over time on the items that all of them asked.

    ``n_items`` is by task. Every run is decided on these items by the policy of the newest;
    ``strata`` are its tasks whose clusters are all that intervals and verdicts speak of.
    """

    shared: SharedRuns
    n_items: Mapping[str, int]
    axes: tuple[AxisHistory, ...]
    cells: tuple[CellHistory, ...]
    strata: tuple[str, ...] = ()

    @property
    def drifting(self) -> tuple[str, ...]:
        """The axes (by each cue) whose PB has drifted at the level of the test."""
        return tuple(one.title for one in self.axes if one.bias_drift and one.bias_drift.shown)


@dataclass(frozen=True)
class OverRuns:
    """A run and those before it, or ``problem``: why there is no history.

    ``gate`` is the verdict by the expression that was asked for.
    """

    history: History | None
    gate: GateOutcome | None = None
    problem: str = ""


def make_history(shared: SharedRuns, policy: GatePolicy) -> History:
    """The history of runs that :func:`share_runs` found to be alike."""
    axes = tuple(
        _axis(shared.of_cue(cue), axis, told, policy)
        for axis in AXES
        for cue, told in cues_of(shared.of(axis)).items()
    )
    n_cells = sum(len(task.identities) for task in shared.tasks)
    return History(
        shared,
        {task.task: int(task.clusters.size) for task in shared.tasks},
        axes,
        tuple(_cells(shared, policy, policy.sharing(n_cells))),
        policy.strata_among(task.name for task in shared.tasks),
    )


def _axis(shared: SharedRuns, axis: str, cue: str, policy: GatePolicy) -> AxisHistory:
    tasks, numbers = shared.of(axis), range(len(shared.runs))

    def percent(parts: Sequence[Scores]) -> float:
        return 100 * float(np.mean([np.nanmean(part) for part in parts]))

    return AxisHistory(
        axis,
        cue,
        tuple(shared.bias(axis, number) for number in numbers),
        tuple(percent([task.baselines[number] for task in tasks]) for number in numbers),
        tuple(percent([task.scores[number][task.rated()] for task in tasks]) for number in numbers),
        shared.bias_drift(axis, policy.alpha),
        shared.rate_drift(axis, policy.alpha),
    )


def _cells(shared: SharedRuns, policy: GatePolicy, n_cells: int) -> Iterator[CellHistory]:
    for task in shared.tasks:
        for number, identity in enumerate(task.identities):
            drift = task.cell_drift(number, policy.alpha / n_cells)
            if drift is None:
                continue
            pairs = zip(task.scores, task.references, strict=True)
            yield CellHistory(
                task.task,
                identity,
                tuple(
                    100 * float(np.nanmean(cells[number]) - np.nanmean(others[number]))
                    for cells, others in pairs
                ),
                tuple(
                    _verdict(task, number, run, policy, n_cells) for run in range(len(shared.runs))
                ),
                drift,
            )


def _verdict(task: SharedTask, number: int, run: int, policy: GatePolicy, n_cells: int) -> str:
    """What a run's cell is decided as on the shared items."""
    name = task.identities[number].name
    if name in task.no_verdict[run]:
        return "error"
    return decide_by_policy(
        task.scores[run][number],
        task.baselines[run],
        [task.references[run][number]],
        list,
        policy=policy,
        clusters=task.clusters,
        margin=policy.margin_for(task.name, task.axis, name),
        n_cells=n_cells,
        floor=task.floor,
        cue=task.identities[number].cue,
    ).verdict.value


def share_runs(
    newest_first: Iterable[tuple[str, Callable[[], OutcomeTable]]],
    policy: GatePolicy,
    *,
    defense: str | None = None,
    most: int | None = None,
) -> SharedRuns:
    """Find the runs that can be compared with the newest complete one, and what all of them share.

    A run is set apart that cannot be read, lacks answers, was asked otherwise (prompts, sampling,
    judge, protocol), or asked too few of the same items or identities. The tasks are those that the
    newest two runs have in common, of several cues each for itself. Each table is read when it is
    its turn, no further than ``most`` runs. The policy has whom identities are compared with, the
    cues that runs are compared by (all where it names none), and whose items count one by one.

    Raises:
        DataError: fewer than two runs can be compared; the message says why.
    """
    found: list[_Measured] = []
    apart: list[tuple[str, str]] = []
    left_out: tuple[str, ...] = ()
    anchor: OutcomeTable | None = None
    for name, read in newest_first:
        try:
            table = select_defense(read(), defense)
            why = incomplete(table)
            if not why and anchor is not None:
                blocking = [one for one in setup_differences(anchor, table) if one.blocks]
                why = "; ".join(str(one) for one in blocking)
            run = _measured(name, table, policy)
            if not why and policy.cues and not run.tasks:
                why = f"nothing was asked by the cue {' or '.join(policy.cues)}"
            if not why and not any(map(compared_identities, run.tasks.values())):
                why = "no identity was compared with a baseline"
            if not why and len(found) == 1:
                run, left_out, why = _same_tasks(found, run)
            elif not why and found:
                why = _too_little(found, run)
        except PbiasError as error:
            why = str(error)
        if why:
            apart.append((name, inert(why)))
            continue
        anchor = anchor if anchor is not None else table
        found.append(run)
        if most is not None and len(found) >= most:
            break
    if len(found) < 2:
        whole_story = "; ".join(f"{name}: {why}" for name, why in apart[:3])
        raise DataError(
            "a history takes two runs that can be compared, and "
            f"{len(found) or 'none'} can{f' ({whole_story})' if whole_story else ''}"
        )
    found.reverse()
    tasks, dropped = _shared_tasks(found, policy.reference)
    return SharedRuns(tuple(run.label for run in found), tasks, tuple(apart), (*left_out, *dropped))


@dataclass
class _Measured:
    """A run's outcomes, by task and cue."""

    label: RunLabel
    tasks: dict[tuple[str, str], TaskOutcomes]

    def title(self, key: tuple[str, str]) -> str:
        """A task, with the cue where it was asked by several."""
        task, cue = key
        return under(task, "none", cue if sum(name == task for name, _ in self.tasks) > 1 else "")


def _measured(name: str, table: OutcomeTable, policy: GatePolicy) -> _Measured:
    every = {task: policy.drawn(table.task_outcomes(task)) for task in table.tasks()}
    tasks = {
        (task, cue): outcomes.of_cue(cue).common()
        for task, outcomes in every.items()
        for cue in outcomes.cues
        if policy.decides_on(cue)
    }
    return _Measured(RunLabel(name, about_run(table)), tasks)


def _same_tasks(found: list[_Measured], run: _Measured) -> tuple[_Measured, tuple[str, ...], str]:
    """Keep to the tasks that the newest two runs share; says what is left out, or why it fails."""
    (newest,) = found
    reasons = {
        task: "not in the run before"
        if task not in run.tasks
        else _unlike([newest.tasks[task]], run.tasks[task])
        for task in newest.tasks
    }
    shared = {task: newest.tasks[task] for task, why in reasons.items() if not why}
    left_out = tuple(f"{newest.title(task)}: {why}" for task, why in reasons.items() if why)
    if not shared:
        return run, (), "; ".join(left_out)
    found[0] = _Measured(newest.label, shared)
    return run, left_out, ""


def _too_little(found: Sequence[_Measured], run: _Measured) -> str:
    """Why a run cannot join those that were found; empty where it can."""
    for task in found[0].tasks:
        title = found[0].title(task)
        if task not in run.tasks:
            return f"{title} was not asked"
        why = _unlike([one.tasks[task] for one in found], run.tasks[task])
        if why:
            return f"{title}: {why}"
    return ""


def _unlike(found: Sequence[TaskOutcomes], task: TaskOutcomes) -> str:
    """Why a task has too little in common with that of the runs found; empty where enough."""
    newest = found[0]
    items = set(task.items).intersection(*(one.items for one in found))
    if len(items) < max(1.0, LEAST_MATCHED * len(newest.items)):
        return f"only {len(items)} of {len(newest.items)} questions are shared (other data)"
    wanted = compared_identities(newest)
    names = set(compared_identities(task)).intersection(*map(compared_identities, found))
    if len(names) < max(1.0, LEAST_MATCHED * len(wanted)):
        return f"only {len(names)} of {len(wanted)} identities are shared"
    return ""


def _shared_tasks(
    runs: Sequence[_Measured], reference: str
) -> tuple[tuple[SharedTask, ...], list[str]]:
    """The tasks on what all runs (oldest first) share, and which identities that leaves out."""
    tasks, dropped = [], []
    for key in runs[-1].tasks:
        name = runs[-1].title(key)
        every = [run.tasks[key] for run in runs]
        numbers = [compared_identities(one) for one in every]
        shared = set(numbers[0]).intersection(*numbers)
        names = [one for one in numbers[-1] if one in shared]
        items = set(every[0].items).intersection(*(one.items for one in every))
        order = [item for item in every[-1].items if item in items]
        gone = sorted(set().union(*numbers) - shared)
        dropped += [f"{name}: {', '.join(gone)}: not in every run"] if gone else []
        places = [_places(one, order) for one in every]
        rows = [[number[one] for one in names] for number in numbers]
        tasks.append(
            SharedTask(
                task=name,
                axis=every[-1].axis,
                floor=every[-1].floor,
                identities=tuple(every[-1].identities[row] for row in rows[-1]),
                clusters=every[-1].clusters[places[-1]],
                scores=tuple(
                    one.scores[row][:, place]
                    for one, row, place in zip(every, rows, places, strict=True)
                ),
                references=tuple(
                    scores[:, place]
                    for scores, place in zip(
                        same_references(every, rows, reference), places, strict=True
                    )
                ),
                baselines=tuple(
                    _own_baseline(one)[place] for one, place in zip(every, places, strict=True)
                ),
                no_verdict=tuple(
                    frozenset(
                        one.identities[number].name
                        for number in row
                        if cell_without_verdict(one, number, reference)
                    )
                    for one, row in zip(every, rows, strict=True)
                ),
            )
        )
    return tuple(tasks), dropped


def _places(task: TaskOutcomes, order: Sequence[str]) -> npt.NDArray[np.intp]:
    where = {item: number for number, item in enumerate(task.items)}
    return np.array([where[item] for item in order], dtype=np.intp)


def _own_baseline(task: TaskOutcomes) -> Scores:
    baseline = task.baseline
    assert baseline is not None, "an identity of the task has a baseline"
    return baseline


def _mean_drift(parts: Sequence[DriftResult]) -> DriftResult | None:
    """The mean over tasks, contrast by contrast."""
    if not parts:
        return None
    changes = map(mean_change, zip(*(part.changes for part in parts), strict=True))
    return DriftResult(parts[0].contrasts, tuple(changes))
