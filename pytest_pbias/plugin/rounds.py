"""Whether a session stops asking early, and the rounds that it then asks in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pytest_pbias.analysis.stopping import Score, Stopping
from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting.plan import RequestSettings, Work
from pytest_pbias.collecting.schedule import Schedule
from pytest_pbias.gate import GatePolicy
from pytest_pbias.plugin.asking import MakeSchedule
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.prompts import Placement
from pytest_pbias.stats.looks import items_to_pass, look_schedule
from pytest_pbias.tasks import TaskData


def sharing_cells(cells: Iterable[Cell], policy: GatePolicy) -> int:
    """How many cells share the level: those decided on here, or in all shards together."""
    return policy.sharing(
        sum(cell.is_compared and policy.decides_on(cell.identity.cue) for cell in cells)
    )


def planned_items(
    cells: Iterable[Cell], data: Mapping[str, TaskData], settings: Settings
) -> dict[str, int]:
    """The items planned of each task, where asking may stop before all of them; else nothing."""
    known = list(cells)
    planned = {cell.task.name: len(data[cell.task.name].items) for cell in known}
    stops = settings.stop == "early" and any(cell.is_compared for cell in known)
    more = any(len(look_schedule(n_items)) > 1 for n_items in planned.values())
    return planned if stops and more else {}


_ONE_BATCH = (
    "--pbias-batch asks everything at once: nothing stops early; with --pbias-stop=early each look "
    "is a batch of its own"
)


def asked_at_once(cells: Iterable[Cell], data: Mapping[str, TaskData], settings: Settings) -> str:
    """One line where nothing stops early because everything is in one batch; else nothing."""
    early = planned_items(cells, data, replace(settings, stop="early"))
    return _ONE_BATCH if settings.spending.batch and settings.stop == "never" and early else ""


def expected_share(
    cells: Iterable[Cell],
    planned: Mapping[str, int],
    settings: Settings,
    references: Callable[[Cell], tuple[Cell, ...]],
) -> float | None:
    """The share of all items asked where nothing differs and a tenth of answers change; or None.

    What a cell is compared with, its baseline and its ``references``, is asked as far as itself.
    """
    known = list(cells)
    if not planned:
        return None
    policy = settings.policy
    n_cells = sharing_cells(known, policy)
    asked: dict[Cell, int] = {}
    for cell in known:
        if cell.is_compared:
            margin = policy.margin_of(cell)
            n_items = planned[cell.task.name]
            if policy.decides_on(cell.identity.cue):
                n_items = items_to_pass(n_items, margin=margin, n_cells=n_cells, alpha=policy.alpha)
            for one in (cell, cell.baseline, *references(cell)):
                asked[one] = max(n_items, asked.get(one, 0))
    every = sum(planned[cell.task.name] for cell in known)
    return sum(asked.get(cell, planned[cell.task.name]) for cell in known) / every


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
            n_cells=sharing_cells(work.cells, settings.policy),
            planned=planned,
            score=score(protocol),
            references=lambda cell: references(cell, protocol.placement),
        )
        looks = {task: look_schedule(n_items) for task, n_items in planned.items()}
        return Schedule(work, protocol, looks, stopping, announce)

    return make
