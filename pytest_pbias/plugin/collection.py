"""Collection: marks become cells, cells become tests, and the gates are appended as tests."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cells import read_personas
from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import ConfigurationError, PbiasError, UnansweredError
from pytest_pbias.plugin.cell import PLANNED, CellItem, ReferenceItem, cell_id
from pytest_pbias.plugin.decisions import attach_decisions
from pytest_pbias.plugin.gates import (
    CompareItem,
    DriftItem,
    GateItem,
    TraitItem,
    append_comparisons,
    append_gates,
    append_trait_gates,
)
from pytest_pbias.plugin.offered import shown_path
from pytest_pbias.plugin.options import described, only_lists, read_option
from pytest_pbias.plugin.session import SESSION, UNSAID, PbiasSession, active_session
from pytest_pbias.plugin.settings import Settings, read_settings
from pytest_pbias.plugin.xdist import notices_of, plan_path, stop_session
from pytest_pbias.prompts import (
    Cue,
    Identity,
    controls,
    default_identities,
    resolve_identities,
)
from pytest_pbias.tasks import TASKS, Task, resolve_task

_REFUSED = pytest.StashKey[str]()
_CHOSEN = pytest.StashKey[bool]()  # whether the tests were chosen and nothing was refused
_DECIDES_ON = pytest.StashKey[tuple[Cell, ...]]()  # of a gate or comparison


def parametrize_cells(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``cell`` over the mark's tasks and identities.

    A mistake is one line: the run stops as a usage error.
    """
    marks = list(metafunc.definition.iter_markers("pbias"))
    where = f"{metafunc.definition.nodeid}"
    try:
        if "cell" not in metafunc.fixturenames:
            raise ConfigurationError(
                f"{where}: has the pbias mark but does not take `cell`; write "
                f"def {metafunc.definition.name}(cell)"
            )
        asked = _cells_of(marks[0], where, activate(metafunc.config).settings.tasks)
        cells = placed_cells(metafunc.config, asked)
    except PbiasError as error:
        refuse(metafunc.config, described(error))
        cells = []
    metafunc.parametrize("cell", cells, ids=[cell_id(cell) for cell in cells], indirect=True)


def refuse(config: pytest.Config, reason: str) -> None:
    """Stop the run with one line once collection is through."""
    config.stash.setdefault(_REFUSED, reason)
    _register_hooks(config)


def _cells_of(mark: pytest.Mark, where: str, known: Mapping[str, Task]) -> list[Cell]:
    unknown = sorted(set(mark.kwargs) - {"tasks", "identities"})
    if unknown or mark.args:
        raise ConfigurationError(
            f"{where}: the pbias mark takes tasks=[...] and identities=[...], "
            f"not {', '.join(unknown) or 'positional arguments'}"
        )
    tasks = _names(mark.kwargs.get("tasks"), "tasks", where)
    names = _names(mark.kwargs.get("identities"), "identities", where)
    try:
        chosen = TASKS.values() if tasks is None else [resolve_task(one, known) for one in tasks]
        identities: Sequence[Identity] = (
            default_identities() if names is None else resolve_identities(names)
        )
        return [
            Cell(task, one, controls=controls() if one.kind == "identity" else ())
            for task in chosen
            for one in identities
        ]
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _names(value: Any, name: str, where: str) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{where}: {name} must be a list of texts, not {value!r}")
    names = list(value)
    if not names:
        raise ConfigurationError(f"{where}: {name} is empty; leave it out to take all of them")
    return names


def placed_cells(
    config: pytest.Config, cells: Sequence[Cell], cues: Sequence[Cue] = ()
) -> list[Cell]:
    """The cells under each defense and cue, in the session's placement if it is an earlier turn.

    System or user turn is decided later, when it is known whether the endpoint takes system
    messages, and leaves the baseline as it is. What a cue does not make known is not asked by it.

    Raises:
        ConfigurationError: no cue makes any of the identities known.
    """
    session = activate(config)
    cues = cues or session.settings.cues
    _tell_unsaid(session, [cell.identity for cell in cells], cues)
    if read_option(config, "placement") == "history":
        cells = [cell.moved(lambda identity: identity.placed("history")) for cell in cells]
    placed = [
        replace(_by_cue(cell, cue).moved(defense.place), defense=defense)
        for defense in session.settings.defenses
        for cue in cues
        for cell in cells
        if cue.says(cell.identity)
    ]
    session.collected(placed)
    return placed


def _by_cue(cell: Cell, cue: Cue) -> Cell:
    """The cell as the cue makes its identity known, with the controls that it has wordings for."""
    said = tuple(one for one in cell.controls if cue.says(one))
    return replace(cell, controls=said).moved(cue.of)


