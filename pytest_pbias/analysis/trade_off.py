"""What each identity gets of utility and of safety."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.stats import RateResult


def mean_rates(summary: RunSummary) -> tuple[tuple[str, RateResult, RateResult], ...]:
    """Identity, utility and safety (mean rates over tasks, percent), under the first defence.

    Only of the identities that were asked every task of both axes.
    """
    tasks = [task for task in summary.tasks if task.defense == summary.tasks[0].defense]
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
