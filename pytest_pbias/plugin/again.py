"""The A/A check of a session: its baselines asked a second time, after everything else.

No row of the outcome table, no statistic and no verdict comes from the second asking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import Cell, Protocol, questions_of
from pytest_pbias.engine_noise import EngineNoise, engine_noise
from pytest_pbias.grading import Judging
from pytest_pbias.measuring import Measurement, measure_cell
from pytest_pbias.tasks import TaskData


def baselines(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells that every difference is taken from."""
    return tuple(cell for cell in cells if not cell.is_judged)


def keys_again(
    cells: Iterable[Cell], data: Mapping[str, TaskData], protocol: Protocol
) -> list[str]:
    """The requests of the second asking."""
    return [
        question.request.key
        for cell in cells
        for question in questions_of(cell, data[cell.task.name], protocol.again())
    ]


def compare_again(
    firsts: Iterable[Measurement],
    store: Store,
    failures: Callable[[Iterable[str]], Mapping[str, str]],
    judging: Judging,
    *,
    alpha: float,
) -> list[EngineNoise]:
    """Compare baselines with what the store has of their second asking.

    The first of a task's graders gives the scores, as it did those of ``firsts``.
    """
    found = []
    for first in firsts:
        protocol, graders = first.protocol.again(), judging.graders(first.cell.task)
        keys = keys_again((first.cell,), {first.cell.task.name: first.data}, first.protocol)
        second = measure_cell(first.cell, first.data, protocol, store, failures(keys), graders[:1])
        found.append(engine_noise(first, second, confidence=1 - alpha))
    return found
