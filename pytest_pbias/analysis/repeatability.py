"""How much the engine alone moves answers: the baseline asked twice (A/A).

A second asking sends the same requests, seeds included. What differs between the two was changed
by nothing but the engine: batching, kernels, other load, sampling that ignores its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, questions_of
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.grading.judges import Judging
from pytest_pbias.outcomes.facts import RunFacts, read_facts
from pytest_pbias.outcomes.scoring import ScoredCell, score_cell
from pytest_pbias.stats import PairedDifferenceResult, paired_difference
from pytest_pbias.tasks import TaskData


@dataclass(frozen=True, slots=True)
class Repeatability:
    """One baseline asked twice.

    Of ``n_answers`` pairs, ``changed_answers`` differ in their text and ``changed_outcomes`` in
    their score. ``difference`` is second minus first, in percentage points as in the gate; None
    where no pair is complete.
    """

    task: str
    axis: str
    defense: str
    baseline: str
    n_answers: int
    n_missing: int
    changed_answers: int
    changed_outcomes: int
    difference: PairedDifferenceResult | None

    def to_plain(self) -> dict[str, Any]:
        """Every field as JSON."""
        return asdict(self)


def noted_repeatability(info: RunFacts) -> tuple[Repeatability, ...]:
    """What a run noted of its A/A check.

    Raises:
        DataError: what it noted is something else.
    """
    return tuple(
        read_facts(Repeatability, one, info.shown_source, ("engine_noise", number))
        for number, one in enumerate(info.engine_noise)
    )


def repeatability(first: ScoredCell, second: ScoredCell, *, confidence: float) -> Repeatability:
    """Compare two askings of one cell.

    Raises:
        ConfigurationError: they are of different cells or items.
    """
    if first.cell != second.cell or first.data is not second.data:
        raise ConfigurationError("an A/A check compares two askings of the same cell")
    texts = [
        (one.text, other.text)
        for one, other in zip(first.responses, second.responses, strict=True)
        if one is not None and other is not None
    ]
    complete = np.isfinite(first.scores) & np.isfinite(second.scores)
    # A pair of which one is missing is left out on both sides.
    scores = [np.where(complete, one.scores, np.nan) for one in (first, second)]
    cell = first.cell
    return Repeatability(
        task=cell.task.name,
        axis=cell.task.axis,
        defense=cell.defense.name,
        baseline=cell.identity.name,
        n_answers=len(texts),
        n_missing=len(first.responses) - len(texts),
        changed_answers=sum(one != other for one, other in texts),
        changed_outcomes=int((scores[0] != scores[1])[complete].sum()),
        difference=paired_difference(
            scores[1], scores[0], clusters=first.clusters, confidence=confidence
        )
        if complete.any()
        else None,
    )


def keys_again(
    cells: Iterable[Cell], data: Mapping[str, TaskData], protocol: RequestSettings
) -> list[str]:
    """The requests of the second asking."""
    return [
        question.request.key
        for cell in cells
        for question in questions_of(cell, data[cell.task.name], protocol.again())
    ]


def compare_again(
    firsts: Iterable[ScoredCell],
    store: Store,
    failures: Callable[[Iterable[str]], Mapping[str, str]],
    judging: Judging,
    *,
    alpha: float,
) -> list[Repeatability]:
    """Compare baselines with what the store has of their second asking.

    The first of a task's graders gives the scores, as it did those of ``firsts``.
    """
    found = []
    for first in firsts:
        protocol, graders = first.protocol.again(), judging.graders(first.cell.task)
        keys = keys_again((first.cell,), {first.cell.task.name: first.data}, first.protocol)
        second = score_cell(
            first.cell,
            first.data,
            protocol,
            store,
            failures(keys),
            graders[:1],
            provider_refusals=judging.provider_refusals,
        )
        found.append(repeatability(first, second, confidence=1 - alpha))
    return found
