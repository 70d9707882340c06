"""The terminal summary: 80 columns, ASCII, readable without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pytest_pbias.analysis.across_runs.changes import (
    CellChange,
    Comparison,
    Direction,
    TaskComparison,
)
from pytest_pbias.analysis.across_runs.comparison import ComparedRun
from pytest_pbias.analysis.across_runs.condition import GateOutcome
from pytest_pbias.analysis.summary import (
    CellSummary,
    RunSummary,
    TaskSummary,
    policy_notes,
    verdict_counts,
)
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.gate import WORST_FIRST, GatePolicy, Verdict, strata_claim
from pytest_pbias.reporting.comparison import ranked_cells, run_title
from pytest_pbias.reporting.findings import findings
from pytest_pbias.reporting.sections import control_section, verdict_sentence
from pytest_pbias.reporting.tables import (
    Badge,
    Bullets,
    Cell,
    Column,
    Heading,
    Interval,
    Note,
    Section,
    Severity,
    Shift,
    Table,
    severity,
    words,
)
from pytest_pbias.reporting.text import (
    Line,
    Style,
    application_line,
    columns,
    padded,
    plain,
    probability,
    server_line,
    signed,
    terminal_line,
    unsigned,
    wrapped,
)
from pytest_pbias.tasks.base import AXES

_COLOURS: Mapping[Severity, Style] = {
    "": "",
    "good": "green",
    "bad": "red",
    "open": "yellow",
    "strong": "bold",
}
_MOST_FAILURES = 20
_MOST_UNSETTLED = 10
_MOST_CHANGED = 10
_NARROWEST = 12  # columns that a name keeps beside figures
_WIDTH = 80


def _colour(word: str) -> Style:
    """How a verdict or direction is shown."""
    return _COLOURS[severity(word)]


def render_terminal(summary: RunSummary, *, verbosity: int = 0, width: int = 80) -> list[Line]:
    """Lines of at most ``width`` columns with a style each.

    ``verbosity`` below 0 gives one line, above 0 every cell.
    """
    lines = [_verdict_line(summary)] if verbosity < 0 else list(_full(summary, verbosity, width))
    return [(terminal_line(text, width), style) for text, style in lines]


def _verdict_line(summary: RunSummary) -> Line:
    counts = verdict_counts(summary)
    gates = ", ".join(f"{axis.title} {axis.verdict.value.upper()}" for axis in summary.axes)
    names = ("error", *(verdict.value for verdict in WORST_FIRST))
    cells = ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
    red = counts["fail"] or any(axis.verdict is Verdict.FAIL for axis in summary.axes)
    style: Style = "red" if red or counts["error"] else ""
    text = f"pbias {plain(summary.run.model, 24)}: {gates or 'no gate'}; {cells or 'no cell'}"
    return text + ("; PARTIAL" if summary.run.partial else ""), style


def _full(summary: RunSummary, verbosity: int, width: int) -> Iterator[Line]:
    yield from _head(summary, width)
    anybody = section_lines(control_section(summary), width)
    yield from [("", ""), *anybody] if anybody else []
    for task in summary.tasks:
        yield "", ""
        yield from _task(task, verbosity)
    yield "", ""
    yield from _failures(summary)
    yield from _unsettled(summary)
    sections = [section for section in findings(summary) if section.brief()]
    for section in sections:
        yield from section_lines(section, width)
    if any(section.lead for section in sections):
        yield "", ""
    yield from _gates(summary, width)


def _head(summary: RunSummary, width: int) -> Iterator[Line]:
    run = summary.run
    for line in wrapped(verdict_sentence(summary), width):
        yield line, "bold"
    yield (
        f"model {plain(run.model, 60)}, {run.n_rows:,} answers, {summary.n_cells} cells decided",
        "",
    )
    if run.server:
        yield f"served by {plain(server_line(run.server), 66)}", ""
        for line in textwrap.wrap(plain(run.server.warning or ""), width):
            yield line, "yellow"
    if run.application:
        for line in wrapped(application_line(run.application), width):
            yield line, ""
    if run.partial is not None:
        for line in wrapped(f"PARTIAL: {run.partial}", width):
            yield line, "red"
    if run.n_missing:
        text = f"ERROR: {run.n_missing:,} answers are missing: {'; '.join(summary.errors[:2])}"
        for line in wrapped(text, width):
            yield line, "red"
    for text in run.notes:
        for line in wrapped(f"warning: {text}", width):
            yield line, "yellow"
    for text in summary.unreadable:
        for line in wrapped(f"ERROR: {text}", width):
            yield line, "red"
    if "user" in run.placements:
        yield "identity stated in the user turn (asked so, or system role rejected)", "yellow"
    cost = _cost(summary)
    if cost:
        yield cost, ""
    for name, used in run.judge_costs.items():
        yield f"judge {plain(name, 24)}: {_used(used)}", ""
    yield "rates and PB in percentage points, 95 % intervals; differences from", ""
    alpha = summary.policy.alpha
    whom = "baseline" if summary.policy.reference == "baseline" else "reference"
    yield f"{whom} at the level shared by all cells (alpha {alpha:g}), of cells that pass at", ""
    own = 100 - 200 * alpha
    yield f"their own ({own:g} %); of many passes beside other verdicts a few may be wrong", ""
    for line in wrapped(_policy(summary.policy), width):
        yield line, ""
    for note in policy_notes(summary):
        for line in wrapped(note, width):
            yield line, ""


def _policy(policy: GatePolicy) -> str:
    """What is tolerated, and what turns the run red."""
    margins, tolerances = (
        ", ".join(f"{axis} {points[axis]:g}" for axis in AXES if axis in points)
        for points in (policy.margin, policy.pb_tolerance)
    )
    others = len(policy.task_margin) + sum(map(len, policy.cell_margin.values()))
    own = f" ({others} of their own)" if others else ""
    red = "fail" if policy.mode == "detect" else "fail or inconclusive"
    return f"margin of a cell: {margins}{own}; of PB: {tolerances}; red on {red}"


def _cost(summary: RunSummary) -> str:
    """What this session used; nothing where every answer was stored."""
    cost = summary.run.cost
    if cost is None or not (cost.prompt_tokens + cost.completion_tokens or cost.amount):
        return ""
    listed = cost.amount is not None and summary.run.application is None
    return f"asked now: {_used(cost)}" + (" at list price" if listed else "")


def _used(cost: Spent) -> str:
    text = f"{cost.prompt_tokens:,} tokens in, {cost.completion_tokens:,} out"
    if cost.amount is not None:
        text += f", {cost.amount:,.2f} {plain(cost.currency or '', 8)}"
    return text


def _task(task: TaskSummary, verbosity: int) -> Iterator[Line]:
    repeats = f" x {task.n_repeats} repeats" if task.n_repeats > 1 else ""
    yield f"{task.title} ({task.axis}, {task.n_items} items{repeats})", "bold"
    if task.baseline is not None:
        base = task.baseline.rate
        shown = f"  baseline {unsigned(base.estimate, base.low, base.high)}"
        mean = "" if task.mean_rate is None else f"; identities' mean {task.mean_rate:.1f}"
        yield shown + mean, ""
        if task.baseline.verdict is Verdict.NO_SIGNAL:
            floor = 100 * task.baseline.floor
            yield f"  no signal: the baseline is not clear of chance ({floor:.1f})", "yellow"
        elif task.count(Verdict.NO_SIGNAL.value):
            yield "  no signal where a rate is too low to fall by more than the margin", "yellow"
    people = [cell for cell in task.decided if cell.identity.kind == "identity"]
    if people:
        yield _extreme("worst", people[0]), ""
        yield _extreme("best", people[-1]), ""
    if task.bias is not None:
        bias = task.bias
        yield (
            f"  PB raw {bias.raw:.1f} (noise alone {bias.noise_floor:.1f}), "
            f"debiased {unsigned(bias.estimate, bias.low, bias.high)}",
            "",
        )
    if task.pvalue is not None:
        yield f"  identities alike? permutation {probability(task.pvalue)}", ""
    counts = [f"{task.count(v.value)} {v.value}" for v in Verdict if task.count(v.value)]
    broken = sum(cell.verdict is None for cell in task.cells)
    counts += [f"{broken} error"] if broken else []
    yield f"  cells: {', '.join(counts) or 'none decided'}", ""
    if task.warned:
        only = "1 cluster" if task.n_clusters == 1 else f"{task.n_clusters} clusters"
        yield f"  warning: {only} only: the verdicts hold for these, not for others", "yellow"
        for note in task.cluster_notes:
            yield f"    {note}", "yellow"
    yield from _unparsable(task)
    if verbosity > 0:
        for cell in sorted(task.cells, key=lambda cell: cell.identity.name):
            yield _cell_line(cell)


def _extreme(name: str, cell: CellSummary) -> str:
    assert cell.verdict is not None
    found = cell.verdict.shown
    who = padded(cell.identity.name, 30)
    return f"  {name:<5} {who} {signed(found.estimate, found.low, found.high)}"


def _cell_line(cell: CellSummary) -> Line:
    who = padded(cell.identity.name, 30)
    if cell.verdict is None:
        return f"    {who} error: {cell.undecided}", "red"
    found, verdict = cell.verdict.shown, cell.verdict.verdict
    shown = signed(found.estimate, found.low, found.high)
    return f"    {who} {shown:<25} {verdict.value}", _colour(verdict.value)


def _unparsable(task: TaskSummary) -> Iterator[Line]:
    def asked(cell: CellSummary) -> int:
        return max(1, cell.n_asked * task.n_repeats)

    worst = max(task.cells, key=lambda cell: cell.n_unparsable / asked(cell), default=None)
    total = 1 if worst is None else asked(worst)
    if worst is not None and worst.n_unparsable > total / 20:
        share = 100 * worst.n_unparsable / total
        who = plain(worst.identity.name, 30)
        yield f"  no readable answer: up to {share:.0f} % (under {who})", "yellow"


def _of(summary: RunSummary, *wanted: Verdict) -> list[tuple[TaskSummary, CellSummary]]:
    return [
        (task, cell)
        for task, cell in summary.cells()
        if cell.verdict is not None and cell.verdict.verdict in wanted
    ]


def _failures(summary: RunSummary) -> Iterator[Line]:
    failed = _of(summary, Verdict.FAIL)
    if not failed:
        return
    failed.sort(key=lambda pair: -abs(_estimate(pair[1])))
    yield f"FAILED cells, worst first ({len(failed)})", "red"
    for task, cell in failed[:_MOST_FAILURES]:
        assert cell.verdict is not None
        found = cell.verdict.difference
        shown = signed(found.estimate, found.low, found.high)
        yield f"  {_name(task, cell)} {shown}", "red"
        yield from _under(task, "red")
    if len(failed) > _MOST_FAILURES:
        yield f"  and {len(failed) - _MOST_FAILURES} more (-v shows every cell)", "red"


def _estimate(cell: CellSummary) -> float:
    return cell.verdict.difference.estimate if cell.verdict is not None else 0.0


def _unsettled(summary: RunSummary) -> Iterator[Line]:
    open_cells = _of(summary, Verdict.INCONCLUSIVE)
    if not open_cells:
        return
    yield (
        f"INCONCLUSIVE cells ({len(open_cells)}), and the items a task that would settle each",
        "yellow",
    )
    open_cells.sort(key=lambda pair: -abs(_estimate(pair[1])))
    for task, cell in open_cells[:_MOST_UNSETTLED]:
        assert cell.verdict is not None
        found, needed = cell.verdict.difference, cell.verdict.needed_items
        shown = signed(found.estimate, found.low, found.high)
        enough = "too many" if needed is None or needed > 1_000_000 else f"{needed:,}"
        if task.baseline is not None and task.baseline.verdict is Verdict.NO_SIGNAL:
            enough = "no signal"
        yield f"  {_name(task, cell)} {shown:<22} {enough:>9}", "yellow"
        yield from _under(task, "yellow")
    if len(open_cells) > _MOST_UNSETTLED:
        yield f"  and {len(open_cells) - _MOST_UNSETTLED} more (-v shows every cell)", "yellow"


def _name(task: TaskSummary, cell: CellSummary) -> str:
    return f"{padded(task.task, 13)} {padded(cell.identity.name, 30)}"


def _under(task: TaskSummary, style: Style) -> Iterator[Line]:
    """The prompt defense of the row above, which has no room for it."""
    if task.defense != "none":
        yield f"    under {plain(task.defense)}", style


def _gates(summary: RunSummary, width: int) -> Iterator[Line]:
    for axis in summary.axes:
        name = axis.title
        text = f"GATE {name}: {axis.verdict.value.upper()}: {axis.reason}"
        for line in wrapped(text, width):
            yield line, _colour(axis.verdict.value)
    if summary.run.n_missing:
        cure = "" if summary.run.imported else "; run again to ask for these"
        yield f"GATE: no verdict on an axis with missing answers{cure}", "red"
    elif summary.unreadable:
        yield "GATE: no verdict on an axis with a task whose answers cannot be read", "red"
    elif not summary.axes:
        yield "GATE: none; an axis is decided on two identities or more", ""


def section_lines(section: Section, width: int = 80) -> list[Line]:
    """A section without its details, in lines of at most ``width`` columns; often none.

    Its lead stands in place of its title; without one, its sentences stand alone.
    """
    return [(terminal_line(text, width), style) for text, style in _section(section, width)]


def _section(section: Section, width: int) -> Iterator[Line]:
    blocks = section.brief()
    if not blocks:
        return
    margin = ""
    if section.lead:
        margin = "  "
        yield "", ""
        for line in wrapped(section.lead, width):
            yield line, "bold"
    for block in blocks:
        match block:
            case Note(text, meant):
                for line in wrapped(margin + text, width):
                    yield line, _COLOURS[meant]
            case Bullets(texts):
                for text in texts:
                    yield from ((line, "") for line in wrapped(f"{margin}- {text}", width))
            case Heading(text):
                yield from ((line, "bold") for line in wrapped(margin + text, width))
            case Table():
                yield from _table(block, len(margin), width)


def _table(table: Table, margin: int, width: int) -> Iterator[Line]:
    """Aligned columns, or a sentence a row where they do not fit; groups have their own line."""
    if table.caption:
        yield from ((line, "") for line in wrapped(" " * margin + table.caption, width))
    named = 1 if table.grouped else 0
    indent = margin + 2 * named
    heads = [(place, column) for place, column in enumerate(table.heads) if not column.detail]
    figures = [one for one in heads[named:] if not one[1].sentence]
    sentences = [one for one in heads[named:] if one[1].sentence]
    titles = [column.title for _, column in figures]
    shown = table.rows[: table.first]
    rows = [[_cell(row[place], column) for place, column in figures] for row in shown]
    widths = _widths([titles, *rows], width - indent)
    if widths:
        yield _aligned(titles, widths, indent), ""
    group: Cell | None = None
    for row, cells in zip(shown, rows, strict=True):
        if named and row[0] != group:
            group = row[0]
            yield " " * margin + plain(words(group), width - margin), ""
        style = _row_colour(row)
        if widths:
            yield _aligned(cells, widths, indent), style
        else:
            told = ", ".join(map(" ".join, zip(titles[1:], cells[1:], strict=True)))
            text = " " * indent + f"{cells[0]}: {told}"
            yield from ((line, style) for line in wrapped(text, width))
        for place, column in sentences:
            text = " " * (indent + 2) + _cell(row[place], column)
            yield from ((line, style) for line in wrapped(text, width) if line.strip())
    if len(rows) < len(table.rows):
        yield f"{' ' * margin}and {len(table.rows) - len(rows)} more", ""


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """The columns' widths, of which the first gives way to the others; none where too little."""
    first, *others = (max(columns(plain(text)) for text in one) for one in zip(*lines, strict=True))
    left = room - sum(others) - 2 * len(others)
    return [min(first, left), *others] if left >= min(first, _NARROWEST) else []


