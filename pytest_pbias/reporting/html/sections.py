"""The sections of the report; each is a function of the run that gives HTML, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from html import escape

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.html.figures import forest_plot, trade_off_plot
from pytest_pbias.reporting.html.samples import choose_samples, inert_json
from pytest_pbias.reporting.sentence import verdict_sentence
from pytest_pbias.reporting.summary import CellSummary, RunSummary
from pytest_pbias.reporting.text import plain, probability, signed, unsigned
from pytest_pbias.stats import RateResult, contributions

Section = Callable[[RunSummary, OutcomeTable], str]


def safe(text: object) -> str:
    """Text from anywhere, inert in HTML."""
    return escape(plain(str(text)))


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its rows; cells are HTML already."""
    top = "".join(f'<th scope="col">{safe(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{safe(caption)}"><table>'
        f"<caption>{safe(caption)}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _badge(verdict: str) -> str:
    return f'<span class="badge {verdict.replace(" ", "-")}">{safe(verdict)}</span>'


def verdict_section(summary: RunSummary, table: OutcomeTable) -> str:
    """The verdict in a sentence, and the gates."""
    run, says = summary.run, verdict_sentence(summary)
    partial = f'<p class="loud">PARTIAL: {safe(run.partial)}</p>' if run.partial else ""
    rows = [
        (
            safe(f"{axis.axis}" + ("" if axis.defense == "none" else f" under {axis.defense}")),
            _badge(axis.verdict.value),
            unsigned(axis.bias.estimate, axis.bias.low, axis.bias.high) if axis.bias else "",
            f"{axis.tolerance:g}",
            f"{axis.bias.raw:.1f}" if axis.bias else "",
            f"{axis.bias.noise_floor:.1f}" if axis.bias else "",
            f"{axis.mean_rate:.1f}",
            f"{axis.baseline_rate:.1f}",
            safe(axis.reason),
        )
        for axis in summary.axes
    ]
    head = ("axis", "verdict", "PB debiased (interval)", "tolerance", "PB raw", "noise floor",
            "mean rate", "baseline", "reason")  # fmt: skip
    gates = html_table("Gates, percentage points", head, rows) if rows else ""
    return f'<p class="verdict">{safe(says)}</p>{partial}{gates}'


def trade_off_section(summary: RunSummary, table: OutcomeTable) -> str:
    """Safety against utility of the identities asked every task, under the first defence."""
    first = [task for task in summary.tasks if task.defense == summary.tasks[0].defense]
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
    return f"<figure>{trade_off_plot(rows)}</figure>{_folded('The figures', shown)}"


def _mean(rates: Sequence[RateResult]) -> RateResult:
    """Mean rate over tasks, whose errors are independent."""
    count = len(rates)
    estimate = sum(rate.estimate for rate in rates) / count
    half = sum(((rate.high - rate.low) / 2) ** 2 for rate in rates) ** 0.5 / count
    items = sum(rate.n_items for rate in rates)
    return RateResult(estimate, max(0.0, estimate - half), min(100.0, estimate + half), items)


def _rate(rate: RateResult) -> str:
    return unsigned(rate.estimate, rate.low, rate.high)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{safe(title)}</summary>{content}</details>"


def tasks_section(summary: RunSummary, table: OutcomeTable) -> str:
    """Each task: PB, and the forest of its cells."""
    parts = []
    for task in summary.tasks:
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
        plot = ""
        if judged:
            drawn = forest_plot(task.title, judged)
            plot = f"<figure>{drawn}</figure>"
        head = ("identity", "verdict", "rate", "difference (interval)", "items to settle")
        cells = html_table(f"{task.title}: cells", head, map(_cell_row, task.judged))
        parts.append(
            f"<h3>{safe(task.title)} ({safe(task.axis)})</h3><p>{safe('; '.join(about))}</p>{plot}"
            + _folded("The figures", cells)
        )
    return "".join(parts)


def _cell_row(cell: CellSummary) -> tuple[str, ...]:
    assert cell.verdict is not None
    found = cell.verdict.difference
    needed = cell.verdict.needed_items
    return (
        safe(cell.identity.name),
        _badge(cell.verdict.verdict.value),
        _rate(cell.rate) if cell.rate else "",
        signed(found.estimate, found.low, found.high),
        f"{needed:,}" if needed else "",
    )


def heat_section(summary: RunSummary, table: OutcomeTable) -> str:
    """Difference from baseline of every identity under every task."""
    by_identity: dict[str, dict[str, float]] = {}
    for task in summary.tasks:
        for cell in task.judged:
            assert cell.verdict is not None
            by_identity.setdefault(cell.identity.name, {})[task.title] = (
                cell.verdict.difference.estimate
            )
    titles = [task.title for task in summary.tasks]
    rows = [
        (safe(name), *(_heat(found.get(title)) for title in titles))
        for name, found in by_identity.items()
    ]
    return html_table("Difference from baseline, percentage points", ("identity", *titles), rows)


def _heat(value: float | None) -> str:
    if value is None:
        return ""
    strength = min(9, round(abs(value) / 3))
    return f'<span class="heat {"down" if value < 0 else "up"}{strength}">{value:+.1f}</span>'


def unparsable_section(summary: RunSummary, table: OutcomeTable) -> str:
    """Answers that could not be read, and rates of refusal, per identity."""
    rows: dict[str, dict[str, str]] = {}
    for task in summary.tasks:
        for cell in task.cells:
            shown = f"{cell.n_unparsable:,}" if cell.n_unparsable else "0"
            if cell.rate is not None and task.axis == "safety":
                shown += f" / {cell.rate.estimate:.1f}"
            rows.setdefault(cell.identity.name, {})[task.title] = shown
    heads = [
        f"{task.title}: unparsable" + (" / safe, %" if task.axis == "safety" else "")
        for task in summary.tasks
    ]
    titles = [task.title for task in summary.tasks]
    shown_rows = [
        (safe(name), *(cells.get(title, "") for title in titles)) for name, cells in rows.items()
    ]
    return html_table(
        "Unparsable answers and rates of safe answers", ("identity", *heads), shown_rows
    )


def contribution_section(summary: RunSummary, table: OutcomeTable) -> str:
    """Which identities PB comes from."""
    parts = []
    for task in summary.tasks:
        if task.bias is None:
            continue
        outcomes = table.of_defense(task.defense).task_outcomes(task.task)
        identities, scores = outcomes.of_kind("identity")
        shares = contributions(scores, clusters=outcomes.clusters)
        total = float(shares.sum())
        if total <= 0:
            continue
        ranked = sorted(zip(shares, identities, strict=True), key=lambda row: -row[0])[:8]
        rows = [
            (safe(identity.name), safe(identity.group), f"{100 * share / total:.0f} %")
            for share, identity in ranked
        ]
        parts.append(
            html_table(f"{task.title}: share of PB squared", ("identity", "group", "share"), rows)
        )
    return "".join(parts)


def sample_section(summary: RunSummary, table: OutcomeTable) -> str:
    """The sample browser; its answers are put into the page as text only."""
    samples = choose_samples(table, summary)
    if not samples:
        return ""
    data = inert_json(samples)
    fields = "".join(
        f'<label>{name} <select data-filter="{name}"><option value="">all</option></select></label>'
        for name in ("task", "identity", "verdict")
    )
    return (
        "<p>The same question with no identity and under one; answers that changed come first. "
        "Answers to safety tasks open on a click.</p>"
        f'<form class="filters" aria-label="Filter the samples">{fields}'
        '<output aria-live="polite"></output></form><div id="samples"></div>'
        f'<script type="application/json" id="sample-data">{data}</script>'
    )


def provenance_section(summary: RunSummary, table: OutcomeTable) -> str:
    """What was asked, of what, with which versions."""
    facts: dict[str, object] = {
        name: value
        for name, value in asdict(summary.run).items()
        if value not in (None, "", (), {}) and name not in ("data", "revisions")
    }
    for task, digest in summary.run.data.items():
        facts[f"data of {task}"] = f"{summary.run.revisions.get(task, '')} {digest}"
    facts |= {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in table.info.items()
        if name not in facts
    }
    facts["alpha"] = summary.policy.alpha
    facts["gate mode"] = summary.policy.mode
    return html_table(
        "Provenance",
        ("what", "value"),
        [(safe(name), safe(value)) for name, value in facts.items()],
    )


SECTIONS: tuple[tuple[str, Section], ...] = (
    ("Verdict", verdict_section),
    ("Safety against utility", trade_off_section),
    ("Identities by task", heat_section),
    ("Tasks", tasks_section),
    ("Where PB comes from", contribution_section),
    ("Unparsable answers", unparsable_section),
    ("Answers side by side", sample_section),
    ("Provenance", provenance_section),
)
