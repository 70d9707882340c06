"""``pb_safety>+1.0, baseline_mmlu<-2``: what counts as worse than the earlier run.

A metric is a family and a scope: ``pb``, ``baseline``, ``rate`` (the identities' mean) or ``cell``
(any identity's difference from baseline), then an axis or a task. Values are changes in points,
new minus old. ``and`` binds its conditions together; a comma or ``or`` separates alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_pbias.analysis.across_runs.changes import Change, Comparison, Family
from pytest_pbias.analysis.across_runs.pairing import PairedRuns
from pytest_pbias.analysis.across_runs.setup import INCOMPLETE, SetupDifference
from pytest_pbias.errors import ConfigurationError, DataError, inert, near_matches
from pytest_pbias.gate import GatePolicy, Verdict

FAMILIES: tuple[Family, ...] = ("pb", "baseline", "rate", "cell")
_CONDITION = re.compile(
    r"^\s*(?P<metric>[A-Za-z][A-Za-z0-9_.-]*?)\s*(?P<operator>[<>]=?)\s*"
    r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*(?:points?|pp)?\s*$"
)
_OR = re.compile(r",|\bor\b")
_AND = re.compile(r"\band\b")
_MOST_CHARACTERS = 1000


class Compared(Protocol):
    """Runs on the items that all of them asked: two of them, or a history."""

    def scopes(self) -> tuple[str, ...]:
        """The axes and tasks that can be asked for."""

    def changes(self, family: Family, scope: str, confidence: float) -> list[Change]:
        """What a condition of this family is decided on; empty where it was not measured."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``family_scope > threshold``, threshold in percentage points."""

    family: Family
    scope: str
    above: bool
    threshold: float

    def __str__(self) -> str:
        return f"{self.family}_{self.scope}{'>' if self.above else '<'}{self.threshold:+g}"


@dataclass(frozen=True, slots=True)
class ConditionOutcome:
    """A condition with the change that it was decided on.

    ``verdict`` is *fail* where the whole interval is beyond the threshold, *pass* where none of it
    is. For ``cell`` it is the identity that is furthest beyond.
    """

    condition: Condition
    verdict: Verdict
    estimate: float
    low: float
    high: float
    who: str

    def __str__(self) -> str:
        who = f" ({self.who})" if self.who else ""
        return f"{self.condition}{who}: {self.estimate:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """Whether the new run is worse by the expression."""

    verdict: Verdict
    outcomes: tuple[ConditionOutcome, ...]

    @property
    def reason(self) -> str:
        """One line: the conditions that decide."""
        deciding = [found for found in self.outcomes if found.verdict is self.verdict]
        return "; ".join(str(found) for found in deciding or self.outcomes)


def parse_expression(text: str, scopes: Sequence[str]) -> tuple[tuple[Condition, ...], ...]:
    """Alternatives, each a tuple of conditions that must all hold; ``scopes`` can be asked for.

    Raises:
        ConfigurationError: the text is no such expression; the message shows the part.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ConfigurationError("the comparison's expression is longer than 1,000 characters")
    return tuple(
        tuple(_condition(part, scopes) for part in _AND.split(alternative))
        for alternative in _OR.split(text)
    )


def _condition(text: str, scopes: Sequence[str]) -> Condition:
    found = _CONDITION.match(text)
    if found is None:
        raise ConfigurationError(
            f"{text.strip()!r} is not METRIC>NUMBER or METRIC<NUMBER, such as pb_safety>+1.0"
        )
    known = {
        f"{family}_{scope}": (family, scope)
        for family in FAMILIES
        for scope in dict.fromkeys(scopes)
    }
    metric = found["metric"]
    if metric not in known:
        hint = near_matches(metric, known)
        raise ConfigurationError(f"unknown metric {metric!r}: {hint}")
    family, scope = known[metric]
    return Condition(family, scope, found["operator"].startswith(">"), float(found["number"]))


