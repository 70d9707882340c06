"""One measuring session: what was planned, who asks, what was scored, and the reports."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_pbias.analysis.across_runs.comparison import ComparedRun
from pytest_pbias.analysis.across_runs.history import OverRuns
from pytest_pbias.analysis.repeatability import compare_again, keys_again
from pytest_pbias.analysis.samples import sampled_questions
from pytest_pbias.analysis.stopping import Score
from pytest_pbias.analysis.summary import RunSummary, decide_outcomes, summarize
from pytest_pbias.analysis.traits import TraitVerdict, decide_trait
from pytest_pbias.analysis.unparsable import cut_off_cells, unreadable_cells
from pytest_pbias.cells.cell import Cell, require_distinct_names, with_baselines
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, Work, questions_of
from pytest_pbias.errors import ConfigurationError, InfrastructureError, PbiasError
from pytest_pbias.gate import (
    AxisVerdict,
    CellVerdict,
    Verdict,
    decide_by_policy,
    require_cues,
)
from pytest_pbias.grading import cannot_grade
from pytest_pbias.grading.base import fault_line
from pytest_pbias.grading.judges import Judging, identity_terms, make_judges
from pytest_pbias.grading.traits import NO_TRAITS
from pytest_pbias.models.plain_prompt import NOTE as COMPLETIONS_NOTE
from pytest_pbias.models.spec import ApplicationFacts
from pytest_pbias.outcomes import OutcomeTable, system_memory_pool
from pytest_pbias.outcomes.arrays import Scores
from pytest_pbias.outcomes.facts import Document, RunFacts, package_versions
from pytest_pbias.outcomes.references import References, require_reference
from pytest_pbias.outcomes.scoring import ScoredCell, ScoredCells, score_cell
from pytest_pbias.plugin.asking import (
    LocalCollection,
    RemoteCollection,
    collect_here,
    collect_remotely,
    cost_so_far,
    said_when_slow,
)
from pytest_pbias.plugin.decisions import Decisions
from pytest_pbias.plugin.offered import offered_judges, session_traits
from pytest_pbias.plugin.options import described, is_given
from pytest_pbias.plugin.output import (
    BackgroundProgress,
    Beside,
    ProgressLine,
    finished_report,
    keep_results,
    print_results,
    require_writable,
    write_reports,
)
from pytest_pbias.plugin.planning import (
    Estimate,
    asked_at_once,
    estimate,
    estimate_lines,
    expected_share,
    planned_items,
    planned_verdicts,
    schedule_maker,
    sharing_cells,
)
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.plugin.signals import interrupt_on_signals, noop, patient_with_ctrl_c
from pytest_pbias.plugin.target import (
    handed_names,
    known_dialect,
    planned_protocol,
    served_facts,
)
from pytest_pbias.plugin.xdist import plan_path, session_uid, tell_notices, write_plan
from pytest_pbias.reporting.trackers import tell_tracker
from pytest_pbias.tasks import TaskData, load_task

_SLOW_GRADING_SECONDS = 20.0  # of a cell, after which it is said who is waited for

UNSAID = "not asked, since no cue"
"""How the notice of identities begins that no cue makes known; it is a note of the run as well."""
_UNVERSIONED = (
    "{name} has no version: its answers are used in this run alone, and asked for anew by the "
    "next, also where this one is killed; give --pbias-app-version, such as its commit"
)


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
        self._references = References(settings.policy.reference)
        self._data: dict[str, TaskData] = {}
        self._run_id = f"{_now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._measured = ScoredCells(
            self._measure,
            run_id=self._run_id,
            model=settings.model.name,
            folder=settings.store_dir,
        )
        self._asking: LocalCollection | RemoteCollection | None = None
        self._progress = ProgressLine(config)
        self._background: BackgroundProgress | None = None
        self._store: Store | None = None
        self._judging = Judging()
        self.traits = NO_TRAITS
        self._grading = threading.Lock()  # looks are graded in the thread that asks
        self._planned: dict[str, int] = {}  # items of each task, where asking may stop early
        self.decisions = Decisions()
        self.table_path: Path | None = None
        self.summary: RunSummary | None = None
        self.beside = Beside()
        self.problem: str | None = None
        self.interrupted = self.cut_short = False
        self.told: list[str] = []  # notices of collection and of xdist workers
        self.untold: list[str] = []  # why the finished report did not get somewhere
        self._plan: Estimate | None = None
        self._restore_signals: Callable[[], None] = noop

    @property
    def n_compared(self) -> int:
        """How many cells share the level."""
        return sharing_cells(self.cells, self.settings.policy)

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
                split=settings.splits.get(name),
                shots=settings.shots,
                offline=settings.offline,
            )
        return self._data[name]

    @property
    def _again(self) -> tuple[Cell, ...]:
        """The cells that are asked twice."""
        return tuple(cell for cell in self.cells if self.settings.aa and not cell.is_compared)

    def collected(self, cells: Iterable[Cell]) -> None:
        """Remember the cells of a mark or file, whichever of them are selected."""
        self._references.collected(cells)

    def references_to_add(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """The cells that selected ones are compared with, and that are not among them."""
        return self._references.to_add(cells)

    def plan(self, cells: Sequence[Cell]) -> None:
        """Plan the selected cells and their baselines; where this process asks, start asking.

        Raises:
            PbiasError: the data, the store or the endpoint cannot be used.
        """
        gradable = [cell for cell in cells if cannot_grade(cell.task) is None]
        planned = with_baselines(gradable)
        require_distinct_names(planned)
        if planned:
            named = (cell.identity.name for cell in planned)
            require_reference(self.settings.policy.reference, named)
            cues = [cue.name for cue in self.settings.cues]
            require_cues(
                self.settings.policy.cues, (*cues, *(cell.identity.cue for cell in planned))
            )
        self.cells = planned
        if not self.cells:
            return
        self._references.plan(planned)
        self._judging = self._chosen_judging()
        self.traits = session_traits(self.config, self.settings.policy.trait_margin)
        for cell in self.cells:
            self.data(cell)
        self._planned = self._measured.planned = planned_items(
            self.cells, self._data, self.settings
        )
        if self._worker_uid is not None:
            self._asking = collect_remotely(self.store, self._worker_uid)
            write_plan(plan_path(self.config, self._worker_uid), cells, self._default_model)
            return
        at_once = asked_at_once(self.cells, self._data, self.settings)
        if at_once and not is_given(self.config, "stop"):
            self.told.append(at_once)
        work = Work(self.cells, self._data, again=self._again)
        if self.settings.spending.plan_only:
            protocol = planned_protocol(self.settings, self.store)
            share = expected_share(
                self.cells,
                self._planned,
                self.settings,
                lambda cell: self._references.of(cell, protocol.placement),
            )
            self._plan = estimate(work, protocol, self.store, self.settings, share)
            return
        application = self.settings.application
        if application is not None and application.version is None:
            self.told.append(_UNVERSIONED.format(name=application.name))
        self._judging.check(cell.task for cell in self.cells)
        require_writable(self.settings)
        self._restore_signals = interrupt_on_signals()
        self._asking = collect_here(
            self.settings,
            self.store,
            work,
            self._controller_uid(),
            self._progress.say,
            schedule_maker(
                work,
                self._planned,
                self.settings,
                self._score_part,
                self._references.of,
            ),
        )
        if self.config.pluginmanager.has_plugin("dsession"):
            self._background = BackgroundProgress(self._progress, self._asking.progress)

    def _chosen_judging(self) -> Judging:
        """The judges that the options name, and the mask for the identities of the cells.

        Raises:
            ConfigurationError: a judge is unknown or lacks what it needs, or a plug-in failed.
        """
        chosen = self.settings.judging
        try:
            judges = make_judges(chosen.wanted, chosen.model, offered_judges(self.config))
        except ConfigurationError as error:
            raise ConfigurationError(str(error), setting=error.setting or "judge") from None
        judging = Judging(judges, provider_refusals=chosen.provider_refusals, model=chosen.model)
        hidden = identity_terms(cell.identity for cell in self.cells) if chosen.mask else ()
        return judging.for_run((cell.task for cell in self.cells), hidden)

    def _controller_uid(self) -> str:
        workers = self.config.pluginmanager.get_plugin("dsession")
        return str(workers.nodemanager.testrunuid) if workers is not None else uuid.uuid4().hex

    def protocol(self) -> RequestSettings:
        """How the cells are asked; a worker learns the placement from the controller."""
        assert self._asking is not None
        return RequestSettings(
            served_identity=self.settings.model.served_identity,
            placement=self._asking.placement(),
            sampling=replace(self.settings.sampling, max_tokens=self._asking.max_tokens()),
            repeats=self.settings.repeats,
            seed=self.settings.seed,
            handed=handed_names(self.settings),
        )

    def measure(self, cell: Cell) -> ScoredCell:
        """Wait for a cell's responses, then grade them."""
        return self._measured.get(cell)

    def prepare(self, cells: Iterable[Cell]) -> None:
        """Wait for the responses of cells and grade them, so that their tests need not.

        Raises:
            PbiasError: what is asked cannot be had.
        """
        self._measured.missing(cells)

    def cells_of(self, axis: str, defense: str, cue: str = "") -> list[Cell]:
        """The cells that the gate of an axis looks at, under one defense (and of one cue)."""
        return [cell for cell in self.cells if cell.is_under(axis, defense, cue)]

    def _measure(self, cell: Cell) -> ScoredCell:
        if self._asking is None:
            raise InfrastructureError("nothing was asked: the run did not get past collection")
        data = self._asked_data(cell)
        protocol = self.protocol()
        questions = tuple(questions_of(cell, data, protocol))
        keys = [question.request.key for question in questions]
        self._asking.wait(keys, self._progress.tick)
        self._progress.close()
        # What the endpoint does not take is known by its first answer.
        protocol = replace(protocol, dialect=known_dialect(self.store, self.settings.model))
        failures, graders = self._asking.failures(keys), self._judging.graders(cell.task)
        slow = f"grading {cell.task.name}: waiting for {' and '.join(one.name for one in graders)}"
        with self._grading, said_when_slow(self._progress.say, slow, _SLOW_GRADING_SECONDS):
            return score_cell(
                cell,
                data,
                protocol,
                self.store,
                failures,
                graders,
                questions,
                provider_refusals=self._judging.provider_refusals,
                traits=self.traits,
            )

    def _asked_data(self, cell: Cell) -> TaskData:
        """Wait until it is known how many items a cell is asked; the data of these."""
        data = self.data(cell)
        n_items = None
        if self._planned and self._asking is not None:
            n_items = self._asking.items_asked(cell, self._progress.tick)
        return data if n_items is None else replace(data, items=data.items[:n_items])

    def _score_part(self, protocol: RequestSettings) -> Score:
        """Grades a part of a cell's answers for a look; what is missing is not said why."""

        def score(cell: Cell, first: int, last: int) -> ScoredCell:
            data = self.data(cell)
            part = replace(data, items=data.items[first:last])
            graders = self._judging.graders(cell.task)[:1]
            kept = self._judging.provider_refusals
            with self._grading:
                return score_cell(
                    cell, part, protocol, self.store, {}, graders, provider_refusals=kept
                )

        return score

    def decide_cell(
        self, measured: ScoredCell, baseline: ScoredCell, margin: float | None = None
    ) -> CellVerdict:
        """Decide on a cell's difference from its reference, by its own margin or another.

        ``baseline`` has as many items as ``measured``.
        """
        cell = measured.cell
        if margin is None:
            margin = self.settings.policy.margin_of(cell)
        return self.decisions.once(
            cell, margin, lambda: self._decide_cell(measured, baseline, margin)
        )

    def _decide_cell(
        self, measured: ScoredCell, baseline: ScoredCell, margin: float
    ) -> CellVerdict:
        cell = measured.cell
        n_items = len(measured.data.items)
        planned = self._planned.get(cell.task.name, 0)
        verdict = decide_by_policy(
            measured.scores,
            baseline.scores,
            self._scores_of(self.references(cell), n_items),
            lambda: self._scores_of(self.references(cell, "control"), n_items),
            policy=self.settings.policy,
            clusters=self.settings.policy.clusters_of(cell.task.name, measured.clusters),
            margin=margin,
            n_cells=self.n_compared,
            floor=cell.task.floor,
            cue=cell.identity.cue,
            planned=planned,
        )
        asked_for = self.settings.policy.margin_of(cell)
        if verdict.verdict is Verdict.INCONCLUSIVE and n_items < planned and margin != asked_for:
            # Levels of looks hold wherever asking stops, so that what is decided by another margin
            # stands; what is not might have been, by the items that were left out.
            left = (
                f"asked {n_items} of {planned} items, enough for the margin of {asked_for:g} only: "
                "a check's own is unknown while it is asked; say it in --pbias-task-margins or a "
                "persona file, or ask everything (--pbias-stop=never)"
            )
            verdict = replace(verdict, reason=f"{verdict.reason}; {left}")
        return verdict

    def _scores_of(self, cells: Iterable[Cell], n_items: int) -> list[Scores]:
        return [self.measure(cell).first(n_items).scores for cell in cells]

    def references(self, cell: Cell, reference: str | None = None) -> tuple[Cell, ...]:
        """The planned cells whose mean ``cell`` is compared with; empty where it is the baseline.

        ``reference`` is the policy's unless it is given.
        """
        return self._references.of(cell, self.protocol().placement, reference)

    @system_memory_pool()
    def decide_axis(self, axis: str, defense: str, cue: str = "") -> AxisVerdict:
        """Decide on PB under a defense, over the axis's tasks and the identities asked all of them.

        ``cue`` is the one that it is over where there are several.

        Raises:
            InfrastructureError: responses are missing, or nothing can be read off them.
        """
        cells = self.cells_of(axis, defense, cue)
        table = self._measured.complete_table(cells, f" to {axis} tasks")
        outcomes = [table.task_outcomes(task) for task in table.tasks()]
        if cut := [line for task in outcomes for line in cut_off_cells(task)]:
            raise InfrastructureError("; ".join(cut), setting="max-tokens")
        if unreadable := [line for task in outcomes for line in unreadable_cells(task)]:
            raise InfrastructureError("; ".join(unreadable))
        return decide_outcomes(axis, outcomes, self.settings.policy, defense=defense, cue=cue)

    @system_memory_pool()
    def decide_trait(self, name: str, defense: str) -> TraitVerdict:
        """Decide on a trait's differences under a defense, over the items of all tasks.

        Raises:
            PbiasError: responses are missing, or no answer has a value of the trait.
        """
        cells = [cell for cell in self.cells if cell.defense.name == defense]
        table = self._measured.complete_table(cells)
        table = table.with_info(replace(table.info, traits=self.traits.facts()))
        policy = self.settings.policy
        return decide_trait(table, name, policy.trait_margin[name], policy, defense)

    @system_memory_pool()
    def compare(self) -> ComparedRun:
        """Compare the session with the earlier run, and decide by the expression of the options.

        Raises:
            InfrastructureError: responses are missing.
        """
        table = self._measured.complete_table(self.cells)
        compared = self.decisions.compare(table.with_info(self._basis()), self.settings)
        assert compared is not None
        return compared

    @system_memory_pool()
    def over_runs(self) -> OverRuns:
        """Join the session with the kept runs of its model, and decide by the expression.

        Raises:
            InfrastructureError: responses are missing.
        """
        table = self._measured.complete_table(self.cells)
        found = self.decisions.over_runs(table.with_info(self._basis()), self.settings)
        assert found is not None
        return found

    def finish(self) -> None:
        """Stop asking; in the asking process, write the table and the reports."""
        try:
            with patient_with_ctrl_c(self._progress.say):
                self._finish()
        except KeyboardInterrupt:
            self.interrupted = True
            self.problem = "stopped before the table and the reports were written"
        finally:
            self._measured.close()

    def _finish(self) -> None:
        tell_notices(self.config, [*self.notices(), *self.told])
        if not isinstance(self._asking, LocalCollection):
            return
        if self._background is not None:
            self._background.stop()
        try:
            if self.interrupted or self.cut_short:
                self._judging.halt("the run was stopped before everything was judged")
            else:
                keys = [
                    key
                    for cell in self._again
                    for key in keys_again(
                        (cell,), {cell.task.name: self._asked_data(cell)}, self.protocol()
                    )
                ]
                self._asking.wait(keys, self._progress.tick)
                self._progress.close()
        except PbiasError as error:
            self.problem = described(error)
        finally:
            self._asking.stop()
            self._restore_signals()
            plan_path(self.config, self._controller_uid()).unlink(missing_ok=True)
        try:
            self._write_results()
        except PbiasError as error:
            self.problem = described(error)

    @system_memory_pool()
    def _write_results(self) -> None:
        settings = self.settings
        table = self._measured.table(self.cells).with_info(self._facts(_now()))
        decided = self.decisions.decided()
        summary = summarize(table, settings.policy, seed=settings.seed, decided=decided)
        self.summary = summary
        table = table.with_info(replace(table.info, questions=self._sampled_questions(table)))
        self.table_path = keep_results(table, summary, settings, self.config.rootpath)
        self.beside = Beside(
            self.decisions.compare(table, settings), self.decisions.over_runs(table, settings)
        )
        write_reports(table, summary, self.beside, settings)
        self._tell(summary, self.table_path)

    def _tell(self, summary: RunSummary, kept: Path) -> None:
        """Give the finished report to the trackers and to the hook; the run is kept by now."""
        hook = self.config.hook.pytest_pbias_report
        if not self.settings.trackers and not hook.get_hookimpls():
            return
        report = finished_report(summary, self.beside, kept, self.settings, self.config.rootpath)
        for name in self.settings.trackers:
            try:
                tell_tracker(name, report)
            except PbiasError as error:
                self.untold.append(str(error))
        try:
            hook(report=report, config=self.config)
        except Exception as error:
            self.untold.append(f"the hook pytest_pbias_report broke: {fault_line(error)}")

    def _sampled_questions(self, table: OutcomeTable) -> dict[str, dict[str, str]]:
        """The questions that a report shows answers to; the table itself has none."""
        assert self.summary is not None
        texts = {name: {item.id: item.prompt for item in data.items}
                 for name, data in self._data.items()}  # fmt: skip
        return sampled_questions(table, self.summary, texts)

    def _facts(self, now: datetime.datetime) -> RunFacts:
        """Facts of the run as a whole, kept in the table's metadata."""
        return replace(
            self._basis(),
            created=now.isoformat(timespec="seconds"),
            seed=self.settings.seed,
            shots=self.settings.shots,
            judges=self._judging.facts(),
            traits=self.traits.facts(),
            policy=self.settings.policy.to_plain(),
            cost=cost_so_far(self._asking, self.settings),
            server=served_facts(self.store, self.settings.model),
            application=self._application_facts(),
            notes=(
                *known_dialect(self.store, self.settings.model).notes(),
                *self._model_notes(),
                *dict.fromkeys(line for line in self.told if line.startswith(UNSAID)),
            ),
            engine_noise=self._engine_noise(),
            versions=package_versions(),
        )

    def _model_notes(self) -> tuple[str, ...]:
        """How the model was asked, and what `pbias train` noted beside its weights."""
        model = self.settings.model
        notes = (COMPLETIONS_NOTE,) if model.completions else ()
        if model.path is None:
            return notes
        from pytest_pbias.training.record import trained_note  # most runs need none of it

        return (*notes, *trained_note(model.path))

    def _application_facts(self) -> ApplicationFacts | None:
        application = self.settings.application
        if application is None or self._asking is None:
            return None
        session = self._asking.placement()
        labels = {cell.identity.placement_label(session) for cell in self.cells if cell.is_compared}
        return application.facts(stated=labels != {"app"})

    def _basis(self) -> RunFacts:
        """What a comparison with another run depends on, beside the answers."""
        return RunFacts(
            protocol=self.settings.protocol,
            partial=self._partial(),
            margins=self.decisions.margins(self.cells, self.settings.policy),
            controls=self._references.controls,
            planned=self._planned,
            stops=self._asking.stops() if isinstance(self._asking, LocalCollection) else {},
        )

    def _engine_noise(self) -> tuple[Document, ...]:
        """What the A/A check found, baseline by baseline."""
        if not isinstance(self._asking, LocalCollection):
            return ()
        failures, alpha = self._asking.failures, self.settings.policy.alpha
        found = compare_again(
            map(self.measure, self._again), self.store, failures, self._judging, alpha=alpha
        )
        return tuple(noise.to_plain() for noise in found)

    def _partial(self) -> str | None:
        """Why answers are missing that the run was to have, or None."""
        if self.interrupted:
            return "interrupted before everything was asked"
        return self._asking.end_reason() if isinstance(self._asking, LocalCollection) else None

    def print_report(self, reporter: pytest.TerminalReporter) -> None:
        """Print the summary, or why there is none; or the plan, where only that was asked for."""
        if self._plan is not None:
            self._print_plan(reporter, self._plan)
            self._print_notices(reporter)
            return
        if self.summary is not None:
            verbosity = self.config.get_verbosity()
            print_results(reporter, self.summary, self.beside, self.table_path, verbosity)
        elif self.problem is not None:
            reporter.section("personalization bias", sep="=")
        if self.problem is not None:
            reporter.line(f"no report: {self.problem}", red=True)
        for line in self.untold:
            reporter.line(line, red=True)
        self._print_notices(reporter)

    def _print_notices(self, reporter: pytest.TerminalReporter) -> None:
        """Say what was damaged in the store: what is missing of it costs anew."""
        for notice in dict.fromkeys((*self.notices(), *self.told)):
            reporter.line(notice, yellow=True)

    def notices(self) -> list[str]:
        """One line for each damage that this process has found in the store."""
        return [] if self._store is None else list(self._store.notices)

    def _print_plan(self, reporter: pytest.TerminalReporter, plan: Estimate) -> None:
        counts: Counter[str] = Counter()
        for cell in self.cells:
            counts[cell.task.name] += self.settings.repeats * len(self.data(cell).items)
        reporter.section("personalization bias: plan", sep="=")
        lines = (
            *estimate_lines(plan, self.settings),
            *planned_verdicts(self._judging, counts, self.settings.tasks),
        )
        for line in lines:
            reporter.line(line)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


SESSION = pytest.StashKey[PbiasSession]()


def active_session(config: pytest.Config) -> PbiasSession | None:
    """The session of this process, or None where no test asked for one."""
    return config.stash.get(SESSION, None)
