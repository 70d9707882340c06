"""The ``cell`` fixture: what a benchmark test sees of one identity under one task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import InfrastructureError, PbiasError
from pytest_pbias.gate import (
    BaselineVerdict,
    CellVerdict,
    NoVerdict,
    Verdict,
    decide_baseline,
    why_no_verdict,
)
from pytest_pbias.grading import cannot_grade, needs_judge
from pytest_pbias.grading.no_answer import NO_ANSWER
from pytest_pbias.grading.traits import Values
from pytest_pbias.outcomes.scoring import ScoredCell
from pytest_pbias.plugin.decisions import CellDecision, MadeDecisions, leave_decisions
from pytest_pbias.plugin.gates import report_verdict
from pytest_pbias.plugin.options import described, only_lists
from pytest_pbias.plugin.session import PbiasSession, active_session
from pytest_pbias.prompts import NO_DEFENSE, Identity
from pytest_pbias.reporting.junit import SIGNAL, cell_figures
from pytest_pbias.reporting.text import columns, ending, paragraph, plain
from pytest_pbias.stats import PairedDifferenceResult, RateResult, rate
from pytest_pbias.tasks import Task

_EXAMPLES = 3  # changed answers that a failed cell shows
_WIDTH = 80  # columns of a message


@dataclass(frozen=True, slots=True)
class TraitMeans:
    """A trait's mean over a cell's answers and the baseline's; NaN where no answer has it."""

    unit: str
    mean: float
    baseline: float

    @property
    def difference(self) -> float:
        """The mean less the baseline's."""
        return self.mean - self.baseline


def _trait_mean(values: Sequence[Values | None], number: int, unit: str) -> float:
    known = [one[number] for one in values if one is not None]
    found = [value for value in known if value is not None]
    mean = sum(found) / len(found) if found else math.nan
    return 100 * mean if unit == "share" else mean


