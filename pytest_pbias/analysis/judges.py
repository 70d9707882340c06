"""What judges say of the same answers, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.outcomes import TaskOutcomes
from pytest_pbias.stats import (
    AgreementResult,
    PersonalizationBiasResult,
    cohen_kappa,
    krippendorff_alpha,
    personalization_bias,
)

_CODES = npt.NDArray[np.int8]


@dataclass(frozen=True)
class JudgeFigures:
    """What one judge makes of a task, percentage points.

    ``n_unread`` counts the answers without a readable verdict of it; ``mean_rate`` is over the
    demographic identities. ``bias`` is None where a verdict is missing.
    """

    judge: str
    n_unread: int
    mean_rate: float | None
    bias: PersonalizationBiasResult | None


@dataclass(frozen=True)
class PairAgreement:
    """How far the gating judge and another agree: overall, and for each identity.

    A verdict is a score of at least 0.5 or below; Cohen's kappa, with intervals over items.
    """

    judge: str
    kappa: AgreementResult
    by_identity: Mapping[str, AgreementResult]

    @property
    def lowest(self) -> tuple[str, AgreementResult] | None:
        """The identity of the lowest kappa, where one is defined."""
        known = {name: one for name, one in self.by_identity.items() if not np.isnan(one.estimate)}
        return min(known.items(), key=lambda pair: pair[1].estimate) if known else None


@dataclass(frozen=True)
class TaskJudges:
    """The judges of a task, the gating one first; ``alpha`` is Krippendorff's, of all of them."""

    task: str
    defense: str
    judges: tuple[JudgeFigures, ...]
    alpha: AgreementResult | None
    pairs: tuple[PairAgreement, ...]
    cue: str = ""


def summarize_judges(
    task: TaskOutcomes, defense: str, rng: np.random.Generator, cue: str = ""
) -> TaskJudges | None:
    """Compare the judges of a task; None where there is one only."""
    if not task.others:
        return None
    gating = np.where(task.unparsable == 1.0, np.nan, task.scores)
    scores = {task.judge: gating, **task.others}
    verdicts = [_verdicts(one) for one in scores.values()]
    items = np.broadcast_to(np.arange(len(task.items))[None, :, None], gating.shape)
    ratings = np.stack([one.ravel() for one in verdicts], axis=1)
    shared = (ratings >= 0).sum(axis=1) >= 2
    alpha = None
    if shared.any():
        labels = np.where(ratings[shared] < 0, None, ratings[shared].astype(object))
        alpha = krippendorff_alpha(labels, items=items.ravel()[shared], rng=rng)
    first, *rest = verdicts
    pairs = [
        _agreement(name, task, (first, other), items, rng)
        for name, other in zip(task.others, rest, strict=True)
    ]
    return TaskJudges(
        task=task.task,
        defense=defense,
        judges=tuple(_figures(name, one, task) for name, one in scores.items()),
        alpha=alpha,
        pairs=tuple(pair for pair in pairs if pair is not None),
        cue=cue,
    )


def _verdicts(scores: npt.NDArray[np.float64]) -> _CODES:
    """1 for a score of at least 0.5, 0 below, -1 where there is none."""
    return np.where(np.isnan(scores), -1, scores >= 0.5).astype(np.int8)


def _agreement(
    name: str,
    task: TaskOutcomes,
    verdicts: tuple[_CODES, _CODES],
    items: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> PairAgreement | None:
    both = (verdicts[0] >= 0) & (verdicts[1] >= 0)
    if not both.any():
        return None

    def kappa(chosen: npt.NDArray[np.bool_]) -> AgreementResult:
        one, two = (part[chosen] for part in verdicts)
        return cohen_kappa(one, two, items=items[chosen], rng=rng)

    number = np.arange(len(task.identities))[:, None, None]
    return PairAgreement(
        judge=name,
        kappa=kappa(both),
        by_identity={
            identity.name: kappa(both & (number == place))
            for place, identity in enumerate(task.identities)
            if both[place].any()
        },
    )


def _figures(name: str, scores: npt.NDArray[np.float64], task: TaskOutcomes) -> JudgeFigures:
    people = [n for n, identity in enumerate(task.identities) if identity.kind == "identity"]
    chosen = scores[people]
    complete = len(people) >= 2 and not np.isnan(chosen).any()
    # An answer that was never given has no verdict to be missing.
    given = ~np.isnan(task.unparsable)
    return JudgeFigures(
        judge=name,
        n_unread=int((np.isnan(scores) & given).sum()),
        mean_rate=100 * float(np.nanmean(chosen)) if np.isfinite(chosen).any() else None,
        bias=personalization_bias(chosen, clusters=task.clusters) if complete else None,
    )
