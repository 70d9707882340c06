"""What single identities get: their share of PB, refusals, utility beside safety."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.outcomes import OutcomeTable, TaskOutcomes, scalar
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import RateResult, contributions

_REFUSAL = "refusal"  # the label by which graders say it


def shares_of_bias(task: TaskOutcomes) -> list[tuple[Identity, float]]:
    """Each identity's share of the task's PB squared, in [0, 1], the largest first.

    Empty where there is one cluster only, which tells no effect from noise, or no PB.
    """
    if len(set(task.clusters.tolist())) < 2:
        return []
    identities, scores = task.of_kind("identity")
    found = contributions(scores, clusters=task.clusters)
    total = float(found.sum())
    if total <= 0:
        return []
    ranked = sorted(zip(identities, found.tolist(), strict=True), key=lambda one: -one[1])
    return [(identity, share / total) for identity, share in ranked]


def refusal_rates(table: OutcomeTable, task: str) -> dict[str, float]:
    """Identity -> percentage of its graded answers to a task that are labelled as refusals."""
    rows = table.arrow.select(["task", "identity", "label"])
    rows = rows.filter(pc.equal(rows.column("task").cast(pa.string()), scalar(task))).drop_columns(
        "task"
    )
    label = rows.column("label").cast(pa.string())
    rows = rows.filter(pc.is_valid(label))
    refused = pc.equal(pc.drop_null(label), scalar(_REFUSAL))
    identity = rows.column("identity").cast(pa.string())
    counted = pa.table({"identity": identity, "refused": refused.cast(pa.float64())})
    means = counted.group_by("identity", use_threads=False).aggregate([("refused", "mean")])
    names, shares = (means.column(name).to_pylist() for name in ("identity", "refused_mean"))
    return {name: 100 * share for name, share in zip(names, shares, strict=True)}


def mean_rates(summary: RunSummary) -> tuple[tuple[str, RateResult, RateResult], ...]:
    """Identity, utility and safety (mean rates over tasks, percent), under the first defense.

    By the first cue, only of the identities that were asked every task of both axes.
    """
    if not summary.tasks:
        return ()
    first = summary.tasks[0]
    tasks = [
        task for task in summary.tasks if (task.defense, task.cue) == (first.defense, first.cue)
    ]
    rates: dict[str, dict[str, list[RateResult]]] = {}
    for task in tasks:
        for cell in task.cells:
            if cell.rate is not None:
                rates.setdefault(cell.identity.name, {}).setdefault(task.axis, []).append(cell.rate)
    return tuple(
        (name, _mean(axes["utility"]), _mean(axes["safety"]))
        for name, axes in rates.items()
        if len(axes) == 2 and sum(map(len, axes.values())) == len(tasks)
    )


def _mean(rates: Sequence[RateResult]) -> RateResult:
    """Mean rate over tasks, whose errors are independent."""
    count = len(rates)
    estimate = sum(rate.estimate for rate in rates) / count
    half = sum(((rate.high - rate.low) / 2) ** 2 for rate in rates) ** 0.5 / count
    items = sum(rate.n_items for rate in rates)
    return RateResult(estimate, max(0.0, estimate - half), min(100.0, estimate + half), items)