def _tell_unsaid(pbias: PbiasSession, identities: Sequence[Identity], cues: Sequence[Cue]) -> None:
    """Note whom no cue makes known, who is not asked then.

    Raises:
        ConfigurationError: that is everybody.
    """
    people = dict.fromkeys(one for one in identities if one.kind == "identity")
    unsaid = [one.name for one in people if not any(cue.says(one) for cue in cues)]
    if not unsaid:
        return
    names = ", ".join(cue.name for cue in cues)
    if len(unsaid) == len(people):
        more = f" and {len(unsaid) - 3} more" if len(unsaid) > 3 else ""
        listed = ", ".join(unsaid[:3]) + more
        raise ConfigurationError(
            f"nobody is made known by the cues asked ({names}), not {listed}: "
            "ask the cue stated as well, or bring a battery that has them",
            setting="cues",
        )
    pbias.told.append(f"{UNSAID} ({names}) makes them known: {', '.join(unsaid)}")


def activate(config: pytest.Config, default_model: str | None = None) -> PbiasSession:
    """Return this process's session, made from the options on first use.

    ``default_model`` is measured where no option names one; without it the suite's own hook is
    asked.

    Raises:
        ConfigurationError: an option is wrong.
    """
    session = active_session(config)
    if session is None:
        if default_model is None:
            default_model = config.hook.pytest_pbias_default_model(config=config)
        settings: Settings = read_settings(config, default_model)
        session = PbiasSession(config, settings, default_model)
        config.stash[SESSION] = session
        _register_hooks(config)
    return session


def selected_cells(items: Iterable[pytest.Item]) -> list[Cell]:
    """The distinct cells of the selected tests, in test order.

    A gate has those that it was appended for, so that it decides on them all where it is rerun
    without their tests (``--lf``).
    """
    cells: dict[Cell, None] = {}
    for item in items:
        if _DECIDES_ON in item.stash:
            decided: tuple[Cell, ...] = item.stash[_DECIDES_ON]
            cells |= dict.fromkeys(decided)
        params = item.callspec.params if hasattr(item, "callspec") else {}
        cell = params.get("cell") or item.stash.get(PLANNED, None)
        if isinstance(cell, Cell):
            cells.setdefault(cell)
    return list(cells)


def _awaited(item: pytest.Item, pbias: PbiasSession) -> Iterable[Cell]:
    """The cells whose answers a test looks at."""
    if isinstance(item, GateItem):
        return pbias.cells_of(item.axis, item.defense, item.cue)
    if isinstance(item, TraitItem):
        return [cell for cell in pbias.cells if cell.defense.name == item.defense]
    if isinstance(item, CompareItem | DriftItem):
        return pbias.cells
    return [
        one
        for cell in selected_cells([item])
        for one in (cell, cell.baseline, *pbias.references(cell))
    ]


def _runs_nothing(session: pytest.Session) -> bool:
    """Whether an error of collection, in whichever file, will end the run before its tests.

    Workers of xdist run what they could collect.
    """
    goes_on = session.config.option.continue_on_collection_errors
    in_worker = hasattr(session.config, "workerinput")
    return bool(session.testsfailed and not goes_on and not in_worker)


_PLUGIN_NAME = "pbias-session"


def _end_of_planning(error: PbiasError) -> Exception:
    """What ends pytest with one line: a mistake is one of usage, an endpoint's failure is not."""
    line = f"pbias: {described(error)}"
    if not isinstance(error, UnansweredError):
        return pytest.UsageError(line)
    sys.stderr.write(f"ERROR: {line}\n")
    return pytest.Session.Failed(line)  # exit code 1, as where answers are missing later


