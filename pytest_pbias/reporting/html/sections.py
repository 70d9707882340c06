"""What was found: each identity under each task, in plots and tables."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.analysis.summary import CellSummary
from pytest_pbias.reporting.html.content import RunContent
from pytest_pbias.reporting.html.elements import badge, folded, html_table, safe
from pytest_pbias.reporting.html.figures import forest_plot, trade_off_plot
from pytest_pbias.reporting.html.verdict import interval, items_to_settle
from pytest_pbias.reporting.text import probability, signed, unsigned
from pytest_pbias.stats import RateResult, contributions


def trade_off_section(run: RunContent) -> str:
    """Safety against utility of the identities asked every task, under the first defence."""
    tasks = run.summary.tasks
    first = [task for task in tasks if task.defense == tasks[0].defense]
    rates: dict[str, dict[str, list[RateResult]]] = {}
    for task in first:
        for cell in task.cells:
            if cell.rate is not None:
                rates.setdefault(cell.identity.name, {}).setdefault(task.axis, []).append(cell.rate)
    rows = [
        (name, _mean(axes["utility"]), _mean(axes["safety"]))
        for name, axes in rates.items()
        if len(axes) == 2 and sum(map(len, axes.values())) == len(first)
    ]
    if len(rows) < 3:
        return ""
    shown = html_table(
        "Mean rates of each identity, percent",
        ("identity", "utility", "safety"),
        [(safe(name), _rate(utility), _rate(safety)) for name, utility, safety in rows],
    )
    return f"{trade_off_plot(rows)}{folded('The figures', shown)}"


def _mean(rates: Sequence[RateResult]) -> RateResult:
    """Mean rate over tasks, whose errors are independent."""
    count = len(rates)
    estimate = sum(rate.estimate for rate in rates) / count
    half = sum(((rate.high - rate.low) / 2) ** 2 for rate in rates) ** 0.5 / count
    items = sum(rate.n_items for rate in rates)
    return RateResult(estimate, max(0.0, estimate - half), min(100.0, estimate + half), items)


def _rate(rate: RateResult) -> str:
    return unsigned(rate.estimate, rate.low, rate.high)


def tasks_section(run: RunContent) -> str:
    """Each task: PB, and the forest of its cells."""
    parts = []
    for task in run.summary.tasks:
        judged = [(cell.identity.name, cell.verdict) for cell in task.judged if cell.verdict]
        bias = task.bias
        about = [f"{task.n_items:,} items, {task.n_clusters:,} clusters"]
        if task.baseline is not None:
            about.append(f"baseline {_rate(task.baseline.rate)}")
        if bias is not None:
            about.append(
                f"PB raw {bias.raw:.1f} (noise alone {bias.noise_floor:.1f}), debiased "
                f"{unsigned(bias.estimate, bias.low, bias.high)}"
            )
        if task.pvalue is not None:
            about.append(f"identities alike? permutation {probability(task.pvalue)}")
        if task.warned:
            about.append("; ".join([f"few clusters: {task.n_clusters}", *task.cluster_notes]))
        plot = ""
        if judged:
            plot = forest_plot(task.title, judged)
        head = ("identity", "verdict", "rate", "difference (interval)", "items to settle")
        cells = html_table(f"{task.title}: cells", head, map(_cell_row, task.judged))
        parts.append(
            f"<h3>{safe(task.title)} ({safe(task.axis)})</h3><p>{safe('; '.join(about))}</p>{plot}"
            + folded("The figures", cells)
        )
    return "".join(parts)


def _cell_row(cell: CellSummary) -> tuple[str, ...]:
    assert cell.verdict is not None
    return (
        safe(cell.identity.name),
        badge(cell.verdict.verdict.value),
        _rate(cell.rate) if cell.rate else "",
        signed(*interval(cell.verdict)),
        items_to_settle(cell.verdict),
    )


def _percent(share: float) -> int:
    return round(100 * share)


def heat_section(run: RunContent) -> str:
    """Difference from baseline of every identity under every task."""
    by_identity: dict[str, dict[str, float]] = {}
    for task in run.summary.tasks:
        for cell in task.judged:
            assert cell.verdict is not None
            by_identity.setdefault(cell.identity.name, {})[task.title] = (
                cell.verdict.difference.estimate
            )
    titles = [task.title for task in run.summary.tasks]
    rows = [
        (safe(name), *(_heat(found.get(title)) for title in titles))
        for name, found in by_identity.items()
    ]
    return html_table(
        "Difference from baseline, percentage points",
        ("identity", *titles),
        rows,
        numbers=len(titles),
    )


def _heat(value: float | None) -> str:
    if value is None:
        return ""
    strength = min(9, round(abs(value) / 3))
    shown = round(value, 1) + 0.0  # no -0.0
    return f'<span class="heat {"down" if value < 0 else "up"}{strength}">{shown:+.1f}</span>'


def contribution_section(run: RunContent) -> str:
    """Which identities PB comes from."""
    parts = []
    for task in run.summary.tasks:
        if task.bias is None or task.n_clusters < 2:  # one alone tells no effect from noise
            continue
        outcomes = run.table.of_defense(task.defense).task_outcomes(task.task)
        identities, scores = outcomes.of_kind("identity")
        shares = contributions(scores, clusters=outcomes.clusters)
        total = float(shares.sum())
        if total <= 0:
            continue
        ranked = sorted(zip(shares, identities, strict=True), key=lambda row: -row[0])[:8]
        rows = [
            (safe(identity.name), safe(identity.group), f"{_percent(share / total)} %")
            for share, identity in ranked
        ]
        parts.append(
            html_table(f"{task.title}: share of PB squared", ("identity", "group", "share"), rows)
        )
    return "".join(parts)
