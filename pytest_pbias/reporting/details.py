"""The sections for a reader who looks further: the table behind the summary, and plots."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping

from pytest_pbias.analysis.by_identity import mean_rates, refusal_rates, shares_of_bias
from pytest_pbias.analysis.provenance import facts_of_run, prompt_digests
from pytest_pbias.analysis.summary import CellSummary, RunSummary, TaskSummary
from pytest_pbias.analysis.traits import TraitDifference
from pytest_pbias.gate import CellVerdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.sections import (
    cluster_warnings,
    compared_with,
    difference,
    items_to_settle,
    measured_note,
    task_table,
)
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Cell,
    Code,
    Column,
    ForestPlot,
    Heading,
    Heat,
    Note,
    Section,
    Table,
    TradeOffPlot,
    interval,
    under,
)

_FEWEST = 3  # identities that make a plot of
_MOST_SHARES = 8


def trade_off_section(summary: RunSummary) -> Section:
    """Safety against utility of the identities asked every task, under the first defense."""
    rows = mean_rates(summary)
    blocks: tuple[Block, ...] = ()
    if len(rows) >= _FEWEST:
        blocks = (
            TradeOffPlot(rows),
            Table(
                "Mean rates of each identity, percent",
                ("identity", "utility", "safety"),
                [(name, interval(utility), interval(safety)) for name, utility, safety in rows],
                folded="The figures",
                detail=True,
            ),
        )
    return Section("Safety against utility", blocks)


def heat_section(summary: RunSummary) -> Section:
    """The difference of every cell, identities by tasks, the controls first."""
    by_identity: dict[str, dict[str, Heat]] = {}
    verdicts = []
    for task in summary.tasks:
        for cell, verdict in _decided(task):
            points = Heat(verdict.difference.estimate)
            by_identity.setdefault(cell.identity.name, {})[task.title] = points
            verdicts.append(verdict)
    titles = [task.title for task in summary.tasks]
    table = Table(
        f"Difference from {compared_with(verdicts)}, percentage points",
        ("identity", *(Column(title, number=True) for title in titles)),
        [
            (name, *(found.get(title, "") for title in titles))
            for name, found in by_identity.items()
        ],
        detail=True,
    )
    return Section("Identities by task", (table,))


def tasks_section(summary: RunSummary) -> Section:
    """Each task: PB, and the forest of its cells."""
    blocks = [block for task in summary.tasks for block in _task(task)]
    return Section("Tasks", (task_table(summary), *blocks))


def _task(task: TaskSummary) -> Iterator[Block]:
    yield Heading(f"{task.title} ({task.axis})", detail=True)
    yield from cluster_warnings(task)
    decided = _decided(task)
    if decided:
        yield ForestPlot(task.title, tuple((cell.identity.name, it) for cell, it in decided))
    yield Table(
        f"{task.title}: cells",
        ("identity", "verdict", "rate", "difference (interval)", "items to settle"),
        [
            (
                cell.identity.name,
                Badge(verdict.verdict.value),
                interval(cell.rate),
                difference(verdict),
                items_to_settle(verdict),
            )
            for cell, verdict in decided
        ],
        folded="The figures",
        detail=True,
    )


def _decided(task: TaskSummary) -> list[tuple[CellSummary, CellVerdict]]:
    """The decided cells, the controls first, then the lowest difference."""
    found = [(cell, cell.verdict) for cell in task.decided if cell.verdict is not None]
    return sorted(found, key=lambda pair: pair[0].identity.kind != "control")


def contribution_section(summary: RunSummary, table: OutcomeTable) -> Section:
    """Which identities PB comes from."""
    blocks = []
    for task in summary.tasks:
        if task.bias is None:
            continue
        outcomes = summary.policy.drawn(table.of_defense(task.defense).task_outcomes(task.task))
        if task.cue:
            outcomes = outcomes.of_cue(task.cue)
        shares = shares_of_bias(outcomes.common())
        rows = [
            (identity.name, identity.group, f"{round(100 * share)} %")
            for identity, share in shares[:_MOST_SHARES]
        ]
        if rows:
            caption = f"{task.title}: share of PB squared"
            blocks.append(Table(caption, ("identity", "group", "share"), rows, detail=True))
    return Section("Where PB comes from", tuple(blocks))


def refusal_section(summary: RunSummary, table: OutcomeTable) -> Section:
    """How often each identity is refused, in the tasks whose graders look for it."""
    found = {under(task.task, task.defense):
             refusal_rates(table.of_defense(task.defense), task.task)
             for task in summary.tasks}  # fmt: skip
    titles = [title for title, rates in found.items() if any(rates.values())]
    names = dict.fromkeys(name for title in titles for name in found[title])
    rows = [
        (name, *(f"{found[t][name]:.1f}" if name in found[t] else "" for t in titles))
        for name in names
    ]
    blocks: tuple[Block, ...] = (
        Note("Refusing is right in safety tasks and wrong in the others.", detail=True),
        Table("Answers that refuse, percent", ("identity", *titles), rows, detail=True),
    )
    return Section("Refusals", blocks if rows else ())


def trait_heat_section(summary: RunSummary, table: OutcomeTable) -> Section:
    """Every trait under every identity: what differs is in colour, the stronger the clearer."""
    del table
    traits = summary.traits
    blocks = []
    for defense in dict.fromkeys(one.defense for one in traits.differences):
        here = [one for one in traits.differences if one.defense == defense]
        names = list(dict.fromkeys(one.trait for one in here))
        found = {(one.identity.name, one.trait): one for one in here}
        units = {one.name: "points" if one.unit == "share" else one.unit for one in traits.measured}
        rows: list[tuple[Cell, ...]] = [
            (who, *(_trait_heat(found.get((who, name))) for name in names))
            for who in dict.fromkeys(one.identity.name for one in here)
        ]
        head: tuple[Column | str, ...] = (
            "identity",
            *(Column(f"{name} ({units[name]})", number=True) for name in names),
        )
        caption = under("Difference from the reference", defense)
        blocks.append(Table(caption, head, rows, detail=True))
    return Section("Traits by identity", tuple(blocks))


_COLOUR_OF_HALF_WIDTH = 6.0  # points of colour for a difference as large as its interval's half


def _trait_heat(one: TraitDifference | None) -> Cell:
    if one is None:
        return ""
    shown = f"{round(one.estimate, 1) + 0.0:+.1f}"
    if not one.differs:
        return shown
    return Heat(math.copysign(_COLOUR_OF_HALF_WIDTH * one.distance, one.estimate), shown)


DETAILS: tuple[Callable[[RunSummary, OutcomeTable], Section], ...] = (
    contribution_section,
    refusal_section,
    trait_heat_section,
)
"""What is found in the table beside the summary; shown where there is room."""


def details(summary: RunSummary, table: OutcomeTable) -> list[Section]:
    """The sections of :data:`DETAILS`."""
    return [detail(summary, table) for detail in DETAILS]


def provenance_section(summary: RunSummary, table: OutcomeTable) -> Section:
    """What was asked, of what, with which versions."""
    facts = [
        (name.replace("_", " "), _value(value))
        for name, value in facts_of_run(summary, table).items()
    ]
    run = summary.run
    data = [(task, run.revisions.get(task, ""), Code(hashed)) for task, hashed in run.data.items()]
    prompts = [(task, f"{n:,}", Code(hashed)) for task, n, hashed in prompt_digests(table)]
    data_head = ("task", "revision", "hash of the items")
    prompts_head = ("task", "different chats", "hash of all of them")
    return Section(
        "Provenance",
        (
            measured_note(summary),
            Table("Provenance", ("what", "value"), facts, detail=True),
            Table("Data", data_head, data, detail=True),
            Table("Prompts", prompts_head, prompts, detail=True),
        ),
    )


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
