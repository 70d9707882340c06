"""Rates corrected for the errors of the judge that produced them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Array, Labels, table_means
from pytest_pbias.stats.bias import PersonalizationBiasResult, combine_parts, table_parts
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


def corrected_bias(
    outcomes: npt.ArrayLike,
    audit: JudgeAudit | Sequence[JudgeAudit],
    *,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> PersonalizationBiasResult:
    """PB of the true outcomes behind judged ones, of shape (identities, items[, repeats]).

    ``audit`` counts how the judge labelled answers that people labelled too: one audit for all
    identities, or one for each. A judge that errs alike for everyone shrinks PB by the factor
    sensitivity + specificity - 1; one that errs differently adds a PB of its own. Each score y
    becomes (y + specificity - 1) / (sensitivity + specificity - 1) (Rogan & Gladen 1978,
    American Journal of Epidemiology 107:71-76). The audit's own error enters the debiasing and
    the interval through the delta method: it is the same for all items of an identity, so more
    items do not reduce it.

    Raises:
        ValueError: wrong shape, an audit without answers of both kinds, a number of audits that
            is not the number of identities, or a judge no better than chance.
    """
    means = table_means(outcomes)
    identities = means.shape[0]
    pooled = isinstance(audit, JudgeAudit)
    audits = [audit] * identities if isinstance(audit, JudgeAudit) else list(audit)
    if len(audits) != identities:
        raise ValueError(f"{len(audits)} audits for {identities} identities; give one for each")
    sensitivity, specificity, spread_se, spread_sp = np.array([_rates(a) for a in audits]).T
    youden = sensitivity + specificity - 1
    if (youden <= 0).any():
        raise ValueError("the judge is no better than chance in an audit; PB cannot be corrected")
    true = (means + specificity[:, None] - 1) / youden[:, None]
    if not (~np.isnan(true)).any(axis=1).all():
        raise ValueError("every identity needs at least one outcome")
    rates = np.nanmean(true, axis=1)
    shared = _audit_covariance(rates, youden, spread_se, spread_sp, pooled=pooled)
    return combine_parts([table_parts(true, clusters, shared=shared)], [1.0], confidence)


def _rates(audit: JudgeAudit) -> tuple[float, float, float, float]:
    """Sensitivity, specificity and the variances of both."""
    positives = audit.true_positive + audit.false_negative
    negatives = audit.true_negative + audit.false_positive
    if positives < 1 or negatives < 1:
        raise ValueError("an audit needs answers of both kinds")
    # The variance with one success and one failure added: a perfect audit is not a certain one.
    se, sp = (
        (audit.true_positive + 1) / (positives + 2),
        (audit.true_negative + 1) / (negatives + 2),
    )
    return (
        audit.true_positive / positives,
        audit.true_negative / negatives,
        se * (1 - se) / (positives + 2),
        sp * (1 - sp) / (negatives + 2),
    )


def _audit_covariance(
    rates: Array, youden: Array, spread_se: Array, spread_sp: Array, *, pooled: bool
) -> Array:
    """Covariance of the corrected rates' errors that come from the audit, centred."""
    by_se, by_sp = -rates / youden, (1 - rates) / youden
    covariance = np.sqrt(np.outer(spread_se, spread_se)) * np.outer(by_se, by_se)
    covariance += np.sqrt(np.outer(spread_sp, spread_sp)) * np.outer(by_sp, by_sp)
    if not pooled:
        covariance = np.diag(np.diag(covariance))
    centring = np.eye(len(rates)) - 1 / len(rates)
    return np.asarray(centring @ covariance @ centring)
