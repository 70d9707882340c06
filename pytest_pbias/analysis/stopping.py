"""Which cells need no further answers: cells and axes are looked at after each round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.cells.cell import Cell
from pytest_pbias.gate import (
    AxisOutcomes,
    GatePolicy,
    NoVerdict,
    chance_of_signal,
    compared_with,
    decide_axis,
    decide_by_policy,
    is_axis_futile,
    is_settled,
    why_no_verdict,
)
from pytest_pbias.outcomes.scoring import ScoredCell
from pytest_pbias.stats.arrays import Array
from pytest_pbias.stats.looks import axis_looks, cell_looks, is_futile
from pytest_pbias.stats.paired import paired_difference
from pytest_pbias.tasks.base import AXES

Score = Callable[[Cell, int, int], ScoredCell]
"""Grade the answers of a cell to its items from one number up to another."""

FUTILE = "futile"
_WITHOUT = {
    NoVerdict.MISSING: "missing",
    NoVerdict.UNREADABLE: "unreadable",
    NoVerdict.CUT_OFF: "cut off",
}
UNNEEDED = "unneeded"
"""Why a baseline stops: nothing is compared with it any more."""


@dataclass
class _Graded:
    """What a cell's answers scored so far, (items, repeats); how many nothing was read off."""

    scores: Array
    unreadable: int = 0
    cut_off: int = 0


@dataclass(frozen=True)
class _Gate:
    """An axis under one defense and cue: for each task its baseline, then identities by name."""

    axis: str
    tasks: Mapping[str, tuple[Cell, ...]]

    def cells(self) -> set[Cell]:
        return {cell for cells in self.tasks.values() for cell in cells}


