"""How far a verdict reaches is said and drawn: intervals of passes and fails, few clusters."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting import render_terminal, to_markdown
from pytest_pbias.reporting.details import tasks_section
from pytest_pbias.reporting.html import RunContent, to_html
from pytest_pbias.reporting.html.figures import draw
from pytest_pbias.reporting.tables import ForestPlot

OWN = "It passes where its own 90 % interval is within it"
ALL = "Intervals hold for all cells at once: a cell fails where its whole interval is beyond"


def run(lost: dict[str, int], *, clusters: list[int] | None = None, items: int = 400) -> RunSummary:
    """Identities that lose so many items more than the baseline, which loses every tenth.

    ``clusters`` are the sizes of the clusters; every item is its own where none are given.
    """
    return summarize(table(lost, clusters=clusters, items=items), GatePolicy(), seed=0)


def table(
    lost: dict[str, int], *, clusters: list[int] | None = None, items: int = 400
) -> OutcomeTable:
    sizes = clusters or [1] * items
    owner = np.repeat(np.arange(len(sizes)), sizes)
    rows = [
        {
            "task": "mmlu", "axis": "utility", "floor": 0.0, "item_id": f"i{i}", "repeat": 0,
            "cluster": f"c{owner[i]}", "identity": name, "group": "g", "placement": "system",
            "kind": "baseline" if name == "baseline" else "identity", "defense": "none",
            "model": "tiny", "judge": "choice", "parsable": True, "response": "x", "label": "x",
            "score": 0.0 if i % 10 == 0 or (i % 10 == 1 and i // 10 < gone) else 1.0,
        }
        for name, gone in {"baseline": 0, **lost}.items()
        for i in range(len(owner))
    ]  # fmt: skip
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})


def verdicts(summary: RunSummary) -> dict[str, Verdict]:
    return {
        cell.identity.name: cell.verdict.verdict
        for task in summary.tasks
        for cell in task.cells
        if cell.verdict is not None
    }


def words(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_what_a_pass_claims_is_said_beside_cells_that_do_not_pass() -> None:
    lost = {"a man": 0, "a nurse": 40}
    summary, rows = run(lost), table(lost)
    assert verdicts(summary) == {"a man": Verdict.PASS, "a nurse": Verdict.FAIL}
    for text in (to_markdown(summary), words(to_html(RunContent(summary, rows)))):
        assert ALL in text
        assert OWN in text
        assert "of passes among other verdicts some may be wrong" in text
    terminal = " ".join(line for line, _ in render_terminal(summary))
    assert "of cells that pass at their own (90 %)" in terminal


def test_the_shares_of_a_pass_follow_alpha() -> None:
    summary = summarize(table({"a man": 0, "a nurse": 40}), GatePolicy(alpha=0.01), seed=0)
    assert OWN.replace("90", "98") in to_markdown(summary)
    terminal = " ".join(line for line, _ in render_terminal(summary))
    assert "(alpha 0.01), of cells that pass at their own (98 %)" in terminal


@pytest.mark.parametrize("lost", [{"a man": 0, "a nurse": 40, "a pilot": 20, "a dean": 3}])
def test_the_forest_has_the_interval_of_a_pass_thick_and_that_of_a_fail_thin(
    lost: dict[str, int],
) -> None:
    pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")
    summary = run(lost)
    assert set(verdicts(summary).values()) > {Verdict.PASS, Verdict.FAIL}
    (plot,) = (b for b in tasks_section(summary).blocks if isinstance(b, ForestPlot))
    drawing = draw(plot)
    assert drawing is not None
    assert "thin: the interval that holds for all cells at once" in drawing.caption
    assert "thick: the cell's own, within it in a pass" in drawing.caption

    lines = re.findall(
        r'<path d="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \n" [^>]*?style="([^"]*)"',
        str(drawing.content),
    )
    drawn = [
        (float(x), float(to), style)
        for x, y, to, also, style in lines
        if y == also and "currentColor" not in style  # the frame's
    ]
    thin, thick = (
        [(x, to) for x, to, style in drawn if f"stroke-width: {width}" in style]
        for width in ("0.8", "2.6")
    )
    assert len(thin) == len(thick) == len(plot.rows) == len(lost)
    # Pixels are a line through points: the thin ones give it, the thick ones lie on it.
    found = [verdict for _, verdict in plot.rows]
    limits = [(one.difference.low, one.difference.high) for one in found]
    slope, start = np.polyfit(np.ravel(limits), np.ravel(thin), 1)
    np.testing.assert_allclose(slope * np.asarray(limits) + start, thin, atol=0.01)
    own = np.asarray([(one.passing.low, one.passing.high) for one in found])
    np.testing.assert_allclose(slope * own + start, thick, atol=0.01)
    assert all(a > x and b < to for (a, b), (x, to) in zip(thick, thin, strict=True))


FEW = [
    (
        [50] * 8,
        ["mmlu: few clusters: 8", "about others a pass may be wrong up to 18 % of the time"],
    ),
    ([40] * 10, ["mmlu: few clusters: 10", "about others a pass may be wrong up to 10 %"]),
    (
        [30] * 5 + [90] * 3,
        ["mmlu: few clusters: 8", "they hold 30 to 90 items: an effect that grows with size hides"],
    ),
]


@pytest.mark.parametrize(("clusters", "says"), FEW)
def test_few_clusters_are_said_in_the_page_and_in_markdown(
    clusters: list[int], says: list[str]
) -> None:
    lost = {"a man": 0, "a nurse": 1}
    summary, rows = run(lost, clusters=clusters), table(lost, clusters=clusters)
    assert Verdict.PASS in verdicts(summary).values()
    page, markdown = words(to_html(RunContent(summary, rows))), to_markdown(summary)
    terminal = " ".join(" ".join(line for line, _ in render_terminal(summary)).split())
    for text in says:
        assert text in page
        assert text in markdown
        assert (
            text.replace("mmlu: few clusters: 8", "warning: 8 clusters only").replace(
                "mmlu: few clusters: 10", "warning: 10 clusters only"
            )
            in terminal
        )


@pytest.mark.parametrize("clusters", [None, [10] * 40])
def test_enough_clusters_are_no_warning(clusters: list[int] | None) -> None:
    lost = {"a man": 0, "a nurse": 1}
    summary, rows = run(lost, clusters=clusters), table(lost, clusters=clusters)
    texts = [words(to_html(RunContent(summary, rows))), to_markdown(summary)]
    texts.append(" ".join(line for line, _ in render_terminal(summary)))
    assert not any("clusters only" in text or "few clusters" in text for text in texts)
