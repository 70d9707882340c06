from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.comparison import compare_beside, compare_runs
from pytest_pbias.analysis.across_runs.condition import decide_condition
from pytest_pbias.analysis.across_runs.pairing import pair_runs
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.html import comparison_page
from pytest_pbias.reporting.markdown import compared_markdown, comparison_markdown
from pytest_pbias.reporting.schemas import schema_text
from pytest_pbias.reporting.terminal import compared_lines, comparison_terminal

from .conftest import Array, Maker, under, with_holes

WORSE = {"mmlu/a man": 0.6}


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_eighty_columns_and_no_colour_needed(make: Maker, verbosity: int) -> None:
    old, new = make.table(), make.table(WORSE, temperature=1.0, judge="b" * 200)
    gate = decide_condition("pb_utility>1", pair_runs(new, old, GatePolicy()), alpha=0.05)
    comparison = compare_runs(new, old, GatePolicy())
    lines = [line for line, _ in comparison_terminal(comparison, gate, verbosity=verbosity)]
    assert all(len(line) <= 80 and line.isascii() for line in lines)
    text = "\n".join(lines)
    if verbosity < 0:
        assert lines == ["WORSE than the earlier run; NOT COMPARABLE"]
        return
    assert lines[0] == "WORSE than the earlier run"
    assert "NOT COMPARABLE: sampling of mmlu" in text
    assert "utility: worse" in text
    assert "safety: no change shown" in text
    assert "COMPARE: FAIL: pb_utility>+1" in text
    assert len(re.findall(r", q [<=] [01]\.", text)) == (8 if verbosity else 1)


def test_hostile_names_stay_inert(make: Maker) -> None:
    run = make.table(model="<script>\x1b[31m|x")
    comparison = compare_runs(run, run, GatePolicy())
    text = "\n".join(line for line, _ in comparison_terminal(comparison))
    assert "\x1b" not in text
    shown = comparison_markdown(comparison)
    assert "<script" not in shown
    assert "\x1b" not in shown
    page = comparison_page(comparison)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page


