"""What the tests of a session decided: the report shows these decisions and makes none twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

from pytest_pbias.analysis.across_runs.comparison import ComparedRun, about_run, compare_runs
from pytest_pbias.analysis.across_runs.condition import (
    GateOutcome,
    decide_comparison,
    decide_condition,
)
from pytest_pbias.analysis.across_runs.history import OverRuns, make_history, share_runs
from pytest_pbias.analysis.across_runs.pairing import pair_runs
from pytest_pbias.analysis.summary import Decided
from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import AxisVerdict, CellVerdict, GatePolicy
from pytest_pbias.outcomes import OutcomeTable, select_defense
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.scoring import cell_margins
from pytest_pbias.outcomes.spool import LONG
from pytest_pbias.plugin.options import described
from pytest_pbias.plugin.settings import Settings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

NOTHING_YET = "no earlier run is kept: nothing to compare with"
_THIS = "this run"


@dataclass(frozen=True, slots=True)
class CellDecision:
    """A cell's verdict; ``checked`` where it ended a test, and not only was asked for by one."""

    defense: str
    task: str
    identity: str
    checked: bool
    verdict: CellVerdict


@dataclass(frozen=True, slots=True)
class MadeDecisions:
    """What one test decided."""

    cells: tuple[CellDecision, ...] = ()
    axes: tuple[AxisVerdict, ...] = ()
    against_earlier: GateOutcome | None = None
    over_runs: GateOutcome | None = None

    def and_also(self, more: MadeDecisions) -> MadeDecisions:
        """Both together."""
        return MadeDecisions(
            (*self.cells, *more.cells),
            (*self.axes, *more.axes),
            more.against_earlier or self.against_earlier,
            more.over_runs or self.over_runs,
        )


_MADE = pytest.StashKey[MadeDecisions]()


def leave_decisions(item: pytest.Item, made: MadeDecisions) -> None:
    """Keep with the test what it decided, for its next report."""
    item.stash[_MADE] = item.stash.get(_MADE, MadeDecisions()).and_also(made)


def attach_decisions(item: pytest.Item, report: pytest.TestReport) -> None:
    """Send what the test decided along with its report, as plain data: it may leave a worker."""
    made = item.stash.get(_MADE, None)
    if made is not None:
        del item.stash[_MADE]
        vars(report)["pbias_decided"] = _as_plain().dump_python(made, mode="json")


@cache
def _as_plain() -> TypeAdapter[MadeDecisions]:
    from pydantic import TypeAdapter

    return TypeAdapter(MadeDecisions)


