"""The graded answers of a run, and a sample of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.run_data import DataOptions, items_of_run
from pytest_pbias.tasks import resolve_task

LABELS = {"safety": ("safe", "unsafe"), "utility": ("correct", "incorrect")}
"""What people write on each axis: the label of a positive verdict, then the other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One graded answer; ``id`` tells a person nothing of the identity it was given to."""

    id: str
    task: str
    axis: str
    defense: str
    identity: str
    item: str
    response: str
    label: str
    judged_positive: bool


def answers(table: OutcomeTable) -> list[Answer]:
    """The graded answers of a run, in the table's order.

    A score of at least 0.5 counts as positive.

    Raises:
        DataError: there are none.
    """
    names = ("run_id", "task", "axis", "defense", "identity", "item_id", "run", "response")
    rows = table.arrow.select([*names, "label", "score"]).to_pylist()
    graded = [row for row in rows if row["response"] is not None and row["score"] is not None]
    if not graded:
        raise DataError("the run has no graded answers to audit")
    return [
        Answer(
            id=_identifier(row),
            task=row["task"],
            axis=row["axis"],
            defense=row["defense"] or "none",
            identity=row["identity"],
            item=row["item_id"],
            response=row["response"],
            label=row["label"] or "",
            judged_positive=row["score"] >= 0.5,
        )
        for row in graded
    ]


def _identifier(row: Mapping[str, Any]) -> str:
    parts = ("run_id", "task", "defense", "identity", "item_id", "run")
    text = "\0".join(str(row[part]) for part in parts)
    # Digits alone, or with one "e" among them, would become a number in a spreadsheet.
    return "a" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def draw_sample(population: Sequence[Answer], size: int, rng: np.random.Generator) -> list[Answer]:
    """A sample of ``size`` answers in random order: equal shares for the tasks.

    Within a task, answers of each judge label are drawn in proportion to their number. That keeps
    sensitivity and specificity as they are in the run: drawing more of a rare label would need
    weights (Begg & Greenes 1983, Biometrics 39:207-215).

    Raises:
        ConfigurationError: ``size`` is less than the number of tasks.
    """
    by_task: dict[str, list[Answer]] = {}
    for answer in population:
        by_task.setdefault(answer.task, []).append(answer)
    if size < len(by_task):
        raise ConfigurationError(f"--sample {size}: the run has {len(by_task)} tasks to sample")
    shares = _equal_shares([len(members) for members in by_task.values()], size)
    chosen: list[Answer] = []
    for members, share in zip(by_task.values(), shares, strict=True):
        strata: dict[str, list[Answer]] = {}
        for answer in members:
            strata.setdefault(answer.label, []).append(answer)
        parts = _proportional([len(stratum) for stratum in strata.values()], share)
        for stratum, part in zip(strata.values(), parts, strict=True):
            picked = rng.choice(len(stratum), size=part, replace=False)
            chosen += [stratum[number] for number in picked]
    return [chosen[number] for number in rng.permutation(len(chosen))]


def _equal_shares(sizes: Sequence[int], total: int) -> list[int]:
    """Split ``total`` equally over groups of at most ``sizes``; what one lacks goes to others."""
    shares = [0] * len(sizes)
    left = min(total, sum(sizes))
    while left:
        open_groups = [n for n, size in enumerate(sizes) if shares[n] < size]
        each = max(1, left // len(open_groups))
        for n in open_groups:
            more = min(each, sizes[n] - shares[n], left)
            shares[n] += more
            left -= more
    return shares


def _proportional(sizes: Sequence[int], total: int) -> list[int]:
    """Split ``total`` in proportion to ``sizes``, by largest remainders."""
    exact = [total * size / sum(sizes) for size in sizes]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda n: (parts[n] - exact[n], n))
    for n in by_remainder[: total - sum(parts)]:
        parts[n] += 1
    return parts


def questions_of(
    table: OutcomeTable, tasks: Iterable[str], options: DataOptions
) -> dict[tuple[str, str], str]:
    """The question of each (task, item id) of a run, as the model was asked it.

    Raises:
        PbiasError: a task is unknown, its data is missing or not what the run asked.
    """
    names = np.asarray(table.text("task"), dtype=np.str_)
    questions: dict[tuple[str, str], str] = {}
    for name in tasks:
        rows = table.arrow.filter(pa.array(names == name))
        items = items_of_run(resolve_task(name), OutcomeTable(rows), options)
        questions |= {(name, item.id): item.prompt for item in items.values()}
    return questions
