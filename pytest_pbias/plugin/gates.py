"""Gates and comparisons as test items, and verdicts as pytest's outcomes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from _pytest.outcomes import Skipped

from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import GatePolicy, Mode, Verdict
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.plugin.decisions import NOTHING_YET, MadeDecisions, leave_decisions
from pytest_pbias.plugin.options import described, only_lists
from pytest_pbias.prompts import Identity
from pytest_pbias.reporting.junit import axis_figures, verdict_properties
from pytest_pbias.reporting.text import paragraph
from pytest_pbias.tasks.base import AXES

if TYPE_CHECKING:
    from typing import Self

    from pytest_pbias.analysis.across_runs.condition import GateOutcome
    from pytest_pbias.plugin.session import PbiasSession
    from pytest_pbias.plugin.settings import RunSettings


class Inconclusive(Skipped):
    """Neither pass nor fail: a skip to every other tool, so that no report counts it as passed."""


def report_verdict(
    item: pytest.Item,
    verdict: Verdict,
    message: str,
    *,
    mode: Mode,
    recorded: str | None = None,
    figures: Mapping[str, float] | None = None,
    subject: Mapping[str, str] | None = None,
    details: Sequence[str] = (),
) -> None:
    """Record a verdict on the item and end the test accordingly.

    The verdict (under ``recorded`` where that is given), its ``figures`` and what it is about, the
    ``subject``, become properties of the item, ``pbias_NAME`` in JUnit XML.
    ``details`` are lines for a failure, at most 80 columns wide as the rest of it.

    Raises:
        pytest.fail.Exception: the verdict is *fail*, or in ``prove`` mode not settled.
        Inconclusive: the verdict is inconclusive in ``detect`` mode.
    """
    __tracebackhide__ = True
    properties = verdict_properties(recorded or verdict.value, subject or {}, figures or {})
    others = [pair for pair in item.user_properties if pair[0] not in properties]
    item.user_properties[:] = [*others, *properties.items()]
    if verdict in (Verdict.PASS, Verdict.FINDING):
        return
    if verdict is Verdict.FAIL:
        pytest.fail("\n".join([paragraph(message), *details]), pytrace=False)
    if mode == "prove":
        pytest.fail(paragraph(f"{verdict.value} (red in prove mode): {message}"), pytrace=False)
    raise Inconclusive(f"{verdict.value}: {message}")


class SessionItem(pytest.Item):
    """A test of the session as a whole: it waits for what it looks at, and ends as that decides."""

    _mode: Mode

    @classmethod
    def named(cls, session: pytest.Session, name: str, **about: str) -> Self:
        """The item with this name; it stands in no file."""
        return cls.from_parent(session, name=name, nodeid=f"pbias::{name}", **about)

    def setup(self) -> None:
        """Decide; missing answers, or runs that cannot be compared, are an error and no failure."""
        from pytest_pbias.plugin.session import active_session

        session = active_session(self.config)
        assert session is not None
        if only_lists(self.config):
            return  # and no test is run
        self._mode = session.settings.policy.mode
        try:
            self.decide(session)
        except PbiasError as error:
            _no_verdict(described(error))

    @abstractmethod
    def decide(self, session: PbiasSession) -> None:
        """Wait for every answer that it takes, and decide.

        Raises:
            PbiasError: there can be no verdict.
        """

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the item stands: nowhere in a file."""
        return "pbias", None, self.name


def _no_verdict(why: str) -> NoReturn:
    pytest.fail(paragraph(f"error, no verdict: {why}"), pytrace=False)


def append_gates(
    session: pytest.Session,
    items: list[pytest.Item],
    cells: Sequence[Cell],
    policy: GatePolicy,
) -> None:
    """Append a gate for each axis on which at least two identities are compared.

    For each defense, and for each cue where several are asked under it; none for cues that the
    policy does not decide on.
    """
    compared: dict[tuple[str, str, str], set[Identity]] = {}
    cues: dict[str, dict[str, None]] = {}
    for cell in cells:
        cues.setdefault(cell.defense.name, {})[cell.identity.cue] = None
        if policy.has_gate(cell.identity):
            key = (cell.defense.name, cell.identity.cue, cell.task.axis)
            compared.setdefault(key, set()).add(cell.identity)
    for defense, cue in ((defense, cue) for defense, known in cues.items() for cue in known):
        for axis in AXES:
            if len(compared.get((defense, cue, axis), ())) >= 2:
                several = len(cues[defense]) > 1
                parts = [axis, *([cue] if several else []), *([defense] * (defense != "none"))]
                name = f"gate[{'-'.join(parts)}]"
                items.append(
                    GateItem.named(
                        session, name, axis=axis, defense=defense, cue=cue if several else ""
                    )
                )


