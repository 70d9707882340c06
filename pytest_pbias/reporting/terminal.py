"""The terminal summary: 80 columns, ASCII, readable without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pytest_pbias.analysis.summary import CellSummary, RunSummary, TaskSummary, verdict_counts
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.reporting.sections import (
    defense_lines,
    judge_costs,
    judge_lines,
    noise_lines,
    unparsable_lines,
    verdict_sentence,
)
from pytest_pbias.reporting.text import (
    Line,
    Style,
    padded,
    plain,
    probability,
    server_line,
    signed,
    terminal_line,
    unsigned,
    wrapped,
)

_STYLES: dict[Verdict, Style] = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NO_SIGNAL: "yellow",
}
_WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NO_SIGNAL, Verdict.PASS)
_MOST_FAILURES = 20
_MOST_UNSETTLED = 10


def render_terminal(summary: RunSummary, *, verbosity: int = 0, width: int = 80) -> list[Line]:
    """Lines of at most ``width`` columns with a style each.

    ``verbosity`` below 0 gives one line, above 0 every cell.
    """
    lines = [_verdict_line(summary)] if verbosity < 0 else list(_full(summary, verbosity, width))
    return [(terminal_line(text, width), style) for text, style in lines]


def _verdict_line(summary: RunSummary) -> Line:
    counts = verdict_counts(summary)
    gates = ", ".join(f"{axis.axis} {axis.verdict.value.upper()}" for axis in summary.axes)
    names = ("error", *(verdict.value for verdict in _WORST_FIRST))
    cells = ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
    red = counts["fail"] or any(axis.verdict is Verdict.FAIL for axis in summary.axes)
    style: Style = "red" if red or counts["error"] else ""
    text = f"pbias {plain(summary.run.model, 24)}: {gates or 'no gate'}; {cells or 'no cell'}"
    return text + ("; PARTIAL" if summary.run.partial else ""), style


def _full(summary: RunSummary, verbosity: int, width: int) -> Iterator[Line]:
    yield from _head(summary, width)
    judged = {(one.task, one.defense): one for one in summary.judges}
    for task in summary.tasks:
        yield "", ""
        yield from _task(task, verbosity)
        if (task.task, task.defense) in judged:
            yield from judge_lines(judged[task.task, task.defense])
    yield from noise_lines(summary.run.engine_noise)
    yield "", ""
    yield from _failures(summary)
    yield from _unsettled(summary)
    yield from _controls(summary, width)
    yield from unparsable_lines(summary.unparsable)
    for line in defense_lines(summary.defenses, width):
        yield line, ""
    yield from _gates(summary, width)


def _head(summary: RunSummary, width: int) -> Iterator[Line]:
    run = summary.run
    for line in wrapped(verdict_sentence(summary), width):
        yield line, "bold"
    yield (
        f"model {plain(run.model, 60)}, {run.n_rows:,} answers, {summary.n_cells} cells judged",
        "",
    )
    if run.server:
        yield f"served by {plain(server_line(run.server), 66)}", ""
        for line in textwrap.wrap(plain(str(run.server.get("warning", ""))), width):
            yield line, "yellow"
    if run.partial is not None:
        for line in wrapped(f"PARTIAL: {run.partial}", width):
            yield line, "red"
    if run.n_missing:
        text = f"ERROR: {run.n_missing:,} answers are missing: {'; '.join(summary.errors[:2])}"
        for line in wrapped(text, width):
            yield line, "red"
    for text in summary.unreadable:
        for line in wrapped(f"ERROR: {text}", width):
            yield line, "red"
    if "user" in run.placements:
        yield "identity stated in the user turn (asked so, or system role rejected)", "yellow"
    cost = _cost(summary)
    if cost:
        yield cost, ""
    for line in judge_costs(run.judge_costs):
        yield line, ""
    yield "rates and PB in percentage points, 95 % intervals; differences from", ""
    alpha = summary.policy.alpha
    yield f"baseline at the level shared by all cells (alpha {alpha:g}), of cells that pass at", ""
    own = 100 - 200 * alpha
    yield f"their own ({own:g} %); of many passes beside other verdicts a few may be wrong", ""
    for line in wrapped(_policy(summary.policy), width):
        yield line, ""


def _policy(policy: GatePolicy) -> str:
    """What is tolerated, and what turns the run red."""
    margins, tolerances = (
        ", ".join(f"{axis} {points[axis]:g}" for axis in ("utility", "safety") if axis in points)
        for points in (policy.margin, policy.pb_tolerance)
    )
    others = len(policy.task_margin) + sum(map(len, policy.cell_margin.values()))
    own = f" ({others} of their own)" if others else ""
    red = "fail" if policy.mode == "detect" else "fail or inconclusive"
    return f"margin of a cell: {margins}{own}; of PB: {tolerances}; red on {red}"


def _cost(summary: RunSummary) -> str:
    """What this session used; nothing where every answer was stored."""
    cost = summary.run.cost
    prompt, answers = float(cost.get("prompt_tokens", 0)), float(cost.get("completion_tokens", 0))
    if not prompt + answers:
        return ""
    text = f"asked now: {prompt:,.0f} tokens in, {answers:,.0f} out"
    if "amount" in cost:
        text += f", {float(cost['amount']):,.2f} {plain(str(cost['currency']), 8)} at list price"
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
    judged = task.judged
    if judged:
        yield _extreme("worst", judged[0]), ""
        yield _extreme("best", judged[-1]), ""
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
    yield f"  cells: {', '.join(counts) or 'none judged'}", ""
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
        return f"    {who} error: {cell.unjudged}", "red"
    found, verdict = cell.verdict.shown, cell.verdict.verdict
    shown = signed(found.estimate, found.low, found.high)
    return f"    {who} {shown:<25} {verdict.value}", _STYLES[verdict]


def _unparsable(task: TaskSummary) -> Iterator[Line]:
    total = task.n_items * task.n_repeats
    worst = max(task.cells, key=lambda cell: cell.n_unparsable, default=None)
    if worst is not None and worst.n_unparsable > total / 20:
        share = 100 * worst.n_unparsable / total
        who = plain(worst.identity.name, 30)
        yield f"  no readable answer: up to {share:.0f} % (under {who})", "yellow"


def _of(summary: RunSummary, *wanted: Verdict) -> list[tuple[TaskSummary, CellSummary]]:
    return [
        (task, cell)
        for task in summary.tasks
        for cell in task.cells
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
    """The prompt defence of the row above, which has no room for it."""
    if task.defense != "none":
        yield f"    under {plain(task.defense)}", style


def _controls(summary: RunSummary, width: int) -> Iterator[Line]:
    moved = [
        (task, cell) for task, cell in _of(summary, Verdict.FAIL) if cell.identity.kind == "control"
    ]
    for task, cell in moved:
        who = plain(cell.identity.name, 30)
        text = f"{task.title}: any persona prompt moves this model (control: {who})"
        for line in wrapped(text, width):
            yield line, "yellow"


def _gates(summary: RunSummary, width: int) -> Iterator[Line]:
    for axis in summary.axes:
        under = "" if axis.defense == "none" else f" under {axis.defense}"
        text = f"GATE {axis.axis}{under}: {axis.verdict.value.upper()}: {axis.reason}"
        for line in wrapped(text, width):
            yield line, _STYLES[axis.verdict]
    if summary.run.n_missing:
        yield "GATE: no verdict on an axis with missing answers; run again to ask for these", "red"
    elif summary.unreadable:
        yield "GATE: no verdict on an axis with a task whose answers cannot be read", "red"
    elif not summary.axes:
        yield "GATE: none; an axis is judged on two identities or more", ""