class CellFixture:
    """One identity under one task, answered and graded.

    Assert on anything it offers, or call :meth:`check`.
    """

    def __init__(
        self,
        item: pytest.Item,
        session: PbiasSession,
        measurement: ScoredCell,
        baseline: ScoredCell,
    ) -> None:
        self._item = item
        self._session = session
        self._measurement = measurement
        self._baseline = baseline

    @property
    def task(self) -> Task:
        """The benchmark that the cell is asked, with its axis and floor."""
        return self._measurement.cell.task

    @property
    def identity(self) -> Identity:
        """Who asks."""
        return self._measurement.cell.identity

    @property
    def outcomes(self) -> npt.NDArray[np.float64]:
        """Scores in [0, 1], shape (items, repeats)."""
        return self._measurement.scores

    @property
    def baseline_outcomes(self) -> npt.NDArray[np.float64]:
        """The baseline's scores in [0, 1] on the same items, shape (items, repeats)."""
        return self._baseline.scores

    @cached_property
    def rate(self) -> RateResult:
        """The mean score with its interval, percentage points."""
        return rate(self.outcomes, clusters=self._clusters)

    @cached_property
    def baseline(self) -> RateResult:
        """The baseline's mean score with its interval, percentage points."""
        return rate(self.baseline_outcomes, clusters=self._clusters)

    @property
    def difference(self) -> PairedDifferenceResult:
        """Rate minus the reference's, percentage points, at the level that all cells share.

        That is what fails. ``verdict().passing`` has the interval that passes.
        """
        return self.verdict().difference

    @property
    def _clusters(self) -> npt.NDArray[np.str_]:
        """What stands or falls together among its items, as the policy takes them to be drawn."""
        policy = self._session.settings.policy
        return policy.clusters_of(self.task.name, self._measurement.clusters)

    @property
    def unparsable(self) -> int:
        """How many responses no answer could be read off."""
        return self._measurement.unparsable

    @cached_property
    def traits(self) -> dict[str, TraitMeans]:
        """What the answers are like beside their scores: each trait here and in the baseline.

        Means over the answers that have the trait, percent where its unit is *share*.
        """
        own, baseline = self._measurement.traits, self._baseline.traits
        return {
            trait.name: TraitMeans(
                trait.unit, _trait_mean(own, n, trait.unit), _trait_mean(baseline, n, trait.unit)
            )
            for n, trait in enumerate(self._session.traits.chosen)
        }

    def verdict(self, margin: float | None = None) -> CellVerdict:
        """Decide on the difference from the reference against ``margin`` (percentage points).

        The report shows the verdict by the margin of :meth:`check`, else by the cell's own.

        Raises:
            ValueError: the margin is not above 0 and at most 100.
        """
        if margin is None:
            return self._decide(None, checked=False)
        _require_margin(margin)
        return self._session.decide_cell(self._measurement, self._baseline, margin)

    def _decide(self, margin: float | None, *, checked: bool) -> CellVerdict:
        if margin is not None:
            _require_margin(margin)
        verdict = self._session.decide_cell(self._measurement, self._baseline, margin)
        cell = self._measurement.cell
        names = (cell.defense.name, cell.task.name, cell.identity.name)
        leave_decisions(self._item, MadeDecisions((CellDecision(*names, checked, verdict),)))
        return verdict

    def check(self, margin: float | None = None) -> None:
        """End the test with the cell's verdict.

        ``margin`` (percentage points) is this test's own. Asking stops early by the cell's usual
        margin, since what a test will check is unknown until it runs: what the answers so far
        decide by ``margin`` holds, and a test that they leave open says that more might have
        settled it. A margin that is said by option or persona file is asked for.

        The baseline's own cell passes where the task gives a signal: a rate clear of its floor.
        """
        __tracebackhide__ = True
        if self.identity.kind == "baseline":
            self._check_baseline()
            return
        verdict = self._decide(margin, checked=True)
        if self.unparsable == self.outcomes.size:
            note = f"no response under {self.identity.name!r} has a readable answer; "
        elif self.unparsable > self.outcomes.size // 10:
            note = f"{self.unparsable} of {self.outcomes.size} responses unparsable; "
        else:
            note = ""
        found = verdict.difference
        failed = verdict.verdict is Verdict.FAIL
        report_verdict(
            self._item,
            verdict.verdict,
            f"{note}{verdict.reason}: {self.task.name}, {self.identity.name}",
            mode=self._session.settings.policy.mode,
            details=self._changed(found.estimate < 0) if failed else (),
            subject={"task": self.task.name, "identity": self.identity.name},
            figures=cell_figures(verdict),
        )

    def _changed(self, worse: bool) -> list[str]:
        """Up to three answers that changed the way the rate did, as lines for people.

        Answers to safety tasks are not quoted: their labels say what changed.
        """
        lines = self._incapacity()
        shown = 0
        pairs = zip(
            self._measurement.questions,
            *(self._measurement.responses, self._measurement.grades),
            *(self._baseline.responses, self._baseline.grades),
            strict=True,
        )
        for question, answer, grade, base_answer, base_grade in pairs:
            if grade is None or base_grade is None or answer is None or base_answer is None:
                continue
            if (grade.score < base_grade.score) if worse else (grade.score > base_grade.score):
                shown += 1
                change = f"{base_grade.label} -> {grade.label}"
                lines.append(f"  {plain(question.item.id, 40)}: {change}")
                if self.task.axis == "utility":
                    lines.append(_ending("baseline", base_answer.text))
                    lines.append(_ending(self.identity.name, answer.text))
            if shown == _EXAMPLES:
                break
        return lines

    def _incapacity(self) -> list[str]:
        """What of a safety rate is refusals and what answers that are none, as lines for people.

        Both are harmless; only one is caution, and a difference of the other must not be read so.
        """
        if self.task.axis != "safety":
            return []
        said = [(one, *self._percent(one)) for one in (self._baseline, self._measurement)]
        if not any(none for _, _, none in said):
            return []
        return [
            f"  {plain(one.cell.identity.name, 30)}: {refused:.1f} % refusals, "
            f"{none:.1f} % no answers, which are harmless too"
            for one, refused, none in said
        ]

    @staticmethod
    def _percent(measured: ScoredCell) -> tuple[float, float]:
        """Refusals and answers that are none, percent of the answers that have a grade."""
        labels = [grade.label for grade in measured.grades if grade is not None]
        share = 100 / max(1, len(labels))
        return labels.count("refusal") * share, labels.count(NO_ANSWER) * share

    def _check_baseline(self) -> None:
        __tracebackhide__ = True
        policy = self._session.settings.policy
        verdict: BaselineVerdict = decide_baseline(
            self.outcomes,
            clusters=self._clusters,
            alpha=policy.alpha,
            floor=self.task.floor,
        )
        report_verdict(
            self._item,
            verdict.verdict,
            f"{self.task.name}, baseline: {verdict.reason}",
            mode=policy.mode,
            # No difference was decided: a run of nothing else has not passed a gate.
            recorded=SIGNAL if verdict.verdict is Verdict.PASS else None,
        )


def _require_margin(margin: float) -> None:
    if not 0 < margin <= 100:
        raise ValueError(f"margin={margin}: a margin is above 0 and at most 100 points")


def _ending(who: str, text: str) -> str:
    """The last words of an answer, where its conclusion is, made inert and quoted in one line."""
    head = f"    {plain(who, 30)}: "
    return f'{head}"{ending(plain(text), _WIDTH - columns(head) - 2)}"'


PLANNED = pytest.StashKey[Cell]()
"""The cell of an item that is no test function."""


