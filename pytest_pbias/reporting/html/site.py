"""Many runs as pages that need no server: an index, and a short report of each run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pytest_pbias.analysis.provenance import prompt_digests
from pytest_pbias.analysis.summary import RunSummary, verdict_counts
from pytest_pbias.gate import WORST_FIRST, AxisVerdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import RunRecord
from pytest_pbias.prompts import STATED
from pytest_pbias.reporting.details import heat_section, provenance_section
from pytest_pbias.reporting.findings import findings
from pytest_pbias.reporting.html.page import digest_of, read_part, sections_page
from pytest_pbias.reporting.html.render import render
from pytest_pbias.reporting.sections import task_table, verdict_section
from pytest_pbias.reporting.tables import Badge, Block, Note, Section, Table
from pytest_pbias.reporting.text import unsigned
from pytest_pbias.tasks.base import AXES

HEADS = (
    "run",
    "verdict",
    "PB utility",
    "mean utility, %",
    "PB safety",
    "mean safety, %",
    "model",
    "tag or commit",
    "date",
)
_NUMBERS = range(2, 6)
_MOST_ROWS = 40  # of a table in a run's page: 50 runs are to stay under 3 MB
_WORST_FIRST = ("error", *(verdict.value for verdict in WORST_FIRST))


@dataclass(frozen=True)
class Figure:
    """A cell of the index: its lines, and the number that it is sorted by."""

    lines: tuple[str, ...] = ()
    number: float | None = None


@dataclass(frozen=True)
class IndexRow:
    """A run in the index; ``page`` is its report, beside the index."""

    page: str
    name: str
    verdict: Badge
    figures: tuple[Figure, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class _Shown:
    """A run of the site: its row, and what it must share with those it stands beside."""

    alike: str
    about: str
    row: IndexRow


def make_site(
    runs: Iterable[tuple[RunRecord, OutcomeTable, RunSummary]], heading: str
) -> dict[str, str]:
    """The pages by path: ``index.html``, and ``runs/NAME.html`` for each run.

    Runs stand in one table only where the same items were asked with the same prompts, sampling and
    judges: their numbers can be compared. The newest table, and its newest run, come first.
    """
    pages: dict[str, str] = {}
    groups: dict[str, list[_Shown]] = {}
    for number, (record, table, summary) in enumerate(runs):
        page = f"runs/{number:04d}-{hashlib.sha256(record.name.encode()).hexdigest()[:8]}.html"
        pages[page] = _report(record, table, summary)
        shown = _shown(record, table, summary, page)
        # Taken out and put in again: the group of the newest run is the last.
        groups[shown.alike] = [shown, *groups.pop(shown.alike, [])]
    script = read_part("site.js")
    tables = [
        {"about": group[0].about, "rows": [one.row for one in group], "number": number}
        for number, group in enumerate(reversed(groups.values()), 1)
    ]
    pages["index.html"] = render(
        "site.html.j2",
        heading=heading,
        groups=tables,
        heads=[(head, number in _NUMBERS) for number, head in enumerate(HEADS)],
        style=read_part("page.css"),
        script=script,
        digest=digest_of(script),
        count=sum(len(group) for group in groups.values()),
    )
    return pages


def _report(record: RunRecord, table: OutcomeTable, summary: RunSummary) -> str:
    """A run's page, without the figures and answers that its own report has."""
    sections = [
        verdict_section(summary),
        Section("Tasks", (task_table(summary),)),
        heat_section(summary),
        *findings(summary),
        provenance_section(summary, table),
    ]
    sections = [_short(section) for section in sections]
    title = f"{record.name}: personalization bias of {summary.run.model}"
    return sections_page(title, sections, back="../index.html")


def _short(section: Section) -> Section:
    """The section with its first rows alone, where a table has many."""
    blocks: list[Block] = []
    for block in section.blocks:
        if isinstance(block, Table) and len(block.rows) > _MOST_ROWS:
            blocks.append(replace(block, rows=block.rows[:_MOST_ROWS]))
            more = len(block.rows) - _MOST_ROWS
            blocks.append(Note(f"{more:,} more rows are in the run's own report."))
        else:
            blocks.append(block)
    return replace(section, blocks=tuple(blocks))


def _shown(record: RunRecord, table: OutcomeTable, summary: RunSummary, page: str) -> _Shown:
    alike = _alike(table, summary)
    sampling = ", ".join(
        f"{name} {value}" for name, value in summary.run.sampling.items() if value not in (None, "")
    )
    tasks = ", ".join(f"{task.title} ({task.n_items:,})" for task in summary.tasks)
    return _Shown(
        hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest(),
        f"{tasks}; {_made_known(table)}{sampling or 'sampling not noted'}; "
        f"judged by {', '.join(summary.run.judges)}",
        IndexRow(
            page,
            record.name,
            _verdict(summary),
            tuple(_figures(summary)),
            (summary.run.model, record.tag or record.commit, record.created[:10]),
        ),
    )


def _alike(table: OutcomeTable, summary: RunSummary) -> Mapping[str, object]:
    """What two runs must share for their numbers to be compared."""
    return {
        "data": dict(summary.run.data),
        "items": [[task.title, task.n_items] for task in summary.tasks],
        "chats": sorted(prompt_digests(table)),
        "sampling": {name: str(value) for name, value in summary.run.sampling.items()},
        "judges": sorted(summary.run.judges),
        "judge versions": sorted(table.unique("judge_version")),
        "protocol": table.info.protocol,
    }


def _verdict(summary: RunSummary) -> Badge:
    """The worst verdict of a gate or cell."""
    counts = verdict_counts(summary)
    found = {axis.verdict.value for axis in summary.axes} | {
        name for name in counts if counts[name]
    }
    return Badge(next((word for word in _WORST_FIRST if word in found), "error"))


def _made_known(table: OutcomeTable) -> str:
    """How identities are made known, where they are not stated as usual."""
    cues = table.cues()
    return "" if cues == (STATED,) else f"identities made known by {', '.join(cues)}; "


def _figures(summary: RunSummary) -> Iterable[Figure]:
    """PB and mean rate of each axis: a line a cue and prompt defense, where there are several.

    A run is sorted by the worst of its cues, without a defense.
    """
    several = len({axis.defense for axis in summary.axes}) > 1
    for axis in AXES:
        gates = [one for one in summary.axes if one.axis == axis]
        found = [
            (_named(gate, several), gate.defense == gates[0].defense, gate.bias, gate.mean_rate)
            for gate in gates
            if gate.bias is not None
        ]
        yield Figure(
            tuple(
                name + unsigned(bias.estimate, bias.low, bias.high) for name, _, bias, _ in found
            ),
            max((bias.estimate for _, counts, bias, _ in found if counts), default=None),
        )
        yield Figure(
            tuple(f"{name}{rate:.1f}" for name, *_, rate in found),
            min((rate for _, counts, _, rate in found if counts), default=None),
        )


def _named(gate: AxisVerdict, several: bool) -> str:
    """How a gate's identities are made known and defended, where there is more than one way."""
    defense = "" if not several else "no defense" if gate.defense == "none" else gate.defense
    return "".join(f"{name}: " for name in (gate.cue, defense) if name)
