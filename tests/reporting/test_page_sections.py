"""What stands on the page beside the findings, where a run has it."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.comparison import ComparedRun, compare_beside
from pytest_pbias.analysis.repeatability import Repeatability
from pytest_pbias.analysis.summary import summarize
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.reporting import findings, render_terminal, to_markdown
from pytest_pbias.reporting.html import RunContent, to_html
from pytest_pbias.reporting.tables import Badge, Cell, Note, Section, Table, words
from pytest_pbias.stats import PairedDifferenceResult

pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")

HOSTILE = '<img src=x onerror="alert(1)">'


def table(*, defense: str = "none", lost: float = 0.3, judges: bool = False) -> OutcomeTable:
    """Two tasks; the last identity loses ``lost`` of the safety task."""
    rng = np.random.default_rng(7)
    rows = []
    for task, axis in (("xstest", "utility"), ("do_not_answer", "safety")):
        for u, name in enumerate(("baseline", "a man", "a nurse", HOSTILE)):
            for i in range(80):
                worse = axis == "safety" and u == 3 and i < 80 * lost
                score = 0.0 if worse or i % 10 == 0 else 1.0
                refuses = score == (1.0 if axis == "safety" else 0.0)
                other = {
                    "judge": "llm:guard", "version": "1", "label": "x", "parsable": True,
                    "score": score if rng.random() < 0.9 else 1 - score,
                }  # fmt: skip
                rows.append({
                    "task": task, "axis": axis, "floor": 0.0, "item_id": f"i{i}", "repeat": 0,
                    "cluster": f"c{i}", "identity": name, "group": HOSTILE, "model": HOSTILE,
                    "kind": "baseline" if u == 0 else "identity", "defense": defense,
                    "score": score, "label": "refusal" if refuses else "compliance",
                    "parsable": not (u == 2 and i < 4), "judge": "rules", "placement": "system",
                    "prompt_hash": f"{task} {name} {i}", "data_hash": "d", "response": HOSTILE,
                    "other_grades": [other] if judges else None,
                })  # fmt: skip
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})


def page(found: OutcomeTable, compared: ComparedRun | None = None) -> str:
    return to_html(RunContent(summarize(found, GatePolicy(), seed=0), found, compared=compared))


def section(text: str, title: str) -> str:
    """A section's words, one blank between them; empty where the page has none."""
    found = re.search(rf">{title}</h2>(.*?)</section>", text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found[1]).split()) if found else ""


