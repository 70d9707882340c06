"""This session against an earlier run: a reported test item, and a section of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_pbias.errors import PbiasError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.plugin.verdicts import report_verdict
from pytest_pbias.reporting.comparing import (
    ComparedRun,
    GateOutcome,
    compare_runs,
    judge_comparison,
    of_one_defense,
    pair_runs,
)
from pytest_pbias.reporting.text import paragraph

if TYPE_CHECKING:
    from pytest_pbias.plugin.settings import Settings
    from pytest_pbias.plugin.settings.runs import RunSettings


_NOTHING_YET = "no earlier run is kept: nothing to compare with"


def compare_with_earlier(table: OutcomeTable, settings: Settings) -> ComparedRun | None:
    """The comparison that the options ask for, for the reports; None where they ask for none."""
    asked = settings.kept
    if asked.compare is None:
        return None
    if asked.earlier is None:
        return ComparedRun(asked.compare, None, problem=_NOTHING_YET)
    name = asked.earlier.stem
    try:
        new, old = (of_one_defense(run) for run in (table, OutcomeTable.read(asked.earlier)))
        pairs = pair_runs(new, old)
        comparison = compare_runs(new, old, settings.policy, pairs=pairs)
    except PbiasError as error:
        return ComparedRun(name, None, problem=str(error))
    gate = None
    # As for the test item: answers of this very session are asked for again, not judged without.
    if asked.fail is not None and not table.arrow.column("score").null_count:
        try:
            gate = judge_comparison(
                asked.fail, comparison, pairs, alpha=settings.policy.alpha, anyway=asked.anyway
            )
        except PbiasError:
            gate = None  # the test item says why
    return ComparedRun(name, comparison, gate)


def judge_against_earlier(table: OutcomeTable, settings: Settings) -> GateOutcome:
    """Judge the session by the expression of the options.

    Raises:
        PbiasError: the runs cannot be compared, or were not asked alike.
    """
    asked = settings.kept
    assert asked.earlier is not None
    assert asked.fail is not None
    new, old = (of_one_defense(run) for run in (table, OutcomeTable.read(asked.earlier)))
    pairs = pair_runs(new, old)
    comparison = compare_runs(new, old, settings.policy, pairs=pairs)
    return judge_comparison(
        asked.fail, comparison, pairs, alpha=settings.policy.alpha, anyway=asked.anyway
    )


def append_comparison(
    session: pytest.Session, items: list[pytest.Item], asked: RunSettings
) -> None:
    """Append the test "worse than the earlier run" where an expression says what worse is."""
    if asked.compare is not None and asked.fail is not None:
        name = f"compare[{asked.compare}]"
        items.append(CompareItem.from_parent(session, name=name, nodeid=f"pbias::{name}"))


class CompareItem(pytest.Item):
    """Fails where the session is worse than the earlier run by the expression."""

    def setup(self) -> None:
        """Wait for every cell and compare; what cannot be compared is an error, not a failure."""
        from pytest_pbias.plugin.collection import active_session

        session = active_session(self.config)
        assert session is not None
        if session.settings.kept.earlier is None:
            pytest.skip(_NOTHING_YET)
        try:
            self._outcome = session.judge_comparison()
        except PbiasError as error:
            pytest.fail(paragraph(f"error, no verdict: {error}"), pytrace=False)
        self._mode = session.settings.policy.mode

    def runtest(self) -> None:
        """End with the verdict; red only as the gate's mode says."""
        outcome = self._outcome
        report_verdict(
            self,
            outcome.verdict,
            f"against the earlier run: {outcome.reason}",
            mode=self._mode,
        )

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the item stands: nowhere in a file."""
        return "pbias", None, self.name
