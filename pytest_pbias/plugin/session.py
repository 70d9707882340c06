"""One measuring session: what was planned, who asks, what was measured, and the reports."""

from __future__ import annotations

import datetime
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import (
    Cell,
    Protocol,
    questions_of,
    require_distinct_names,
    with_baselines,
)
from pytest_pbias.errors import InfrastructureError, PbiasError
from pytest_pbias.gate import AxisVerdict
from pytest_pbias.grading import Judging, cannot_grade
from pytest_pbias.measuring import Measurement, measure_cell
from pytest_pbias.outcomes import OutcomeTable, frugal_memory
from pytest_pbias.plugin.again import baselines, compare_again, keys_again
from pytest_pbias.plugin.asking import (
    Asking,
    Waiting,
    ask_here,
    planned_protocol,
    wait_for_controller,
)
from pytest_pbias.plugin.comparing import (
    compare_with_earlier,
    judge_against_earlier,
)
from pytest_pbias.plugin.distributed import plan_path, session_uid, write_plan
from pytest_pbias.plugin.estimate import Estimate, estimate, estimate_lines
from pytest_pbias.plugin.facts import cost_so_far, versions
from pytest_pbias.plugin.judging import planned_verdicts, session_judging
from pytest_pbias.plugin.margins import CheckedMargins
from pytest_pbias.plugin.measured import Measured
from pytest_pbias.plugin.progress import BackgroundProgress, ProgressLine
from pytest_pbias.plugin.results import (
    keep_results,
    print_results,
    require_writable,
    write_reports,
)
from pytest_pbias.plugin.serving import served_facts
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.plugin.signals import do_nothing, interrupt_on_sigterm
from pytest_pbias.plugin.work import Work
from pytest_pbias.reporting import RunSummary, judge_outcomes, summarize
from pytest_pbias.reporting.comparing import ComparedRun, GateOutcome
from pytest_pbias.reporting.readability import unreadable_cells
from pytest_pbias.reporting.samples import sampled_questions
from pytest_pbias.tasks import TaskData, load_task