def test_hostile_names_and_problems_stay_inert(make: Maker) -> None:
    rotten = "x\x1b]0;owned\x07\u202e<script>\n# title"
    old, new = make.table(), make.table()
    odd, same = (_renamed(table, rotten) for table in (old, new))
    comparison = compare_runs(same, odd, GatePolicy())
    text = "\n".join(line for line, _ in comparison_terminal(comparison, verbosity=1))
    assert "x ]0;owned" in text
    beside = compare_beside(same, old, GatePolicy(), name=rotten)
    assert beside.problem
    said = "\n".join(line for line, _ in compared_lines(beside, 0))
    for shown in (text, said, compared_markdown(beside)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", shown)
        assert not re.search(r"^# ", shown, re.MULTILINE)
    assert "<script" not in compared_markdown(beside)
    assert all(len(line) <= 80 for line in said.splitlines())


def _renamed(table: OutcomeTable, name: str) -> OutcomeTable:
    columns = {one: table.arrow.column(one).to_pylist() for one in table.arrow.column_names}
    return OutcomeTable.from_columns(columns | {"task": [name + text for text in columns["task"]]})


class _Tags(HTMLParser):
    """Checks that every element is closed in order, and collects what a page could load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing(make: Maker) -> None:
    old, new = make.table(), make.table(WORSE, temperature=1.0)
    gate = decide_condition("pb_utility>1", pair_runs(new, old, GatePolicy()), alpha=0.05)
    page = comparison_page(compare_runs(new, old, GatePolicy()), gate)
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.loads == []
    assert page.count("<caption>") == 4  # axes, joint PB, tasks, cells
    assert page.count('<th scope="row">a') == 0
    assert page.count('<th scope="row">') == 2 + 1 + 2 + 8
    assert "Not comparable: sampling of mmlu" in page


def test_json_is_plain_and_complete(make: Maker) -> None:
    old, new = make.table(), make.table(WORSE)
    gate = decide_condition("cell_utility<-5", pair_runs(new, old, GatePolicy()), alpha=0.05)
    comparison = compare_runs(new, old, GatePolicy())
    read = json.loads(json.dumps(comparison_json(comparison, gate), allow_nan=False))
    assert read["direction"] == "worse"
    assert read["gate"]["verdict"] == "fail"
    (task,) = (task for task in read["tasks"] if task["task"] == "mmlu")
    (cell,) = (cell for cell in task["cells"] if cell["identity"]["name"] == "a man")
    assert cell["change"]["high"] < -5
    assert cell["qvalue"] < 0.001


def _keep(store: Path, table: OutcomeTable) -> None:
    keep_run(table, store, model="tiny")


def test_the_command(make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / ".pbias"
    for table in (make.table(), make.table(WORSE, seed=1), make.table(temperature=1.0)):
        _keep(store, table)
    common = ["--store", str(store)]
    outputs = ["--json", str(tmp_path / "c.json"), "--markdown", str(tmp_path / "c.md")]
    outputs += ["--html", str(tmp_path / "c.html")]
    assert main(["compare", "1", "2", *common, *outputs]) == 0
    assert "WORSE than the earlier run" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["direction"] == "worse"
    assert "compared with tiny" in (tmp_path / "c.md").read_text()
    assert "earlier run: worse" in (tmp_path / "c.html").read_text()

    assert main(["compare", "1", "2", *common, "--fail", "pb_utility>+1.0"]) == 1
    assert main(["compare", "2", "1", *common, "--fail", "pb_utility>+1.0"]) == 0
    assert main(["compare", "1", "1", *common, "--fail", "pb_utility>0.1"]) == 0
    assert main(["compare", "1", "1", *common, "--fail", "pb_utility>0.1", "--gate=prove"]) == 1
    capsys.readouterr()
    assert main(["compare", "1", "3", *common, "--fail", "pb_utility>+1.0"]) == 2
    assert "not asked alike" in capsys.readouterr().err
    assert main(["compare", "1", "3", *common, "--fail", "pb_utility>+9", "--anyway"]) == 0
    capsys.readouterr()
    assert main(["compare", "1", "9", *common]) == 2
    assert capsys.readouterr().err.startswith("pbias: no run '9'")


def test_the_command_gives_no_verdict_on_runs_that_lack_answers(
    make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, not 0 or 1, in either mode and order; what was found is told all the same."""
    store, full = tmp_path / ".pbias", make.table()

    def holes(scores: Array) -> None:
        scores[under(full, "mmlu", "a woman")[:120]] = np.nan

    lacking = with_holes(full, holes)
    for table in (full, lacking.with_info(RunFacts(partial="the budget is spent")), lacking):
        _keep(store, table)
    page, plain = tmp_path / "c.html", tmp_path / "c.json"
    common = ["--store", str(store), "--json", str(plain), "--html", str(page)]
    fail = ["--fail", "cell_mmlu<-10"]
    for old, new in (("1", "2"), ("2", "1"), ("1", "3"), ("3", "1"), ("3", "3")):
        for gate in ("--gate=detect", "--gate=prove"):
            assert main(["compare", old, new, *common, *fail, gate]) == 2
            said = capsys.readouterr()
            assert "120 of 4,000 (mmlu 120) in the" in said.err
            assert said.err.count("\n") == 1
            assert "NOT COMPARABLE: missing answers" in said.out
            assert "COMPARE:" not in said.out
        read = json.loads(plain.read_text())
        jsonschema.validate(read, json.loads(schema_text("comparison")))
        assert (read["comparable"], read["gate"]) == (False, None)
        assert "Not comparable: missing answers" in page.read_text()
        assert main(["compare", old, new, *common, "-q"]) == 0
        assert capsys.readouterr().out == "NO CHANGE SHOWN; NOT COMPARABLE\n"
        assert main(["compare", old, new, *common, *fail, "--anyway"]) == 0
        assert "COMPARE: PASS" in capsys.readouterr().out
    assert main(["compare", "1", "2", *common]) == 0
    line = " ".join(capsys.readouterr().out.split())
    assert "PARTIAL: the earlier run: no; the new run: the budget is spent" in line