def decide_condition(
    text: str, runs: Compared, *, alpha: float, scopes: Sequence[str] | None = None
) -> GateOutcome:
    """Decide on the change between two runs, or over many.

    *Fail*: an alternative holds, its intervals wholly beyond the thresholds. *Pass*: every
    alternative is ruled out. Otherwise *inconclusive*. ``alpha`` is the error level of the whole
    expression: it is shared by its conditions, and by the cells of a ``cell`` condition.

    Raises:
        ConfigurationError: the expression is wrong, or asks for what was not measured.
    """
    alternatives = parse_expression(text, scopes or runs.scopes())
    count = sum(len(conditions) for conditions in alternatives)
    decided = [
        [_decide(condition, runs, alpha / count) for condition in conditions]
        for conditions in alternatives
    ]
    verdicts = [_all_hold([found.verdict for found in outcomes]) for outcomes in decided]
    if Verdict.FAIL in verdicts:
        verdict = Verdict.FAIL
    elif all(found is Verdict.PASS for found in verdicts):
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    return GateOutcome(verdict, tuple(found for outcomes in decided for found in outcomes))


def decide_comparison(
    text: str,
    comparison: Comparison,
    pairs: PairedRuns,
    policy: GatePolicy,
    *,
    anyway: bool = False,
) -> GateOutcome:
    """Decide on the change, unless it need not be the model's: then only with ``anyway``.

    The policy has the level, and the cues that are decided on.

    Raises:
        DataError: either run lacks answers or ended early, so that what is missing may be what
            got worse; or sampling, judge, prompts or protocol differ; or its cues were not asked.
        ConfigurationError: as :func:`decide_condition`.
    """
    if comparison.blocked_by and not anyway:
        raise DataError(inert(_why_not(comparison.blocked_by)))
    of_cues = pairs.of_cues(policy.cues) if policy.cues else pairs
    return decide_condition(text, of_cues, alpha=policy.alpha)


def _why_not(blocking: Sequence[SetupDifference]) -> str:
    lacking = [difference for difference in blocking if difference.kind in INCOMPLETE]
    if lacking:
        shown = "; ".join(map(str, lacking))
        return (
            "the runs are not complete, and what is missing may be what got worse: "
            f"{shown}; run again to ask for that alone, or decide anyway"
        )
    more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
    return (
        "the runs were not asked alike, so a change need not be the model's: "
        f"{blocking[0]}{more}; ask alike, or decide anyway"
    )


def _all_hold(verdicts: Sequence[Verdict]) -> Verdict:
    """Conditions joined by ``and``: one that is ruled out rules out all."""
    if Verdict.PASS in verdicts:
        return Verdict.PASS
    return Verdict.FAIL if set(verdicts) == {Verdict.FAIL} else Verdict.INCONCLUSIVE


def _decide(condition: Condition, runs: Compared, alpha: float) -> ConditionOutcome:
    changes = runs.changes(condition.family, condition.scope, 1 - 2 * alpha)
    if not changes:
        raise ConfigurationError(
            f"{condition}: cannot be compared; both runs need the same "
            f"{'two identities' if condition.family == 'pb' else 'task and identity'}"
        )
    outcomes = [
        ConditionOutcome(
            condition,
            _beyond(condition, one.low, one.high),
            one.estimate,
            one.low,
            one.high,
            one.who,
        )
        for one in changes
    ]
    # The worst verdict speaks for the condition, and the furthest change for the verdict.
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
    sign = 1.0 if condition.above else -1.0
    return min(outcomes, key=lambda found: (order.index(found.verdict), -sign * found.estimate))


def _beyond(condition: Condition, low: float, high: float) -> Verdict:
    if not condition.above:
        low, high = -high, -low
    threshold = condition.threshold if condition.above else -condition.threshold
    if low > threshold:
        return Verdict.FAIL
    return Verdict.PASS if high <= threshold else Verdict.INCONCLUSIVE