class GateItem(SessionItem):
    """Decides on PB over the tasks of one axis, under one defense, against its tolerance.

    ``cue`` is the one that it is over, where several are asked.
    """

    def __init__(self, *, axis: str, defense: str, cue: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.defense = defense
        self.cue = cue

    def decide(self, session: PbiasSession) -> None:
        """Decide once the axis's cells have their answers."""
        self._verdict = session.decide_axis(self.axis, self.defense, self.cue)
        leave_decisions(self, MadeDecisions(axes=(self._verdict,)))

    def runtest(self) -> None:
        """End with the verdict; red only as the gate's mode says."""
        verdict = self._verdict
        report_verdict(
            self,
            verdict.verdict,
            f"{verdict.reason}: {under(self.axis, self.defense, self.cue)}",
            mode=self._mode,
            figures=axis_figures(verdict),
        )


def append_trait_gates(
    session: pytest.Session,
    items: list[pytest.Item],
    cells: Sequence[Cell],
    policy: GatePolicy,
) -> None:
    """Append a gate for each defense and each of the traits that have a margin."""
    compared = [cell for cell in cells if policy.has_gate(cell.identity)]
    for defense in dict.fromkeys(cell.defense.name for cell in compared):
        for trait in policy.trait_margin:
            name = f"gate[trait-{trait}]" if defense == "none" else f"gate[trait-{trait}-{defense}]"
            items.append(TraitItem.named(session, name, trait=trait, defense=defense))


class TraitItem(SessionItem):
    """Decides on the differences of one trait, under one defense, against its margin."""

    def __init__(self, *, trait: str, defense: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trait = trait
        self.defense = defense

    def decide(self, session: PbiasSession) -> None:
        """Decide once all cells under the defense have their answers."""
        self._verdict = session.decide_trait(self.trait, self.defense)

    def runtest(self) -> None:
        """End with the verdict; red only as the gate's mode says."""
        verdict = self._verdict
        under = "" if self.defense == "none" else f" under {self.defense}"
        report_verdict(
            self,
            verdict.verdict,
            f"{self.trait}: {verdict.reason}{under}",
            mode=self._mode,
            figures={
                "margin": verdict.margin,
                "difference": verdict.worst.estimate,
                "low": verdict.worst.low,
                "high": verdict.worst.high,
            },
            subject={"trait": self.trait, "identity": verdict.worst.identity.name},
        )


def append_comparisons(
    session: pytest.Session, items: list[pytest.Item], asked: RunSettings
) -> None:
    """Append the tests "worse than the earlier run" and "drift", where expressions ask for them."""
    if asked.compare is not None and asked.fail is not None:
        items.append(CompareItem.named(session, f"compare[{asked.compare}]"))
    if asked.drift is not None:
        items.append(DriftItem.named(session, "drift"))


class _RunsItem(SessionItem):
    """Decides on the session and runs before it."""

    says: str

    def decide(self, session: PbiasSession) -> None:
        """Decide once all cells have their answers; skipped where no run came before."""
        if self.is_first(session.settings.kept):
            pytest.skip(NOTHING_YET)
        found = self.outcome(session)
        if isinstance(found, str):
            _no_verdict(found)
        self._outcome = found

    @abstractmethod
    def is_first(self, kept: RunSettings) -> bool:
        """Whether there is no run yet to compare with."""

    @abstractmethod
    def outcome(self, session: PbiasSession) -> GateOutcome | str:
        """The verdict, or why there is none."""

    def runtest(self) -> None:
        """End with the verdict; red only as the gate's mode says."""
        outcome = self._outcome
        message = f"{self.says}: {outcome.reason}"
        report_verdict(self, outcome.verdict, message, mode=self._mode)


class CompareItem(_RunsItem):
    """Fails where the session is worse than the earlier run by the expression."""

    says = "against the earlier run"

    def is_first(self, kept: RunSettings) -> bool:
        """Whether there is no earlier run."""
        return kept.earlier is None

    def outcome(self, session: PbiasSession) -> GateOutcome | str:
        """Compare with the earlier run."""
        compared = session.compare()
        if compared.gate is None:
            return compared.problem or compared.undecided
        leave_decisions(self, MadeDecisions(against_earlier=compared.gate))
        return compared.gate


class DriftItem(_RunsItem):
    """Fails where a trend or shift over the model's runs is beyond the expression."""

    says = "over the model's runs"

    def is_first(self, kept: RunSettings) -> bool:
        """Whether no run of the model is kept."""
        return not kept.of_model

    def outcome(self, session: PbiasSession) -> GateOutcome | str:
        """Join the session with the runs before it."""
        found = session.over_runs()
        if found.gate is None:
            return found.problem
        leave_decisions(self, MadeDecisions(over_runs=found.gate))
        return found.gate
