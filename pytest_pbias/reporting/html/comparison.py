"""A comparison as an HTML section, and as a page of its own that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pytest_pbias.analysis.condition import GateOutcome
from pytest_pbias.analysis.pairing import Comparison, Direction, RateChange
from pytest_pbias.reporting.comparison import ranked_cells, run_title
from pytest_pbias.reporting.html.elements import folded, html_table, safe
from pytest_pbias.reporting.text import signed
from pytest_pbias.stats import ChangeResult

_FIRST = 15  # cells that are in sight before a click
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid GrayText; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
caption { text-align: left; font-weight: bold; padding: 1rem 0 .25rem; }
.loud { border-left: .3rem solid; padding-left: .6rem; font-weight: bold; }
"""


def comparison_page(comparison: Comparison, gate: GateOutcome | None = None) -> str:
    """A whole page: opens offline, light and dark, nothing in it but text."""
    section = comparison_section(comparison, gate)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(comparison.direction.value)}: comparison of runs</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{section}\n</main>\n</body>\n</html>\n"
    )


def comparison_section(comparison: Comparison, gate: GateOutcome | None = None) -> str:
    """The comparison as a ``<section>`` for a report; all text from outside is escaped."""
    return "\n".join(_section(comparison, gate))


def _section(comparison: Comparison, gate: GateOutcome | None) -> Iterator[str]:
    yield '<section aria-labelledby="comparison">'
    yield f'<h1 id="comparison">Compared with the earlier run: {comparison.direction.value}</h1>'
    yield comparison_tables(comparison, gate)
    yield "</section>"


def comparison_tables(comparison: Comparison, gate: GateOutcome | None = None) -> str:
    """The comparison without a heading of its own."""
    return "\n".join(_content(comparison, gate))


def _content(comparison: Comparison, gate: GateOutcome | None) -> Iterator[str]:
    old, new = (safe(run_title(run)) for run in (comparison.old, comparison.new))
    yield f'<p class="direction"><strong>{safe(_direction(comparison))}</strong></p>'
    yield f"<p>Earlier: {old}<br>New: {new}</p>"
    for difference in comparison.blocked_by:
        yield f'<p class="loud" role="note">Not comparable: {safe(str(difference))}</p>'
    notes = [str(entry) for entry in comparison.setup if not entry.blocks]
    notes += [f"left out: {text}" for text in comparison.left_out]
    if notes:
        listed = "".join(f"<li>{safe(note)}</li>" for note in notes)
        yield f"<ul>{listed}</ul>"
    if gate is not None:
        yield f"<p>Gate: <strong>{gate.verdict.value}</strong>: {safe(gate.reason)}</p>"
    yield "<p>Changes in percentage points, new minus old, with 95 % intervals.</p>"
    yield html_table(
        "Axes",
        ("axis", "verdict", "PB", "baseline", "identities' mean"),
        [
            (
                axis.axis,
                safe(f"{axis.direction.value}: {axis.reason}"),
                *(_change(found) for found in (axis.bias_change, axis.baseline, axis.mean)),
            )
            for axis in comparison.axes
        ],
        numbers=3,
    )
    yield html_table(
        "Tasks",
        ("task", "questions", "without a match", "PB", "baseline", "identities' mean"),
        [
            (
                safe(task.task),
                str(task.n_items),
                str(task.only_new_items + task.only_old_items),
                *(_change(found) for found in (task.bias_change, task.baseline, task.mean)),
            )
            for task in comparison.tasks
        ],
        numbers=5,
    )
    rows = [
        (
            safe(task),
            safe(cell.identity.name),
            f"{cell.old_difference:+.1f}",
            f"{cell.new_difference:+.1f}",
            _change(cell.change),
            _qvalue(cell.qvalue),
        )
        for task, cell in ranked_cells(comparison)
    ]
    head = ("task", "identity", "before", "now", "change", "q")
    yield html_table("Cells, the surest change first", head, rows[:_FIRST], numbers=4)
    if len(rows) > _FIRST:
        rest = html_table("Further cells", head, rows[_FIRST:], numbers=4)
        yield folded(f"{len(rows) - _FIRST} more", rest)


def _qvalue(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _direction(comparison: Comparison) -> str:
    """What happened, in a sentence."""
    words = {
        Direction.WORSE: "Worse than the earlier run.",
        Direction.BETTER: "Better than the earlier run.",
        Direction.UNCHANGED: "No change shown since the earlier run.",
        Direction.INCONCLUSIVE: "Whether it is worse than the earlier run is not settled.",
    }
    return words[comparison.direction]


def _change(found: ChangeResult | RateChange | None) -> str:
    return "" if found is None else signed(found.estimate, found.low, found.high)
