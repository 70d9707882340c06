"""The page: everything in one file that asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from markupsafe import Markup

from pytest_pbias.analysis.across_runs.changes import Comparison
from pytest_pbias.analysis.across_runs.comparison import ComparedRun
from pytest_pbias.analysis.across_runs.condition import GateOutcome
from pytest_pbias.analysis.across_runs.history import History, OverRuns
from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.analysis.traits import trait_examples
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.comparison import compared_section, comparison_section
from pytest_pbias.reporting.details import (
    details,
    heat_section,
    provenance_section,
    tasks_section,
    trade_off_section,
)
from pytest_pbias.reporting.findings import findings
from pytest_pbias.reporting.history import history_section, over_runs_section
from pytest_pbias.reporting.html.figures import draw
from pytest_pbias.reporting.html.render import Drawing, render
from pytest_pbias.reporting.html.samples import ReadResponses, choose_samples, visible
from pytest_pbias.reporting.sections import verdict_section
from pytest_pbias.reporting.tables import Block, Plot, Samples, Section, Table


@dataclass(frozen=True)
class RunContent:
    """A run, and what stands beside it.

    ``read`` gives the answers where the table's rows were read without them.
    """

    summary: RunSummary
    table: OutcomeTable
    read: ReadResponses | None = None
    compared: ComparedRun | None = None
    over_runs: OverRuns | None = None


def to_html(run: RunContent) -> str:
    """The report of a run as one HTML file.

    Raises:
        ConfigurationError: Matplotlib is not installed.
    """
    heading = f"Personalization bias of {run.summary.run.model}"
    return sections_page(heading, list(_sections(run)), script=read_part("page.js"))


def comparison_page(comparison: Comparison, gate: GateOutcome | None = None) -> str:
    """A comparison as a page of its own."""
    heading = f"Compared with the earlier run: {comparison.direction.value}"
    return sections_page(heading, [comparison_section(comparison, gate)])


def history_page(history: History, gate: GateOutcome | None = None) -> str:
    """A history as a page of its own.

    Raises:
        ConfigurationError: Matplotlib is not installed.
    """
    heading = f"Personalization bias over {len(history.shared.runs)} runs"
    return sections_page(heading, [history_section(history, gate)])


def _sections(run: RunContent) -> Iterator[Section]:
    summary, table = run.summary, run.table
    yield verdict_section(summary)
    if run.compared is not None:
        yield compared_section(run.compared)
    if run.over_runs is not None:
        yield over_runs_section(run.over_runs)
    yield trade_off_section(summary)
    yield heat_section(summary)
    yield tasks_section(summary)
    yield from details(summary, table)
    yield from findings(summary)
    yield _trait_examples(run)
    samples = choose_samples(table, summary, run.read)
    yield Section("Answers side by side", (Samples(samples),) if samples["cells"] else ())
    yield provenance_section(summary, table)


_MOST_SHOWN = 400  # characters of an example


def _trait_examples(run: RunContent) -> Section:
    """Answers side by side of which one has a trait and the other has not."""
    summary, table = run.summary, run.table
    found = trait_examples(table, summary.traits, summary.policy)
    wanted = np.asarray([row for one in found for row in (one.before, one.after)], dtype=np.intp)
    texts = table.texts_at("response", wanted) if run.read is None else run.read(wanted)
    pairs = zip(found, texts[::2], texts[1::2], strict=True)
    rows = [
        (
            one.difference.trait,
            f"{one.task}: {one.item}",
            f"{one.reference}: {visible(before or '')[:_MOST_SHOWN]}",
            f"{one.difference.identity.name}: {visible(after or '')[:_MOST_SHOWN]}",
        )
        for one, before, after in pairs
    ]
    head = ("trait", "question", "reference", "identity")
    caption = "One answer has the trait, the other has not"
    blocks = (Table(caption, head, rows, detail=True),) if rows else ()
    return Section("Traits side by side", blocks)


def sections_page(
    heading: str, sections: Sequence[Section], script: Markup | None = None, *, back: str = ""
) -> str:
    """A page of any sections; those without blocks are left out. ``back`` is where all runs are.

    Raises:
        ConfigurationError: there is a plot, and Matplotlib is not installed.
    """
    return render(
        "page.html.j2",
        heading=heading,
        sections=[_drawn(section) for section in sections if section.blocks],
        style=read_part("page.css"),
        script=script,
        back=back,
        digest=digest_of(script) if script is not None else "",
    )


def _drawn(section: Section) -> dict[str, object]:
    """The section with its plots as drawings."""
    blocks: list[Block | Drawing] = []
    for block in section.blocks:
        drawn = draw(block) if isinstance(block, Plot) else block
        blocks += [drawn] if drawn is not None else []
    return {"title": section.title, "opening": section.opening, "blocks": blocks}


def read_part(name: str) -> Markup:
    """A file of this folder, which may stand in the page as it is."""
    return Markup(files("pytest_pbias.reporting.html").joinpath(name).read_text("utf-8"))


def digest_of(script: str) -> str:
    """The source hash by which the policy lets this script run, and no other."""
    hashed = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(hashed).decode()}"