class PbiasSession:
    """The state of one process. The main process and the xdist controller ask; workers wait."""

    def __init__(
        self, config: pytest.Config, settings: Settings, default_model: str | None
    ) -> None:
        self.config = config
        self.settings = settings
        self._default_model = default_model
        self._worker_uid = session_uid(config)
        self.cells: tuple[Cell, ...] = ()
        self._data: dict[str, TaskData] = {}
        self._run_id = f"{_now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._measured = Measured(
            self._measure,
            run_id=self._run_id,
            model=settings.model.name,
            folder=settings.store_dir,
        )
        self._asking: Asking | Waiting | None = None
        self._progress = ProgressLine(config)
        self._background: BackgroundProgress | None = None
        self._store: Store | None = None
        self._judging = Judging()
        self.checked = CheckedMargins()
        self.table_path: Path | None = None
        self.summary: RunSummary | None = None
        self.compared: ComparedRun | None = None
        self.problem: str | None = None
        self.interrupted = self.cut_short = False
        self._plan: Estimate | None = None
        self._sigterm: Callable[[], None] = do_nothing

    @property
    def n_judged(self) -> int:
        """How many cells are judged in this session: the number the level is shared by."""
        return max(1, sum(cell.is_judged for cell in self.cells))

    @property
    def store(self) -> Store:
        """The response store, opened on first use."""
        if self._store is None:
            self._store = Store(self.settings.store_dir / "responses.sqlite")
        return self._store

    def data(self, cell: Cell) -> TaskData:
        """The items of the cell's task, the same for every identity."""
        name = cell.task.name
        if name not in self._data:
            settings = self.settings
            self._data[name] = load_task(
                cell.task,
                data_dir=settings.data_dir,
                protocol=settings.protocol,
                limit=settings.limit,
                seed=settings.seed,
                split=settings.data.splits.get(name),
                shots=settings.data.shots,
                offline=settings.data.offline,
            )
        return self._data[name]

    @property
    def _again(self) -> tuple[Cell, ...]:
        """The cells that are asked twice."""
        return baselines(self.cells) if self.settings.aa else ()

    def plan(self, cells: Sequence[Cell]) -> None:
        """Plan the selected cells and their baselines; where this process asks, start asking.

        Raises:
            PbiasError: the data, the store or the endpoint cannot be used.
        """
        gradable = [cell for cell in cells if cannot_grade(cell.task) is None]
        planned = with_baselines(gradable)
        require_distinct_names(planned)
        self.cells = planned
        if not self.cells:
            return
        self._judging = session_judging(self.config, self.settings.judging, self.cells)
        for cell in self.cells:
            self.data(cell)
        if self._worker_uid is not None:
            self._asking = wait_for_controller(self.store, self._worker_uid)
            write_plan(plan_path(self.config, self._worker_uid), cells, self._default_model)
            return
        work = Work(self.cells, self._data, again=self._again)
        if self.settings.spending.plan_only:
            protocol = planned_protocol(self.settings, self.store)
            self._plan = estimate(work, protocol, self.store, self.settings)
            return
        self._judging.check(cell.task for cell in self.cells)
        require_writable(self.settings)
        self._sigterm = interrupt_on_sigterm()
        self._asking = ask_here(
            self.settings, self.store, work, self._controller_uid(), self._progress.say
        )
        if self.config.pluginmanager.has_plugin("dsession"):
            self._background = BackgroundProgress(self._progress, self._asking.progress)

    def _controller_uid(self) -> str:
        workers = self.config.pluginmanager.get_plugin("dsession")
        return str(workers.nodemanager.testrunuid) if workers is not None else uuid.uuid4().hex

    def protocol(self) -> Protocol:
        """How the cells are asked; a worker learns the placement from the controller."""
        assert self._asking is not None
        return Protocol(
            served_identity=self.settings.model.served_identity,
            placement=self._asking.placement(),
            sampling=self.settings.sampling,
            runs=self.settings.runs,
            seed=self.settings.seed,
        )

    def measure(self, cell: Cell) -> Measurement:
        """Wait for a cell's responses, then grade them."""
        return self._measured.get(cell)

    def _measure(self, cell: Cell) -> Measurement:
        if self._asking is None:
            raise InfrastructureError("nothing was asked: the run did not get past collection")
        data, protocol = self.data(cell), self.protocol()
        questions = tuple(questions_of(cell, data, protocol))
        keys = [question.request.key for question in questions]
        self._asking.wait(keys, self._progress.tick)
        self._progress.close()
        failures, graders = self._asking.failures(keys), self._judging.graders(cell.task)
        return measure_cell(cell, data, protocol, self.store, failures, graders, questions)

    @frugal_memory()
    def judge_axis(self, axis: str, defense: str) -> AxisVerdict:
        """Judge PB under a defence over the axis's tasks, on identities that were asked them all.

        Raises:
            InfrastructureError: responses are missing, or nothing can be read off them.
        """
        cells = [
            cell for cell in self.cells if cell.task.axis == axis and cell.defense.name == defense
        ]
        table = self._measured.complete_table(cells, f" to {axis} tasks")
        outcomes = [table.task_outcomes(task) for task in table.tasks()]
        if unreadable := [line for task in outcomes for line in unreadable_cells(task)]:
            raise InfrastructureError("; ".join(unreadable))
        return judge_outcomes(axis, outcomes, self.settings.policy)

    @frugal_memory()
    def judge_comparison(self) -> GateOutcome:
        """Judge the session against the earlier run by the expression of the options.

        Raises:
            PbiasError: responses are missing, or the runs cannot be compared.
        """
        table = self._measured.complete_table(self.cells)
        return judge_against_earlier(
            table.with_info(protocol=self.settings.protocol), self.settings
        )

    def finish(self) -> None:
        """Stop asking; in the asking process, write the table and the reports."""
        try:
            self._finish()
        finally:
            self._measured.close()

    def _finish(self) -> None:
        if not isinstance(self._asking, Asking):
            return
        if self._background is not None:
            self._background.stop()
        try:
            if self.interrupted or self.cut_short:
                self._judging.halt("the run was stopped before everything was judged")
            else:
                keys = keys_again(self._again, self._data, self.protocol())
                self._asking.wait(keys, self._progress.tick)
                self._progress.close()
        except PbiasError as error:
            self.problem = str(error)
        finally:
            self._asking.stop()
            self._sigterm()
            plan_path(self.config, self._controller_uid()).unlink(missing_ok=True)
        try:
            self._write_results()
        except PbiasError as error:
            self.problem = str(error)

    @frugal_memory()
    def _write_results(self) -> None:
        settings = self.settings
        table = self._measured.table(self.cells).with_info(**self._run_info(_now()))
        self.summary = summary = summarize(table, settings.policy, seed=settings.seed)
        table = table.with_info(questions=self._sampled_questions(table))
        self.table_path = keep_results(table, summary, settings, self.config.rootpath)
        self.compared = compare_with_earlier(table, settings)
        write_reports(table, summary, self.compared, settings)

    def _sampled_questions(self, table: OutcomeTable) -> dict[str, dict[str, str]]:
        """The questions that a report shows answers to; the table itself has none."""
        assert self.summary is not None
        texts = {name: {item.id: item.prompt for item in data.items}
                 for name, data in self._data.items()}  # fmt: skip
        return sampled_questions(table, self.summary, texts)

    def _run_info(self, now: datetime.datetime) -> dict[str, Any]:
        """Facts of the run as a whole, kept in the table's metadata."""
        return {
            "created": now.isoformat(timespec="seconds"),
            "protocol": self.settings.protocol,
            "seed": self.settings.seed,
            "shots": self.settings.data.shots,
            "judges": self._judging.to_plain(),
            "policy": self.settings.policy.to_plain(),
            "cost": cost_so_far(self._asking, self.settings.spending.price),
            "partial": self._partial(),
            "server": served_facts(self.store, self.settings.model),
            "engine_noise": self._engine_noise(),
            "versions": versions(),
        } | self._own_margins()

    def _own_margins(self) -> dict[str, Any]:
        margins = self.checked.of(self.cells, self.settings.policy)
        return {"margins": margins} if margins else {}

    def _engine_noise(self) -> list[dict[str, Any]]:
        """What the A/A check found, baseline by baseline."""
        if not isinstance(self._asking, Asking):
            return []
        failures, alpha = self._asking.failures, self.settings.policy.alpha
        found = compare_again(
            map(self.measure, self._again), self.store, failures, self._judging, alpha=alpha
        )
        return [noise.to_plain() for noise in found]

    def _partial(self) -> str | None:
        """Why answers are missing that the run was to have, or None."""
        if self.interrupted:
            return "interrupted before everything was asked"
        return self._asking.end_reason() if isinstance(self._asking, Asking) else None

    def print_report(self, reporter: pytest.TerminalReporter) -> None:
        """Print the summary, or why there is none; or the plan, where only that was asked for."""
        if self._plan is not None:
            self._print_plan(reporter, self._plan)
            return
        if self.summary is not None:
            verbosity = self.config.get_verbosity()
            print_results(reporter, self.summary, self.compared, self.table_path, verbosity)
        elif self.problem is not None:
            reporter.section("personalization bias", sep="=")
        if self.problem is not None:
            reporter.line(f"no report: {self.problem}", red=True)

    def _print_plan(self, reporter: pytest.TerminalReporter, plan: Estimate) -> None:
        counts: Counter[str] = Counter()
        for cell in self.cells:
            counts[cell.task.name] += self.settings.runs * len(self.data(cell).items)
        reporter.section("personalization bias: plan", sep="=")
        lines = (*estimate_lines(plan, self.settings), *planned_verdicts(self._judging, counts))
        for line in lines:
            reporter.line(line)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
