"""What runs have in common: tasks by cue, identities by name, the references of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from pytest_pbias.outcomes import Scores, TaskOutcomes
from pytest_pbias.outcomes.arrays import mean_scores
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import item_means
from pytest_pbias.tasks.base import AXES

# A task is compared where at least this share of the smaller run's items is in the other too.
LEAST_MATCHED = 0.5


def own_name(title: str) -> str:
    """A task's own name, without the cue that its title may have."""
    return title.partition(" by ")[0]


class AskedByCue:
    """A task as it was asked by one cue, which its title ``task`` tells where there are several."""

    task: str
    axis: str
    identities: tuple[Identity, ...]

    @property
    def name(self) -> str:
        """The task's own name, without a cue."""
        return own_name(self.task)

    @property
    def cue(self) -> str:
        """How its identities are made known."""
        return self.identities[0].cue

    def demographic(self) -> list[int]:
        """Positions of the identities that PB is over, controls left out."""
        return [n for n, identity in enumerate(self.identities) if identity.kind == "identity"]


TaskT = TypeVar("TaskT", bound=AskedByCue)


class OnTasks(Generic[TaskT]):
    """Runs on the tasks that they have in common. A *scope* is an axis or a task."""

    tasks: tuple[TaskT, ...]

    def scopes(self) -> tuple[str, ...]:
        """The axes and tasks that can be asked for."""
        axes = tuple(axis for axis in AXES if any(task.axis == axis for task in self.tasks))
        return tuple(dict.fromkeys((*axes, *(task.name for task in self.tasks))))

    def of(self, scope: str) -> tuple[TaskT, ...]:
        """The tasks of a scope, by every cue."""
        return tuple(task for task in self.tasks if scope in (task.axis, task.task, task.name))


def common_rows(tasks: Sequence[AskedByCue]) -> list[list[int]]:
    """The rows, task by task, of the identities that PB over these tasks is over.

    In the order of names: that of identities need not be the same in all tasks.
    """
    numbers = [{task.identities[n].name: n for n in task.demographic()} for task in tasks]
    common = sorted(set.intersection(*map(set, numbers))) if numbers else []
    return [[rows[name] for name in common] for rows in numbers]


def cues_of(tasks: Sequence[AskedByCue]) -> dict[str, str]:
    """The cues of tasks, in order, and how each is told beside an axis: not at all if alone."""
    told = any(task.task != task.name for task in tasks)
    return {task.cue: task.cue if told else "" for task in tasks}


def compared_identities(task: TaskOutcomes) -> dict[str, int]:
    """The identities that have a baseline, by name."""
    return {
        identity.name: number
        for number, identity in enumerate(task.identities)
        if identity.kind != "baseline" and task.baseline_of(number) is not None
    }


def same_references(
    every: Sequence[TaskOutcomes], rows: Sequence[Sequence[int]], reference: str
) -> list[Scores]:
    """Run by run what each identity is compared with: the same references in all runs."""
    found: list[list[Scores]] = [[] for _ in every]
    for identity in range(len(rows[0])):
        numbers = [row[identity] for row in rows]
        chosen = [
            task.compared_with(number, reference)
            for task, number in zip(every, numbers, strict=True)
        ]
        names = {
            frozenset(task.identities[one].name for one in those)
            for task, those in zip(every, chosen, strict=True)
        }
        if len(names) > 1:
            chosen = [
                (task.references[number] or 0,) for task, number in zip(every, numbers, strict=True)
            ]
        for scores, task, those in zip(found, every, chosen, strict=True):
            scores.append(mean_scores(task.scores[list(those)]))
    return [np.stack(scores) for scores in found]


def over_identities(scores: Scores) -> Scores:
    """Mean of the answers there are to each item: (identities, items, repeats) -> (items,)."""
    return item_means(np.moveaxis(scores, 0, 1).reshape(scores.shape[1], -1))
