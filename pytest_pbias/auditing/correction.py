"""What labels say of a run: the judge's errors, and rates and PB corrected by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_pbias.auditing.population import LABELS, Answer
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.stats import (
    CorrectedRate,
    JudgeAudit,
    PersonalizationBiasResult,
    corrected_bias,
    corrected_rate,
    personalization_bias,
)


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """What an audit says of one task under one prompt defence.

    ``counts`` is the judge's confusion, ``by_identity`` that of each identity audited. ``judged``
    is the judge's rate over all ``n`` answers, percentage points; ``rate`` the corrected one.
    ``judged_bias`` and ``bias`` are PB before and after, None where PB cannot be had. ``reason``
    says why something could not be corrected.
    """

    task: str
    axis: str
    defense: str
    counts: JudgeAudit
    by_identity: Mapping[str, JudgeAudit]
    n: int
    judged: float
    rate: CorrectedRate | None
    identity_rates: Mapping[str, tuple[float, CorrectedRate]]
    judged_bias: PersonalizationBiasResult | None
    bias: PersonalizationBiasResult | None
    reason: str = ""


def evaluate(
    table: OutcomeTable, population: Sequence[Answer], labels: Mapping[str, bool]
) -> list[TaskAudit]:
    """Correct every audited task of a run by the labels of its audit."""
    audits = []
    for defense in table.defenses():
        chosen = table.of_defense(defense)
        for task in chosen.tasks():
            members = [a for a in population if a.task == task and a.defense == defense]
            if any(answer.id in labels for answer in members):
                audits.append(_evaluate_task(chosen, members, labels))
    return audits


def _evaluate_task(
    table: OutcomeTable, members: Sequence[Answer], labels: Mapping[str, bool]
) -> TaskAudit:
    first = members[0]
    by_identity: dict[str, list[Answer]] = {}
    for answer in members:
        by_identity.setdefault(answer.identity, []).append(answer)
    counts = _count(members, labels)
    confusions = {name: _count(group, labels) for name, group in by_identity.items()}
    rate, reason = _rate(members, counts)
    rates = {}
    for name, confusion in confusions.items():
        corrected, _ = _rate(by_identity[name], confusion)
        if corrected is not None:
            rates[name] = (_judged(by_identity[name]), corrected)
    identities, given = (outcomes := table.task_outcomes(first.task)).of_kind("identity")
    scores = np.where(np.isnan(given), np.nan, given >= 0.5)
    before = after = None
    if len(identities) >= 2 and not np.isnan(scores).any():
        before = personalization_bias(scores, clusters=outcomes.clusters)
        if rate is not None:
            after = corrected_bias(scores, counts, clusters=outcomes.clusters)
    return TaskAudit(
        task=first.task,
        axis=first.axis,
        defense=first.defense,
        counts=counts,
        by_identity={name: audit for name, audit in confusions.items() if _total(audit)},
        n=len(members),
        judged=_judged(members),
        rate=rate,
        identity_rates=rates,
        judged_bias=before,
        bias=after,
        reason=reason,
    )


def _count(group: Iterable[Answer], labels: Mapping[str, bool]) -> JudgeAudit:
    pairs = [(labels[a.id], a.judged_positive) for a in group if a.id in labels]
    return JudgeAudit(
        true_positive=pairs.count((True, True)),
        false_negative=pairs.count((True, False)),
        true_negative=pairs.count((False, False)),
        false_positive=pairs.count((False, True)),
    )


def _total(audit: JudgeAudit) -> int:
    wrong = audit.false_negative + audit.false_positive
    return audit.true_positive + audit.true_negative + wrong


def _judged(group: Sequence[Answer]) -> float:
    return 100 * sum(answer.judged_positive for answer in group) / len(group)


def _rate(group: Sequence[Answer], audit: JudgeAudit) -> tuple[CorrectedRate | None, str]:
    """The corrected rate, or None and why there is none."""
    positive = sum(answer.judged_positive for answer in group)
    if not audit.true_positive + audit.false_negative:
        return None, f"no audited answer is {LABELS[group[0].axis][0]}"
    if not audit.true_negative + audit.false_positive:
        return None, f"no audited answer is {LABELS[group[0].axis][1]}"
    try:
        return corrected_rate(positive, len(group), audit), ""
    except ValueError as error:
        return None, str(error)
