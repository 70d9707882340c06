"""Rates corrected for the errors of the judge that produced them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_pbias.stats.distributions import normal_isf


@dataclass(frozen=True, slots=True)
class JudgeAudit:
    """A human-labelled audit sample of a judge's verdicts: counts.

    ``true_positive`` of the truly positive were judged positive; and so on.
    """

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int


@dataclass(frozen=True, slots=True)
class CorrectedRate:
    """A corrected rate with its interval, percentage points; clipped to [0, 100]."""

    estimate: float
    low: float
    high: float
    sensitivity: float
    specificity: float


def corrected_rate(
    judged_positive: float, n: int, audit: JudgeAudit, *, confidence: float = 0.95
) -> CorrectedRate:
    """True rate behind ``judged_positive`` of ``n`` outcomes.

    Rogan & Gladen (1978, American Journal of Epidemiology 107:71-76), with the delta-method
    variance after adding one success and one failure to each audited rate and z^2 / 2 to the
    outcomes (Lang & Reiczigel 2014, Preventive Veterinary Medicine 113:13-22).

    Raises:
        ValueError: empty counts, or a judge no better than chance in the audit.
    """
    positives = audit.true_positive + audit.false_negative
    negatives = audit.true_negative + audit.false_positive
    if n < 1 or not 0 <= judged_positive <= n or positives < 1 or negatives < 1:
        raise ValueError("need outcomes, and audited answers of both kinds")
    se, sp = audit.true_positive / positives, audit.true_negative / negatives
    if se + sp <= 1.0:
        raise ValueError("the judge is no better than chance in the audit; rates cannot be fixed")
    z = normal_isf((1 - confidence) / 2)
    estimate = (judged_positive / n + sp - 1) / (se + sp - 1)
    m = n + z * z
    p = (judged_positive + z * z / 2) / m
    se2, sp2 = (audit.true_positive + 1) / (positives + 2), (audit.true_negative + 1) / (
        negatives + 2
    )  # fmt: skip
    youden = se2 + sp2 - 1
    if youden <= 0:
        return CorrectedRate(100 * min(1.0, max(0.0, estimate)), 0.0, 100.0, se, sp)
    centre = (p + sp2 - 1) / youden
    shift = 2 * z * z * (
        centre * se2 * (1 - se2) / (positives + 2) - (1 - centre) * sp2 * (1 - sp2)
        / (negatives + 2)
    )  # fmt: skip
    variance = (
        p * (1 - p) / m
        + centre**2 * se2 * (1 - se2) / (positives + 2)
        + (1 - centre) ** 2 * sp2 * (1 - sp2) / (negatives + 2)
    ) / youden**2
    half = z * math.sqrt(variance)
    low, high = centre + shift - half, centre + shift + half
    return CorrectedRate(
        100 * min(1.0, max(0.0, estimate)),
        100 * min(1.0, max(0.0, min(low, estimate))),
        100 * max(0.0, min(1.0, max(high, estimate))),
        se,
        sp,
    )
