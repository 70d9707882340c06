"""The first section: the verdict in a sentence, the gates, and every cell that does not pass."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.gate import AxisVerdict, CellVerdict, Verdict
from pytest_pbias.reporting.html.content import RunContent
from pytest_pbias.reporting.html.elements import badge, folded, html_table, safe
from pytest_pbias.reporting.sections import verdict_sentence
from pytest_pbias.reporting.text import signed, unsigned

_OPEN = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NO_SIGNAL)
_FIRST = 12  # cells that are in sight before a click
_FEASIBLE = 1_000_000


def verdict_section(run: RunContent) -> str:
    """What a reader with ten seconds needs, and where to look next."""
    summary = run.summary
    loud = [f"PARTIAL: {summary.run.partial}"] if summary.run.partial else []
    loud += dict.fromkeys(axis.warning for axis in summary.axes if axis.warning)
    notes = "".join(f'<p class="loud">{safe(text)}</p>' for text in loud)
    says = f'<p class="verdict">{safe(verdict_sentence(summary))}</p>'
    return f"{says}{notes}{_broken(summary)}{_gates(summary)}{_open_cells(summary)}"


def _gates(summary: RunSummary) -> str:
    rows = [
        (
            safe(f"{axis.axis}" + ("" if axis.defense == "none" else f" under {axis.defense}")),
            badge(axis.verdict.value),
            unsigned(axis.bias.estimate, axis.bias.low, axis.bias.high) if axis.bias else "",
            f"{axis.tolerance:g}",
            f"{axis.bias.raw:.1f}" if axis.bias else "",
            f"{axis.bias.noise_floor:.1f}" if axis.bias else "",
            f"{axis.mean_rate:.1f}",
            f"{axis.baseline_rate:.1f}",
            items_to_settle(axis),
        )
        for axis in summary.axes
    ]
    head = ("axis", "verdict", "PB debiased (interval)", "tolerance", "PB raw", "noise floor",
            "mean rate", "baseline", "items to settle")  # fmt: skip
    return html_table("Gates, percentage points", head, rows) if rows else ""


def _broken(summary: RunSummary) -> str:
    """The cells without a verdict, and why answers are missing."""
    rows = [
        (
            safe(cell.identity.name),
            safe(task.title),
            badge("error"),
            cell.unjudged,
        )
        for task in summary.tasks
        for cell in task.cells
        if cell.verdict is None
    ]
    if not rows:
        return ""
    why = [*summary.unreadable[:5], *summary.errors[:5]]
    reasons = "".join(f"<li>{safe(text)}</li>" for text in why)
    again = "Run again to ask for what is missing alone. " if summary.run.n_missing else ""
    return f"<p>{again}Why it is:</p><ul>{reasons}</ul>" + _in_sight(
        "Cells without a verdict", ("identity", "task", "verdict", "why"), rows
    )


def _open_cells(summary: RunSummary) -> str:
    """The cells that do not pass, those that fail first, the furthest from baseline first."""
    found = [
        (cell.verdict, task, cell)
        for task in summary.tasks
        for cell in task.judged
        if cell.verdict is not None and cell.verdict.verdict in _OPEN
    ]
    found.sort(key=lambda row: (_OPEN.index(row[0].verdict), -abs(row[0].difference.estimate)))
    rows = [
        (
            safe(cell.identity.name),
            safe(task.title),
            task.axis,
            badge(verdict.verdict.value),
            signed(*interval(verdict)),
            f"{verdict.margin:g}",
            items_to_settle(verdict),
        )
        for verdict, task, cell in found
    ]
    if not rows:
        return ""
    head = ("identity", "task", "axis", "verdict", "difference (interval)", "margin",
            "items to settle")  # fmt: skip
    note = (
        "<p>Intervals hold for all cells at once: a cell fails where its whole interval is beyond "
        f"the margin. It passes where its own {100 - 200 * summary.policy.alpha:g} % interval is "
        "within it: a pass is a claim about its cell. That every cell passes is wrong no more "
        "often than the worst of them; of passes among other verdicts some may be wrong.</p>"
    )
    return note + _in_sight("Cells that do not pass, furthest from baseline first", head, rows)


def _in_sight(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of the first rows; the others open on a click."""
    top = html_table(caption, head, rows[:_FIRST])
    if len(rows) <= _FIRST:
        return top
    rest = html_table(f"{caption}: the others", head, rows[_FIRST:])
    return top + folded(f"{len(rows) - _FIRST} more", rest)


def interval(verdict: CellVerdict) -> tuple[float, float, float]:
    """Estimate and limits of a cell's difference, percentage points, as its verdict reads them."""
    found = verdict.shown
    return found.estimate, found.low, found.high


def items_to_settle(verdict: CellVerdict | AxisVerdict) -> str:
    """How many items would settle an inconclusive verdict; nothing where it is settled."""
    if verdict.verdict is not Verdict.INCONCLUSIVE:
        return ""
    needed = verdict.needed_items
    return "no feasible number" if needed is None or needed > _FEASIBLE else f"{needed:,}"