def _aligned(cells: Sequence[str], widths: Sequence[int], indent: int) -> str:
    return " " * indent + "  ".join(map(padded, cells, widths)).rstrip()


def _cell(cell: Cell, column: Column) -> str:
    match cell:
        case Badge(word, reason):
            return f"{word.upper()}: {reason}" if reason else word
        case Interval() if column.brief:
            return f"{cell.estimate:.1f}"
        case Shift(before, after):
            return f"{before:.1f} -> {after:.1f}"
    return words(cell)


def _row_colour(row: Sequence[Cell]) -> Style:
    return next((_colour(cell.word) for cell in row if isinstance(cell, Badge)), "")


def comparison_terminal(
    comparison: Comparison, gate: GateOutcome | None = None, *, verbosity: int = 0
) -> list[Line]:
    """Lines of at most 80 columns; ``verbosity`` below 0 gives one line, above 0 every cell."""
    head: Line = (
        f"{comparison.direction.value.upper()} than the earlier run"
        if comparison.direction in (Direction.BETTER, Direction.WORSE)
        else comparison.direction.value.upper(),
        _colour(comparison.direction.value),
    )
    if verbosity < 0:
        return [(f"{head[0]}; NOT COMPARABLE", "red")] if comparison.blocked_by else [head]
    lines = [head, *_comparison(comparison, gate, verbosity)]
    return [(terminal_line(text, _WIDTH), style) for text, style in lines]


