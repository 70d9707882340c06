"""A comparison as an HTML section, and as a page of its own that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pytest_pbias.reporting.comparing.expression import GateOutcome
from pytest_pbias.reporting.comparing.render import ranked_cells, run_title
from pytest_pbias.reporting.comparing.result import Comparison, RateChange
from pytest_pbias.reporting.text import plain, signed
from pytest_pbias.stats import ChangeResult

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
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
    old, new = (_safe(run_title(run)) for run in (comparison.old, comparison.new))
    yield '<section aria-labelledby="comparison">'
    yield f'<h1 id="comparison">Compared with the earlier run: {comparison.direction.value}</h1>'
    yield f"<p>Earlier: {old}<br>New: {new}</p>"
    for difference in comparison.blocked_by:
        yield f'<p class="loud" role="note">Not comparable: {_safe(str(difference))}</p>'
    notes = [str(entry) for entry in comparison.setup if not entry.blocks]
    notes += [f"left out: {text}" for text in comparison.left_out]
    if notes:
        listed = "".join(f"<li>{_safe(note)}</li>" for note in notes)
        yield f"<ul>{listed}</ul>"
    if gate is not None:
        yield f"<p>Gate: <strong>{gate.verdict.value}</strong>: {_safe(gate.reason)}</p>"
    yield "<p>Changes in percentage points, new minus old, with 95 % intervals.</p>"
    yield from _table(
        "Axes",
        ("axis", "verdict", "PB", "baseline", "identities' mean"),
        [
            (
                axis.axis,
                f"{axis.direction.value}: {axis.reason}",
                *(_change(found) for found in (axis.bias_change, axis.baseline, axis.mean)),
            )
            for axis in comparison.axes
        ],
        numbers=3,
    )
    yield from _table(
        "Tasks",
        ("task", "questions", "without a match", "PB", "baseline", "identities' mean"),
        [
            (
                task.task,
                str(task.n_items),
                str(task.only_new_items + task.only_old_items),
                *(_change(found) for found in (task.bias_change, task.baseline, task.mean)),
            )
            for task in comparison.tasks
        ],
        numbers=5,
    )
    yield from _table(
        "Cells, the surest change first",
        ("task", "identity", "before", "now", "change", "q"),
        [
            (
                task,
                cell.identity.name,
                f"{cell.old_difference:+.1f}",
                f"{cell.new_difference:+.1f}",
                _change(cell.change),
                f"{cell.qvalue:.3f}",
            )
            for task, cell in ranked_cells(comparison)
        ],
        numbers=4,
    )
    yield "</section>"


def _change(found: ChangeResult | RateChange | None) -> str:
    return "" if found is None else signed(found.estimate, found.low, found.high)


def _table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int
) -> Iterator[str]:
    """A table whose last ``numbers`` columns are figures; the first column heads its row."""
    yield f"<table>\n<caption>{escape(caption)}</caption>"
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    yield f"<thead><tr>{columns}</tr></thead>"
    yield "<tbody>"
    for first, *rest in rows:
        cells = "".join(
            f'<td class="number">{_safe(text)}</td>'
            if position >= len(rest) - numbers
            else f"<td>{_safe(text)}</td>"
            for position, text in enumerate(rest)
        )
        yield f'<tr><th scope="row">{_safe(first)}</th>{cells}</tr>'
    yield "</tbody>\n</table>"


def _safe(text: str) -> str:
    return escape(plain(text))
