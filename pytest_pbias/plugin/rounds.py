"""Whether a session stops asking early, and the rounds that it then asks in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pytest_pbias.analysis.stopping import Score, Stopping
from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting.plan import RequestSettings, Work
from pytest_pbias.collecting.schedule import Schedule
from pytest_pbias.plugin.asking import MakeSchedule
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.prompts import Placement
from pytest_pbias.stats.looks import look_schedule
from pytest_pbias.tasks import TaskData


def planned_items(
    cells: Iterable[Cell], data: Mapping[str, TaskData], settings: Settings
) -> dict[str, int]:
    """The items planned of each task, where asking may stop before all of them; else nothing."""
    known = list(cells)
    planned = {cell.task.name: len(data[cell.task.name].items) for cell in known}
    stops = settings.stop == "early" and any(cell.is_compared for cell in known)
    more = any(len(look_schedule(n_items)) > 1 for n_items in planned.values())
    return planned if stops and more else {}


def schedule_maker(
    work: Work,
    planned: Mapping[str, int],
    settings: Settings,
    score: Callable[[RequestSettings], Score],
    references: Callable[[Cell, Placement], tuple[Cell, ...]],
) -> MakeSchedule:
    """Makes the rounds of a session; none where ``planned`` is empty."""

    def make(protocol: RequestSettings, announce: Callable[[], None]) -> Schedule | None:
        if not planned:
            return None
        stopping = Stopping(
            work.cells,
            settings.policy,
            n_cells=settings.policy.sharing(sum(cell.is_compared for cell in work.cells)),
            planned=planned,
            score=score(protocol),
            references=lambda cell: references(cell, protocol.placement),
        )
        looks = {task: look_schedule(n_items) for task, n_items in planned.items()}
        return Schedule(work, protocol, looks, stopping, announce)

    return make