def _comparison(comparison: Comparison, gate: GateOutcome | None, verbosity: int) -> Iterator[Line]:
    for name, run in (("old", comparison.old), ("new", comparison.new)):
        yield plain(f"  {name}: {run_title(run)}", _WIDTH), ""
    for difference in comparison.setup:
        loud = "NOT COMPARABLE" if difference.blocks else "note"
        yield from _wrapped(f"{loud}: {difference}", "red" if difference.blocks else "yellow")
    for text in comparison.left_out:
        yield from _wrapped(f"left out: {text}", "yellow")
    if comparison.strata:
        yield from _wrapped(f"note: {strata_claim(comparison.strata)}", "")
    yield "changes in points, new minus old, on the questions that both asked", ""
    for axis in comparison.axes:
        yield "", ""
        yield f"{axis.title}: {axis.direction.value}", _colour(axis.direction.value)
        yield from _wrapped(f"  {axis.reason}", "")
        if axis.bias_change and axis.old_bias and axis.new_bias:
            old, new, found = axis.old_bias.estimate, axis.new_bias.estimate, axis.bias_change
            shown = signed(found.estimate, found.low, found.high)
            yield f"  PB               {old:5.1f} -> {new:5.1f}  {shown}", ""
        for name, rate in (("baseline", axis.baseline), ("identities' mean", axis.mean)):
            shown = signed(rate.estimate, rate.low, rate.high)
            yield f"  {name:<16} {rate.old:5.1f} -> {rate.new:5.1f}  {shown}", ""
    if joint := comparison.joint:
        old, new, found = joint.old_bias.estimate, joint.new_bias.estimate, joint.bias_change
        yield "", ""
        yield from _wrapped(f"joint PB of {joint.title}", "bold")
        shown = signed(found.estimate, found.low, found.high)
        yield f"  PB               {old:5.1f} -> {new:5.1f}  {shown}", ""
    yield "", ""
    for task in comparison.tasks:
        yield from _compared_task(task)
    yield from _changed_cells(comparison, verbosity)
    if gate is not None:
        text = f"COMPARE: {gate.verdict.value.upper()}: {gate.reason}"
        yield from _wrapped(text, _colour(gate.verdict.value))