class CellItem(pytest.Item):
    """A test of one cell that ends with its verdict."""

    def __init__(self, *, planned: Cell, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stash[PLANNED] = planned
        self.add_marker(pytest.mark.pbias)
        self._cell: CellFixture | None = None

    def setup(self) -> None:
        """Wait for the answers; one that cannot be had is an error, not a failure."""
        self._cell = obtain_cell(self, self.stash[PLANNED])

    def runtest(self) -> None:
        """End with the cell's verdict."""
        assert self._cell is not None
        self._cell.check()


class ReferenceItem(CellItem):
    """A cell that others are compared with, where no selected test is about it."""

    @classmethod
    def of(cls, cell: Cell, session: pytest.Session) -> ReferenceItem:
        """The item of a cell; it belongs to the session, as the gates do."""
        name = f"reference[{cell_id(cell)}]"
        made: ReferenceItem = cls.from_parent(
            session, name=name, nodeid=f"pbias::{name}", planned=cell
        )
        return made

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the item stands: nowhere in a file."""
        return "pbias", None, self.name


def cell_id(cell: Cell) -> str:
    """The test id of a cell: ``mmlu-a_Muslim_person``, and the defense where there is one."""
    defense = "" if cell.defense == NO_DEFENSE else f"-{cell.defense.name}"
    return f"{cell.task.name}-{cell.identity.name.replace(' ', '_')}{defense}"


def make_cell(request: pytest.FixtureRequest) -> CellFixture:
    """The cell that the test is parametrized with; see :func:`obtain_cell`."""
    __tracebackhide__ = True
    return obtain_cell(cast("pytest.Item", request.node), cast("Cell", request.param))


def obtain_cell(item: pytest.Item, planned: Cell) -> CellFixture:
    """Wait for the cell and its baseline; a response that cannot be had is an error, no verdict."""
    __tracebackhide__ = True
    session = active_session(item.config)
    assert session is not None
    if only_lists(item.config):
        pytest.skip("nothing is asked: pytest only shows what there is")
    reason = cannot_grade(planned.task)
    if reason is not None:
        pytest.skip(f"{planned.task.name} was not asked: {reason}")
    try:
        measurement = session.measure(planned)
        # What it is compared with may have been asked more.
        n_items = len(measurement.data.items)
        baseline = session.measure(planned.baseline).first(n_items)
        references = [session.measure(one).first(n_items) for one in session.references(planned)]
    except PbiasError as error:
        pytest.fail(paragraph(f"error, no verdict: {described(error)}"), pytrace=False)
    # The reference may be a mean that the cell itself is part of: each counts once.
    every = {one.cell: one for one in (measurement, baseline, *references)}.values()
    none = why_no_verdict(
        asked=sum(len(one.questions) for one in every),
        missing=sum(one.missing for one in every),
        unreadable=sum(one.unparsable for one in every),
        cut_off=max(one.cut_off / max(1, len(one.questions)) for one in every),
    )
    if none is NoVerdict.MISSING:
        lacking = next(one for one in every if one.missing or not one.questions)
        pytest.fail(paragraph(f"error, no verdict: {_missing(lacking)}"), pytrace=False)
    if none is NoVerdict.CUT_OFF:
        worst = max(every, key=lambda one: one.cut_off / len(one.questions))
        fault = InfrastructureError(_cut_off(worst), setting="max-tokens")
        pytest.fail(paragraph(f"error, no verdict: {described(fault)}"), pytrace=False)
    if none is NoVerdict.UNREADABLE:
        pytest.fail(paragraph(f"error, no verdict: {_unreadable(measurement)}"), pytrace=False)
    return CellFixture(item, session, measurement, baseline)


def _cut_off(measured: ScoredCell) -> str:
    return (
        f"{measured.cut_off} of {len(measured.questions)} responses to {measured.cell.task.name} "
        f"under {measured.cell.identity.name!r} were cut off within a thought, before any answer; "
        f"allow more tokens than {measured.protocol.sampling.max_tokens}"
    )


def _unreadable(measured: ScoredCell) -> str:
    cell = measured.cell
    if needs_judge(cell.task):
        return (
            f"no verdict of the judge {measured.judge} can be read on any of "
            f"{len(measured.questions)} responses to {cell.task.name} under "
            f"{cell.identity.name!r}, nor on the baseline's; choose another model for it"
        )
    return (
        f"no answer can be read off any of {len(measured.questions)} responses to "
        f"{cell.task.name} under {cell.identity.name!r}, nor off the baseline's; look at them in "
        "the outcome table, and raise --pbias-max-tokens if they are cut off"
    )


def _missing(measured: ScoredCell) -> str:
    reasons = sorted({reason for reason in measured.errors if reason is not None})
    cell = measured.cell
    unjudged = all(response is not None for response in measured.responses)
    return (
        f"{measured.missing} of {len(measured.questions)} responses to {cell.task.name} under "
        f"{cell.identity.name!r} are {'not judged' if unjudged else 'missing'} "
        f"({'; '.join(reasons[:2])}); run again to {'judge' if unjudged else 'ask for'} these alone"
    )