class Tags(HTMLParser):
    """The names of all tags and their handlers of events."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_a_plain_run_has_none_of_them_and_hostile_names_are_text() -> None:
    text = page(table())
    for title in ("Since the earlier run", "Prompt defenses", "Judges", "Noise of the engine"):
        assert section(text, title) == ""
    tags = Tags()
    tags.feed(text)
    assert "img" not in tags.names
    assert tags.handlers == []


def test_missing_answers_come_first_with_their_reason() -> None:
    whole = table()
    columns = {name: whole.arrow.column(name).to_pylist() for name in whole.arrow.column_names}
    gone = {
        row
        for row, (task, name) in enumerate(zip(columns["task"], columns["identity"], strict=True))
        if task == "do_not_answer" and name == "a nurse"
    }
    for name in ("score", "response", "label", "parsable"):
        columns[name] = [None if row in gone else one for row, one in enumerate(columns[name])]
    columns["error"] = [HOSTILE if row in gone else None for row in range(len(whole))]
    text = page(OutcomeTable.from_columns(columns))
    words = section(text, "Verdict")
    assert words.startswith("No verdict on everything: 80 of 640 answers are missing")
    assert "a nurse do_not_answer error 80 answers missing" in words
    assert "&lt;img src=x" in words
    assert words.index("Cells without a verdict") < words.index("Cells that do not pass")


def test_refusals_are_counted_in_the_tasks_that_know_them() -> None:
    words = section(page(table()), "Refusals")
    assert "a man 10.0 90.0" in words
    assert "onerror=" in words
    unread = section(page(table()), "Unreadable answers")
    assert "a nurse 5.0 5.0" in unread


def test_judges() -> None:
    words = section(page(table(judges=True)), "Judges")
    assert "do_not_answer rules" in words
    assert re.search(r"do_not_answer llm:guard [\d.]+ .* 0 \d\d\.\d %, kappa 0\.\d\d", words)


def test_noise_of_the_engine() -> None:
    moved = PairedDifferenceResult(-1.25, -6.0, 3.0, 0.5, 80, 80, 50.0, 51.25, "score", 0.95)
    one = Repeatability("do_not_answer", "safety", "none", HOSTILE, 80, 0, 3, 1, moved)
    found = table().with_info(RunFacts(engine_noise=(one.to_plain(),)))
    text = page(found)
    words = section(text, "Noise of the engine")
    assert "80 3 1 -1.2 (-6.0 to +3.0)" in words
    tags = Tags()
    tags.feed(text)
    assert "img" not in tags.names


def test_defenses_have_a_table_and_a_plot() -> None:
    text = page(concatenate([table(), table(defense="warning", lost=0.0)]))
    words = section(text, "Prompt defenses")
    assert "Prompt defenses against none" in words
    assert re.search(r"warning safety [\d.]+ \(.*?\) [\d.]+ \(.*?\) [\d.]+ → [\d.]+", words)
    assert "better PB fell" in words
    assert "Prompt defenses: personalization bias against mean rate" in text
    names = re.findall(r' id="([^"]+)"', text)  # the same figure of two tasks has two names
    assert len(names) == len(set(names))


def test_an_earlier_run() -> None:
    compared = compare_beside(table(), table(lost=0.0), GatePolicy(), name="0001-tiny")
    words = section(page(table(), compared), "Since the earlier run")
    assert words.startswith("Worse than the earlier run.")
    none = compare_beside(table(), OutcomeTable.from_columns({"task": []}), GatePolicy(), name="x")
    assert none.comparison is None
    words = section(page(table(), none), "Since the earlier run")
    assert words.startswith("Not compared with x: ")


def test_a_comparison_leaves_markdown_within_its_bounds() -> None:
    found = summarize(table(), GatePolicy(), seed=0)
    long = "\n".join(f"| row {number} | {'x' * 80} |" for number in range(2000))
    text = to_markdown(found, long)
    assert len(text) <= 60_000
    assert text.startswith("## Personalization bias of ")
    assert "row 100 " in text
    assert text.count("*Cut here") == 1
    assert to_markdown(found, "## Worse\n").endswith("## Worse\n")


def test_a_new_finding_is_one_section_and_every_format_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[tuple[Cell, ...]] = [("a man", Badge("worse", "it fell"))]
    blocks = (Note("it is so", "open"), Table("All", ("who", "verdict"), rows))
    novel = Section("A new finding", blocks, lead="what is new")
    monkeypatch.setattr(findings, "FINDINGS", (*findings.FINDINGS, lambda _: novel))
    summary = summarize(table(), GatePolicy(), seed=0)
    terminal = [line for line, _ in render_terminal(summary)]
    start = terminal.index("what is new")
    assert terminal[start : start + 5] == [
        "what is new", "  it is so", "  All", "  who    verdict", "  a man  WORSE: it fell",
    ]  # fmt: skip
    assert terminal[start + 6].startswith("GATE")
    assert "### A new finding\n\nWhat is new.\n\nit is so\n" in to_markdown(summary)
    assert section(page(table()), "A new finding") == (
        "What is new. it is so All who verdict a man worse it fell"
    )


def test_every_fact_of_a_finding_is_in_markdown_and_in_the_page() -> None:
    run = concatenate([table(judges=True), table(defense="warning", lost=0.0, judges=True)])
    text = page(run)
    summary = summarize(run, GatePolicy(), seed=0)
    markdown = unescape(to_markdown(summary)).replace("\\", "")
    found = findings.findings(summary)
    titles = ["Joint PB", "Prompt defenses", "Unreadable answers", "Judges"]
    assert [one.title for one in found] == titles
    for one in found:
        shown = unescape(section(text, one.title))
        tables = [block for block in one.blocks if isinstance(block, Table)]
        assert tables
        for block in tables:
            for cell in (words(cell) for row in block.rows for cell in row if row[0] != HOSTILE):
                assert cell.replace(": ", " ") in shown.replace(": ", " ")
                assert block.detail or cell in markdown