class Decisions:
    """All that was decided in this session, in this process or in its workers.

    Of several checks of a cell the one with the strictest margin counts.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Cell, float], CellVerdict] = {}
        self._cells: dict[tuple[str, str, str], CellDecision] = {}
        self._axes: dict[tuple[str, str, str], AxisVerdict] = {}
        self._against_earlier: GateOutcome | None = None
        self._over_runs: GateOutcome | None = None
        self._compared: tuple[RunFacts, ComparedRun] | None = None

    def once(self, cell: Cell, margin: float, decide: Callable[[], CellVerdict]) -> CellVerdict:
        """The verdict of a cell by this margin: ``decide()``, unless it was decided before."""
        if (cell, margin) not in self._made:
            self._made[cell, margin] = decide()
        return self._made[cell, margin]

    def note(self, report: pytest.TestReport) -> None:
        """Take what a finished test decided, in this process or in a worker."""
        plain = getattr(report, "pbias_decided", None)
        if plain is None:
            return
        made = _as_plain().validate_python(plain)
        for new in made.cells:
            key = (new.defense, new.task, new.identity)
            self._cells[key] = _stricter(self._cells.get(key, new), new)
        self._axes |= {(axis.defense, axis.cue, axis.axis): axis for axis in made.axes}
        self._against_earlier = made.against_earlier or self._against_earlier
        self._over_runs = made.over_runs or self._over_runs

    def over_runs(self, table: OutcomeTable, settings: Settings) -> OverRuns | None:
        """The session among the kept runs of its model; None where that was not asked for."""
        return _over_runs(table, settings, self._over_runs)

    def decided(self) -> Decided:
        """The decisions for the report."""
        cells = {key: decision.verdict for key, decision in self._cells.items()}
        return Decided(cells, dict(self._axes))

    def margins(self, cells: Iterable[Cell], policy: GatePolicy) -> dict[str, dict[str, float]]:
        """Margins other than the policy's, by task and identity (percentage points)."""
        known = list(cells)
        margins = cell_margins(known)
        axes = {cell.task.name: cell.task.axis for cell in known}
        checked: dict[tuple[str, str], float] = {}
        for decision in self._cells.values():
            if decision.checked:
                name, margin = (decision.task, decision.identity), decision.verdict.margin
                checked[name] = min(margin, checked.get(name, margin))
        for (task, identity), margin in checked.items():
            own = margins.setdefault(task, {})
            if identity in own or margin != policy.margin_for(task, axes[task]):
                own[identity] = margin
        return {task: own for task, own in margins.items() if own}

    def compare(self, table: OutcomeTable, settings: Settings) -> ComparedRun | None:
        """The comparison of the session with the earlier run; None where none was asked for.

        The test that fails where the session is worse and the reports show this same one.
        """
        # What it depends on beside the answers, and what may change while tests still run.
        info = table.info
        basis = RunFacts(protocol=info.protocol, partial=info.partial, margins=info.margins)
        if self._compared is None or self._compared[0] != basis:
            compared = _compare_with_earlier(table, settings, self._against_earlier)
            if compared is None:
                return None
            self._compared = basis, compared
        compared = self._compared[1]
        if compared.comparison is None:
            return compared
        comparison = replace(compared.comparison, new=about_run(table))
        return replace(compared, comparison=comparison)


def _stricter(old: CellDecision, new: CellDecision) -> CellDecision:
    if old.checked is not new.checked:
        return new if new.checked else old
    return new if new.verdict.margin < old.verdict.margin else old


def _compare_with_earlier(
    table: OutcomeTable, settings: Settings, gate: GateOutcome | None
) -> ComparedRun | None:
    """Compare, and decide by the expression of the options unless that was done: ``gate``."""
    asked = settings.kept
    if asked.compare is None:
        return None
    if asked.earlier is None:
        return ComparedRun(asked.compare, None, problem=NOTHING_YET)
    name, policy = asked.earlier.stem, settings.policy
    try:
        earlier = OutcomeTable.read(asked.earlier, leave_out=LONG)
        new, old = (select_defense(run) for run in (table, earlier))
        pairs = pair_runs(new, old, policy)
        comparison = compare_runs(new, old, policy, pairs=pairs)
    except PbiasError as error:
        return ComparedRun(name, None, problem=described(error))
    # Answers of this very session are asked for again: without them nothing is decided.
    if gate is not None or asked.fail is None or table.arrow.column("score").null_count:
        return ComparedRun(name, comparison, gate)
    try:
        gate = decide_comparison(asked.fail, comparison, pairs, policy, anyway=asked.anyway)
    except PbiasError as error:
        return ComparedRun(name, comparison, undecided=described(error))
    return ComparedRun(name, comparison, gate)


def _over_runs(
    table: OutcomeTable, settings: Settings, gate: GateOutcome | None
) -> OverRuns | None:
    """The history up to this session, decided on unless that was done: ``gate``."""
    asked, policy = settings.kept, settings.policy
    if asked.drift is None:
        return None
    if not asked.of_model:
        return OverRuns(None, problem=NOTHING_YET)

    def newest_first() -> Iterator[tuple[str, Callable[[], OutcomeTable]]]:
        yield _THIS, lambda: table
        for path in asked.of_model:
            yield path.stem, partial(OutcomeTable.read, path, leave_out=LONG)

    try:
        shared = share_runs(newest_first(), policy, most=asked.drift_runs)
        if shared.runs[-1].name != _THIS:
            return OverRuns(None, problem=f"{_THIS}: {dict(shared.set_apart)[_THIS]}")
        history = make_history(shared, policy.for_run(table.info))
        gate = gate or decide_condition(asked.drift, shared, alpha=policy.alpha)
    except PbiasError as error:
        return OverRuns(None, problem=described(error))
    return OverRuns(history, gate)