class Stopping:
    """Decides, look by look, which cells are asked no further.

    A cell stops where it passes or fails at the level of its look, or where a verdict is out of
    reach; its task goes on for all identities while PB over the axis is open and a verdict on it
    within reach, and what is compared with (the baseline, and the ``references`` of cells) for as
    long as any cell needs it. An axis that was given up is not taken up again.
    ``planned`` are the items of each task.
    Cells whose answers are missing are not looked at: they stop, and the next run asks again.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        policy: GatePolicy,
        *,
        n_cells: int,
        planned: Mapping[str, int],
        score: Score,
        references: Callable[[Cell], tuple[Cell, ...]],
    ) -> None:
        self._cells = tuple(cells)
        self._policy = policy
        self._n_cells = n_cells
        self._planned = planned
        self._score = score
        self._graded = {cell: _Graded(np.empty((0, 0))) for cell in cells}
        self._clusters: dict[str, list[str]] = {}
        self._signals: dict[tuple[str, frozenset[Cell], int, float], float] = {}
        self._done: dict[Cell, str] = {}  # cells that need nothing more for themselves
        self._open_gates = _gates(
            [cell for cell in self._cells if policy.decides_on(cell.identity.cue)]
        )
        self._references = {cell: references(cell) for cell in cells if cell.is_compared}
        compared_with = {cell.baseline for cell in self._references}
        self._alone = {cell for cell in cells if not cell.is_compared and cell not in compared_with}

    def __call__(self, asked: Mapping[Cell, int]) -> dict[Cell, str]:
        """The cells to stop after a round, and why: verdict, futile, missing, unneeded, ...

        Raises:
            PbiasError: the store failed.
        """
        for cell, n_items in asked.items():
            self._grade(cell, n_items)
        for cell, n_items in asked.items():
            if cell.is_compared and cell not in self._done:
                why = self._look_at(cell, n_items)
                if why is not None:
                    self._done[cell] = why
        self._open_gates = [gate for gate in self._open_gates if self._is_open(gate)]
        wanted = set(self._alone)
        for cell in self._cells:
            if cell.is_compared and cell not in self._done:
                wanted |= {cell, cell.baseline, *self._references[cell]}
        for gate in self._open_gates:
            for cell in gate.cells():
                # A cell that is asked on for its axis has a verdict on what it was asked.
                wanted |= {cell, *self._references.get(cell, ())}
        return {cell: self._done.get(cell, UNNEEDED) for cell in asked if cell not in wanted}

    def _grade(self, cell: Cell, n_items: int) -> None:
        before = self._graded[cell]
        first = len(before.scores)
        if first == n_items:
            return
        found = self._score(cell, first, n_items)
        clusters = self._clusters.setdefault(cell.task.name, [])
        clusters += found.clusters.tolist()[len(clusters) - first :]
        scores = found.scores if not first else np.concatenate([before.scores, found.scores])
        self._graded[cell] = _Graded(
            scores, before.unreadable + found.unparsable, before.cut_off + found.cut_off
        )

    def _clusters_of(self, task: str, n_items: int) -> npt.NDArray[Any]:
        return self._policy.clusters_of(task, np.asarray(self._clusters[task][:n_items]))

    def _look_at(self, cell: Cell, n_items: int) -> str | None:
        """Why a cell needs no further item for itself, or None."""
        policy, planned = self._policy, self._planned[cell.task.name]
        references = self._references[cell]
        every = [self._graded[one] for one in {cell, cell.baseline, *references}]
        scores = np.stack([one.scores[:n_items] for one in every])
        none = why_no_verdict(
            asked=scores.size,
            missing=int(np.isnan(scores).sum()),
            unreadable=sum(one.unreadable for one in every),
            cut_off=max(one.cut_off / one.scores.size for one in every),
        )
        if none is not None:
            return _WITHOUT[none]
        if not policy.decides_on(cell.identity.cue):
            return None  # no verdict to stop at: its interval is one of all the items
        margin = policy.margin_of(cell)
        looks = cell_looks(planned, margin=margin, n_cells=self._n_cells, alpha=policy.alpha)
        own, baseline, *others = (
            self._graded[one].scores[:n_items] for one in (cell, cell.baseline, *references)
        )
        clusters = self._clusters_of(cell.task.name, n_items)
        verdict = decide_by_policy(
            own,
            baseline,
            others,
            list,  # what the controls share is said of the verdict, not at each look
            policy=policy,
            clusters=clusters,
            margin=margin,
            n_cells=self._n_cells,
            floor=cell.task.floor,
            cue=cell.identity.cue,
            look=next(look for look in looks if look.items == n_items),
        )
        if is_settled(verdict):
            return verdict.verdict.value
        if n_items == planned:
            return None
        against = compared_with(others, baseline)
        # The interval of a fail is far out, where it is wider than any error would make it.
        plain = paired_difference(own, against, clusters=clusters, confidence=1 - 2 * policy.alpha)
        # Cells share what they are compared with, and its chance of a signal.
        key = (cell.task.name, frozenset(references or (cell.baseline,)), n_items, margin)
        if key not in self._signals:
            self._signals[key] = chance_of_signal(
                against,
                clusters=clusters,
                points=margin,
                alpha=policy.alpha,
                floor=cell.task.floor,
                of_items=planned,
            )
        futile = is_futile(
            plain,
            of_items=planned,
            margin=margin,
            fail_level=policy.alpha / self._n_cells,
            alpha=policy.alpha,
            signal=self._signals[key],
        )
        return FUTILE if futile else None

    def _is_open(self, gate: _Gate) -> bool:
        """Whether PB over the axis still needs answers, and may yet be decided.

        It looks only where a look is complete.
        """
        names = list(gate.tasks)
        reached = [min(len(self._graded[cell].scores) for cell in gate.tasks[name])
                   for name in names]  # fmt: skip
        scores = {cell: self._graded[cell].scores for cell in gate.cells()}
        if any(np.isnan(one).any() for one in scores.values()):
            return False  # no verdict before the next run
        planned = [self._planned[name] for name in names]
        tolerance, alpha = self._policy.pb_tolerance[gate.axis], self._policy.alpha
        looks = axis_looks(planned, tolerance=tolerance, alpha=alpha)
        done = [
            look for look in looks
            if all(n <= m for n, m in zip(look.items, reached, strict=True))
        ]  # fmt: skip
        if not done:
            return True
        # Every earlier look was taken after its own round, and left the axis open.
        tasks = []
        for name, n_items in zip(names, done[-1].items, strict=True):
            baseline, *people = gate.tasks[name]
            tasks.append(
                AxisOutcomes(
                    name,
                    np.stack([scores[cell][:n_items] for cell in people]),
                    scores[baseline][:n_items],
                    self._clusters_of(name, n_items),
                    baseline.task.floor,
                )
            )
        verdict = decide_axis(gate.axis, tasks, tolerance=tolerance, alpha=alpha, look=done[-1])
        if is_settled(verdict) or done[-1] is looks[-1]:
            return False
        return not is_axis_futile(tasks, planned=planned, tolerance=tolerance, alpha=alpha)


def _gates(cells: Sequence[Cell]) -> list[_Gate]:
    """The axes on which at least two identities are compared, under each defense and cue."""
    found = []
    for defense, cue in dict.fromkeys((cell.defense, cell.identity.cue) for cell in cells):
        asked = [cell for cell in cells if (cell.defense, cell.identity.cue) == (defense, cue)]
        for axis in AXES:
            own = [cell for cell in asked if cell.task.axis == axis]
            people: dict[str, dict[str, Cell]] = {}
            baselines: dict[str, Cell] = {}
            for cell in own:
                if cell.identity.kind == "baseline":
                    baselines.setdefault(cell.task.name, cell)
                elif cell.identity.kind == "identity":
                    people.setdefault(cell.task.name, {})[cell.identity.name] = cell
            common = sorted(set.intersection(*map(set, people.values()))) if people else []
            if len(common) >= 2:
                tasks = {
                    task: (baselines[task], *(named[name] for name in common))
                    for task, named in people.items()
                }
                found.append(_Gate(axis, tasks))
    return found
