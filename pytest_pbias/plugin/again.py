"""The A/A check of a session: its baselines asked a second time, after everything else.

No row of the outcome table, no statistic and no verdict comes from the second asking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import Cell, Protocol, questions_of
from pytest_pbias.engine_noise import EngineNoise, engine_noise
from pytest_pbias.grading import Grader
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
    first: Measurement,
    store: Store,
    failures: Callable[[Iterable[str]], Mapping[str, str]],
    graders: Sequence[Grader],
    *,
    alpha: float,
) -> EngineNoise:
    """Compare a baseline with what the store has of its second asking.

    The first of ``graders`` gives the scores, as it did those of ``first``.
    """
    protocol = first.protocol.again()
    keys = keys_again((first.cell,), {first.cell.task.name: first.data}, first.protocol)
    second = measure_cell(first.cell, first.data, protocol, store, failures(keys), graders[:1])
    return engine_noise(first, second, confidence=1 - alpha)
