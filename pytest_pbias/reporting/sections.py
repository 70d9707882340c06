"""The sections of what was decided: verdict, gates, open cells, rates and PB, the controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_pbias.analysis.summary import (
    RunSummary,
    TaskSummary,
    policy_notes,
    verdict_counts,
)
from pytest_pbias.gate import WORST_FIRST, AxisVerdict, CellVerdict, Verdict
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Bullets,
    Cell,
    Column,
    Note,
    Section,
    Table,
    interval,
)
from pytest_pbias.reporting.text import application_line, probability, server_line

_OPEN = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NO_SIGNAL)
_IN_SIGHT = 12  # cells before a click
_FEASIBLE = 1_000_000
_MOST_REASONS = 5


def difference(verdict: CellVerdict) -> Cell:
    """A cell's difference with the limits that its verdict is read off."""
    return interval(verdict.shown, difference=True)


def compared_with(verdicts: Iterable[CellVerdict]) -> str:
    """What cells were compared with, in words, for the title of their differences."""
    found = dict.fromkeys(verdict.reference for verdict in verdicts)
    others = [words for words in found if words != "baseline"]
    if not others:
        return "the baseline"
    return " or ".join(others) + (", else the baseline" if "baseline" in found else "")


def verdict_sentence(summary: RunSummary) -> str:
    """What a reader with ten seconds needs to know; missing answers before anything else."""
    counts = verdict_counts(summary)
    run, n_cells = summary.run, summary.n_cells
    failed = list(dict.fromkeys(a.title for a in summary.axes if a.verdict is Verdict.FAIL))
    waiting = {
        says: [axis.title for axis in summary.axes if axis.verdict is verdict]
        for verdict, says in (
            (Verdict.INCONCLUSIVE, "needs more questions"),
            (Verdict.NO_SIGNAL, "cannot show a difference"),
        )
    }
    biased = _joined(
        (f"{counts['fail']} of {n_cells} cells fail", bool(counts["fail"])),
        (f"PB over {_listed(failed)} is above its tolerance", bool(failed)),
    )
    unsettled = _joined(
        (f"{counts['inconclusive']} of {n_cells} cells need more questions",
         bool(counts["inconclusive"])),
        (f"{counts['no signal']} of {n_cells} cells cannot show a difference",
         bool(counts["no signal"])),
    )  # fmt: skip
    if run.n_missing or counts["error"]:
        missing = _joined(
            (f"{run.n_missing:,} of {run.n_rows:,} answers are missing", bool(run.n_missing)),
            (f"{counts['error']} of {n_cells} cells have no readable answer", not run.n_missing),
        )
        says = f"No verdict on everything: {missing}"
        return f"{says}; {biased}." if biased else f"{says}."
    if biased:
        return f"Biased beyond the margins: {biased}."
    if unsettled:
        return f"Not settled: {unsettled}."
    if any(waiting.values()):
        open_axes = _joined(
            *((f"PB over {_listed(list(dict.fromkeys(axes)))} {says}", bool(axes))
              for says, axes in waiting.items())
        )  # fmt: skip
        return f"Not settled: every cell passes, but {open_axes}."
    if not n_cells:
        return "Nothing was decided."
    return f"No difference beyond the margins in any of {n_cells} cells."


def _listed(names: Sequence[str]) -> str:
    """Names as in a sentence: a, b and c."""
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _joined(*clauses: tuple[str, bool]) -> str:
    return ", and ".join(text for text, holds in clauses if holds)


def verdict_section(summary: RunSummary) -> Section:
    """What a reader with ten seconds needs, and where to look next."""
    return Section(
        "Verdict",
        (
            Note(verdict_sentence(summary), "strong", name="verdict"),
            *_broken(summary),
            *control_section(summary).blocks,
            *_gates(summary),
            *_open_cells(summary),
        ),
    )


def _broken(summary: RunSummary) -> Iterator[Block]:
    """What is missing or cannot be read, the cells without a verdict, and why."""
    run = summary.run
    if run.partial is not None:
        yield Note(f"PARTIAL: {run.partial}", "bad")
    if run.n_missing:
        missing = f"{run.n_missing:,} of {run.n_rows:,} answers are missing"
        cure = "" if run.imported else "; run again to ask for these alone"
        yield Note(f"Error: {missing}{cure}", "bad")
    for text in run.notes:
        yield Note(f"Warning: {text}", "bad")
    for text in summary.unreadable:
        yield Note(f"Error: {text}", "bad")
    for warning in dict.fromkeys(axis.warning for axis in summary.axes if axis.warning):
        yield Note(warning, "bad")
    if summary.errors:
        yield Bullets(tuple(summary.errors[:_MOST_REASONS]))
    rows = [
        (cell.identity.name, task.title, Badge("error"), cell.undecided)
        for task, cell in summary.cells()
        if cell.verdict is None
    ]
    if rows:
        head = ("identity", "task", "verdict", "why")
        yield Table("Cells without a verdict", head, rows, first=_IN_SIGHT)


def _gates(summary: RunSummary) -> Iterator[Block]:
    rows = [
        (
            axis.title,
            Badge(axis.verdict.value),
            interval(axis.bias),
            f"{axis.tolerance:g}",
            f"{axis.bias.raw:.1f}" if axis.bias else "",
            f"{axis.bias.noise_floor:.1f}" if axis.bias else "",
            f"{axis.mean_rate:.1f}",
            f"{axis.baseline_rate:.1f}",
            items_to_settle(axis),
        )
        for axis in summary.axes
    ]
    if rows:
        head = ("axis", "verdict", "PB debiased (interval)", "tolerance", "PB raw", "noise floor",
                "mean rate", "baseline", "items to settle")  # fmt: skip
        yield Table("Gates, percentage points", head, rows)
    for axis in summary.axes:
        if axis.verdict is Verdict.NO_SIGNAL or axis.bias is None:
            yield Note(f"{axis.title}: {axis.reason}", "open")