def _register_hooks(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(_PLUGIN_NAME):
        config.pluginmanager.register(SessionHooks(config), _PLUGIN_NAME)
        config.pluginmanager.register(ReferenceHook(), f"{_PLUGIN_NAME}-references")


class ReferenceHook:
    """Asks along what cells are compared with, after all other plugins have chosen tests.

    ``--lf`` chooses last of all, and would leave out a control's own test, which did not fail.
    """

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Put what was deselected or not listed, but cells are compared with, before the gates."""
        yield
        pbias = active_session(config)
        if pbias is None or config.stash.get(_REFUSED, None) is not None:
            return
        # A gate's own cells have what they are compared with among them, but no test of it.
        tests = [item for item in items if _DECIDES_ON not in item.stash]
        missing = pbias.references_to_add(selected_cells(tests))
        gates = [item for item in items if _DECIDES_ON in item.stash]
        items[:] = [*tests, *(ReferenceItem.of(cell, session) for cell in missing), *gates]
        config.stash[_CHOSEN] = True


class SessionHooks:
    """Hooks of a run that measures; registered when the first test asks for a cell."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Append the gates and comparisons of what is selected."""
        yield
        refused = config.stash.get(_REFUSED, None)
        if refused is not None:
            stop_session(config, refused, items)
            return
        cells = selected_cells(items)
        pbias = active_session(config)
        if pbias is None or not cells:
            return
        first = len(items)
        cells += pbias.references_to_add(cells)
        append_gates(session, items, cells, pbias.settings.policy)
        append_trait_gates(session, items, cells, pbias.settings.policy)
        append_comparisons(session, items, pbias.settings.kept)
        for item in items[first:]:
            item.stash[_DECIDES_ON] = tuple(
                cell
                for cell in cells
                if not isinstance(item, GateItem)
                or cell.is_under(item.axis, item.defense, item.cue)
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Plan and start asking; with ``--pbias-plan``, run no test after that.

        pytest calls this after a failed collection too, of which no test will run.
        """
        pbias = active_session(session.config)
        chosen = session.config.stash.get(_CHOSEN, False)
        if pbias is None or only_lists(session.config) or not chosen or _runs_nothing(session):
            yield
            return
        try:
            pbias.plan(selected_cells(session.items))
        except PbiasError as error:
            if not hasattr(session.config, "workeroutput"):
                raise _end_of_planning(error) from None
            stop_session(session.config, described(error), session.items)
        yield
        # Only now, so that the terminal does not list the tests.
        session.config.option.collectonly = pbias.settings.spending.plan_only

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Wait before pytest-timeout starts its clock: a test that waits does not hang."""
        pbias = active_session(item.config)
        timed = item.config.pluginmanager.has_plugin("timeout")
        if pbias is not None and timed and not only_lists(item.config):
            # What is wrong with a cell is said by the test's own setup, which asks for it again.
            with contextlib.suppress(Exception):
                pbias.prepare(_awaited(item, pbias))
        return (yield)

    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show an inconclusive verdict and a finding as what they are: no skip, and no pass."""
        properties = dict(getattr(report, "user_properties", ()))
        if report.skipped and properties.get("pbias_verdict") in ("inconclusive", "no signal"):
            return "inconclusive", "i", ("INCONCLUSIVE", {"yellow": True})
        if report.passed and report.when == "call" and properties.get("pbias_verdict") == "finding":
            return "finding", "~", ("FINDING", {})
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send what the test decided along with its report."""
        report = yield
        attach_decisions(item, report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test decided, in this process or in a worker."""
        pbias = active_session(self._config)
        if pbias is not None:
            pbias.decisions.note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop asking; write the table and the reports."""
        pbias = active_session(session.config)
        if pbias is not None:
            pbias.interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
            pbias.cut_short = bool(session.shouldfail or session.shouldstop)
            pbias.finish()
            if (pbias.problem is not None or pbias.untold) and exitstatus in (
                pytest.ExitCode.OK,
                pytest.ExitCode.NO_TESTS_COLLECTED,
            ):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED  # a report is missing

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        """On the xdist controller: take what a worker has noticed."""
        pbias = active_session(self._config)
        if pbias is not None:
            pbias.told += notices_of(node)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """Print the report."""
        pbias = active_session(config)
        if pbias is not None:
            pbias.print_report(terminalreporter)


def start_on_controller(node: Any) -> None:
    """Start asking once the first worker has collected; do nothing where it selected no cell."""
    config: pytest.Config = node.config
    path = plan_path(config, str(node.workerinput["testrunuid"]))
    if not path.exists():
        return
    from pytest_pbias.cells.cell import cell_from_plain
    from pytest_pbias.errors import PbiasError
    from pytest_pbias.plugin.session import active_session

    if active_session(config) is not None:
        return
    plan = json.loads(path.read_text(encoding="utf-8"))
    try:
        pbias = activate(config, default_model=plan["default_model"])
        pbias.plan([cell_from_plain(cell, pbias.settings.tasks) for cell in plan["cells"]])
    except PbiasError as error:
        raise _end_of_planning(error) from None


class PersonaTests(pytest.File):
    """A persona file. A mistake in it is one line, and nothing is asked."""

    def collect(self) -> Iterable[pytest.Item]:
        """One item for each cell."""
        try:
            settings = activate(self.config).settings
            personas = read_personas(self.path, shown_path(self.config, self.path), settings.tasks)
            placed = placed_cells(self.config, personas.cells(), personas.cues)
        except PbiasError as error:
            refuse(self.config, described(error))
            return
        for cell in placed:
            yield PersonaTest.from_parent(self, name=cell_id(cell), planned=cell)


class PersonaTest(CellItem):
    """One identity of the file under one task."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the item stands."""
        return self.path, None, self.name
