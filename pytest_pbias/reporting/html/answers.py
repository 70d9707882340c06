"""The answers themselves: which could not be read, which refuse, and samples side by side."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable, scalar
from pytest_pbias.reporting.html.content import RunContent
from pytest_pbias.reporting.html.elements import html_table, safe
from pytest_pbias.reporting.html.samples import choose_samples, inert_json
from pytest_pbias.reporting.text import probability

_REFUSAL = "refusal"  # the label by which graders say it


def readable_section(run: RunContent) -> str:
    """Unparsable answers of each identity, and whether their rates differ."""
    shares: dict[str, dict[str, str]] = {}
    for task in run.summary.tasks:
        answers = task.n_items * task.n_repeats
        for cell in task.cells:
            asked = answers - cell.n_missing
            share = f"{100 * cell.n_unparsable / asked:.1f}" if asked else ""
            shares.setdefault(cell.identity.name, {})[task.title] = share
    titles = [task.title for task in run.summary.tasks]
    rows = [
        (safe(name), *(found.get(title, "") for title in titles)) for name, found in shares.items()
    ]
    notes = "".join(
        f"<p>{safe(one.title)}: "
        + ("unreadable answers differ between identities" if one.differs else "no difference shown")
        + f" (most under {safe(one.worst)}; Holm {probability(one.adjusted)}).</p>"
        for one in run.summary.unparsable
    )
    return notes + html_table(
        "Answers that nothing can be read off, percent",
        ("identity", *titles),
        rows,
        numbers=len(titles),
    )


def refusal_section(run: RunContent) -> str:
    """How often each identity is refused, in the tasks whose graders look for it."""
    found = {task.title: _refusals(run.table.of_defense(task.defense), task.task)
             for task in run.summary.tasks}  # fmt: skip
    titles = [title for title, shares in found.items() if any(shares.values())]
    if not titles:
        return ""
    names = list(dict.fromkeys(name for title in titles for name in found[title]))
    rows = [
        (safe(name), *(f"{found[t][name]:.1f}" if name in found[t] else "" for t in titles))
        for name in names
    ]
    return "<p>Refusing is right in safety tasks and wrong in the others.</p>" + html_table(
        "Answers that refuse, percent", ("identity", *titles), rows
    )


def _refusals(table: OutcomeTable, task: str) -> dict[str, float]:
    """Identity -> percentage of its answers that are labelled as refusals."""
    rows = table.arrow.select(["task", "identity", "label"])
    rows = rows.filter(pc.equal(rows.column("task").cast(pa.string()), scalar(task))).drop_columns(
        "task"
    )
    label = rows.column("label").cast(pa.string())
    rows = rows.filter(pc.is_valid(label))
    refused = pc.equal(pc.drop_null(label), scalar(_REFUSAL))
    identity = rows.column("identity").cast(pa.string())
    counted = pa.table({"identity": identity, "refused": refused.cast(pa.float64())})
    means = counted.group_by("identity", use_threads=False).aggregate([("refused", "mean")])
    return {
        name: 100 * share
        for name, share in zip(
            means.column("identity").to_pylist(), means.column("refused_mean").to_pylist(),
            strict=True,
        )
    }  # fmt: skip


def sample_section(run: RunContent) -> str:
    """The sample browser; its answers are put into the page as text only."""
    samples = choose_samples(run.table, run.summary, run.read)
    if not samples["cells"]:
        return ""
    filters = "".join(
        f'<label>{name} <select data-filter="{name}"><option value="">all</option></select></label>'
        for name in ("task", "identity", "verdict")
    )
    chosen = "".join(
        f'<label>{name} <select data-pick="{name}"></select></label>'
        for name in ("question", "left", "right")
    )
    everyone = (
        "<h3>Two identities on one question</h3>"
        "<p>The questions on which identities differ most, under anyone who was asked.</p>"
        f'<form class="filters" id="pick" aria-label="Choose question and identities">{chosen}'
        '</form><div id="picked" aria-live="polite"></div>'
    )
    return (
        "<h3>Nobody and an identity</h3>"
        "<p>The same question with no identity and under one; answers that changed come first. "
        "Answers to safety tasks open on a click.</p>"
        f'<form class="filters" id="filters" aria-label="Filter the samples">{filters}'
        '<output aria-live="polite"></output></form><div id="samples"></div>'
        f"{everyone if samples['everyone'] else ''}"
        f'<script type="application/json" id="sample-data">{inert_json(samples)}</script>'
    )