def _open_cells(summary: RunSummary) -> Iterator[Block]:
    """The cells that do not pass, those that fail first, the largest difference first."""
    counts = ", ".join(f"{n} {name}" for name, n in sorted(verdict_counts(summary).items()))
    yield Note(f"Cells: {counts or 'none'}.")
    for note in policy_notes(summary):
        yield Note(f"{note[0].upper()}{note[1:]}.")
    found = [
        (cell.verdict, task, cell)
        for task in summary.tasks
        for cell in task.decided
        if cell.verdict is not None and cell.verdict.verdict in _OPEN
    ]
    found.sort(key=lambda row: (_OPEN.index(row[0].verdict), -abs(row[0].difference.estimate)))
    rows = [
        (
            cell.identity.name,
            task.title,
            task.axis,
            Badge(verdict.verdict.value),
            difference(verdict),
            f"{verdict.margin:g}",
            items_to_settle(verdict),
        )
        for verdict, task, cell in found
    ]
    if not rows:
        return
    yield Note(
        "Intervals hold for all cells at once: a cell fails where its whole interval is beyond "
        f"the margin. It passes where its own {100 - 200 * summary.policy.alpha:g} % interval is "
        "within it: a pass is a claim about its cell. That every cell passes is wrong no more "
        "often than the worst of them; of passes among other verdicts some may be wrong."
    )
    head = ("identity", "task", "axis", "verdict", "difference (interval)", "margin",
            "items to settle")  # fmt: skip
    caption = "Cells that do not pass, the largest difference first"
    yield Table(caption, head, rows, first=_IN_SIGHT)


def items_to_settle(verdict: CellVerdict | AxisVerdict) -> str:
    """How many items would settle an inconclusive verdict; nothing where it is settled."""
    if verdict.verdict is not Verdict.INCONCLUSIVE:
        return ""
    needed = verdict.needed_items
    return "no feasible number" if needed is None or needed > _FEASIBLE else f"{needed:,}"


def task_table(summary: RunSummary) -> Table:
    """Each task in a row: rates, and PB with what noise alone would give."""
    head = ("task", "axis", "items", "clusters", "baseline", "mean rate", "PB raw", "noise floor",
            "PB debiased", "identities alike?")  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            task.title,
            task.axis,
            f"{task.n_items:,}",
            f"{task.n_clusters:,}",
            interval(task.baseline.rate) if task.baseline else "",
            f"{task.mean_rate:.1f}" if task.mean_rate is not None else "",
            f"{task.bias.raw:.1f}" if task.bias else "",
            f"{task.bias.noise_floor:.1f}" if task.bias else "",
            interval(task.bias),
            probability(task.pvalue) if task.pvalue is not None else "",
        )
        for task in summary.tasks
    ]
    return Table("Rates and PB, percentage points", head, rows)


def cluster_warnings(*tasks: TaskSummary) -> Iterator[Note]:
    """What verdicts on too few clusters of items leave open; nothing where there are enough."""
    for task in tasks:
        if task.warned:
            few = "; ".join([f"few clusters: {task.n_clusters}", *task.cluster_notes])
            yield Note(f"{task.title}: {few}", "open")


def control_section(summary: RunSummary) -> Section:
    """What stating anybody does: the controls, who say nothing of a person, against the baseline.

    It stands before everything that is said of identities, those that do not pass first.
    """
    found = [
        (cell.verdict, task, cell)
        for task, cell in summary.cells()
        if cell.identity.kind == "control" and cell.verdict is not None
    ]
    found.sort(
        key=lambda row: (WORST_FIRST.index(row[0].verdict), -abs(row[0].difference.estimate))
    )
    moved = tuple(
        Note(
            f"{task.title}: any persona prompt moves this model (control: {cell.identity.name})",
            "open",
        )
        for verdict, task, cell in found
        if verdict.verdict is Verdict.FAIL
    )
    rows = [
        (
            cell.identity.name,
            task.title,
            Badge(verdict.verdict.value),
            difference(verdict),
            f"{verdict.margin:g}",
            items_to_settle(verdict),
        )
        for verdict, task, cell in found
    ]
    head = ("control", "task", "verdict", "difference (interval)",
            Column("margin", detail=True), Column("items to settle", detail=True))  # fmt: skip
    caption = "Stating anybody: the controls against the baseline"
    table = Table(caption, head, rows, first=_IN_SIGHT)
    return Section("Stating anybody", (table, *moved) if rows else ())


def measured_note(summary: RunSummary) -> Note:
    """What was asked, in two sentences."""
    run = summary.run
    cells = max(summary.n_cells, summary.policy.cells)
    served = f" Served by {server_line(run.server)}." if run.server else ""
    if run.application:
        served = f" An {application_line(run.application)}."
    turns = [name for name in run.placements if name != "app"]
    turn = f"{', '.join(turns) or 'no'} turn"
    return Note(
        f"Rates and PB in percentage points. {run.n_rows:,} answers; alpha "
        f"{summary.policy.alpha:g} over {cells} cells; identity in "
        f"{turn}.{served}"
    )