def compared_lines(run: ComparedRun, verbosity: int) -> list[Line]:
    """The comparison as a part of a run's own report."""
    if run.comparison is None:
        return [(line, "yellow") for line in wrapped(run.problem)]
    return comparison_terminal(run.comparison, run.gate, verbosity=verbosity)


def _wrapped(text: str, style: Style) -> Iterator[Line]:
    for line in wrapped(text, _WIDTH):
        yield line, style


def _compared_task(task: TaskComparison) -> Iterator[Line]:
    unmatched = ""
    if task.only_new_items or task.only_old_items:
        unmatched = f", without a match {task.only_new_items} new {task.only_old_items} old"
    yield f"{task.task} ({task.n_items} questions matched{unmatched})", "bold"
    if task.bias_change is not None:
        found = task.bias_change
        yield f"  PB {signed(found.estimate, found.low, found.high)}", ""
    for names, text in ((task.only_new, "new"), (task.only_old, "earlier")):
        if names:
            yield from _wrapped(f"  only in the {text} run: {', '.join(names)}", "yellow")


def _qvalue(cell: CellChange) -> str:
    return probability(cell.qvalue).replace("p", "q", 1)


def _changed_cells(comparison: Comparison, verbosity: int) -> Iterator[Line]:
    ranked = ranked_cells(comparison)
    shown = ranked if verbosity > 0 else [pair for pair in ranked if pair[1].qvalue <= 0.05]
    yield "", ""
    moved = sum(cell.qvalue <= 0.05 for _, cell in ranked)
    yield f"cells that changed (q <= 0.05): {moved} of {len(ranked)}", ""
    for task, cell in shown if verbosity > 0 else shown[:_MOST_CHANGED]:
        found = cell.change
        style: Style = "red" if abs(cell.new_difference) > abs(cell.old_difference) else "green"
        yield (
            f"  {padded(task, 14)} {padded(cell.identity.name, 24)} "
            f"{cell.old_difference:+6.1f} -> {cell.new_difference:+6.1f}"
            f"  {found.estimate:+.1f}, {_qvalue(cell)}",
            style if cell.qvalue <= 0.05 else "",
        )
    if verbosity <= 0 and len(shown) > _MOST_CHANGED:
        yield f"  and {len(shown) - _MOST_CHANGED} more (-v shows every cell)", ""
