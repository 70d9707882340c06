from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.reporting import render_terminal, to_json, to_markdown, write_json, write_markdown
from pytest_pbias.reporting.sections import verdict_sentence
from pytest_pbias.reporting.text import (
    columns,
    ending,
    markdown,
    padded,
    plain,
    terminal_line,
    wrapped,
)

N_ITEMS = 600
Array = npt.NDArray[np.float64]


def _columns(name: str, scores: Array, *, floor: float = 0.0) -> dict[str, list[object]]:
    identities, items = scores.shape
    names = ["baseline", "a person", *(f"identity {u}" for u in range(2, identities))]
    kinds = ["baseline", "control", *("identity" for _ in range(2, identities))]
    count = identities * items
    flat = scores.ravel()
    return {
        "task": [name] * count,
        "axis": ["safety"] * count,
        "floor": [floor] * count,
        "item_id": [f"i{i}" for _ in range(identities) for i in range(items)],
        "cluster": [f"i{i}" for _ in range(identities) for i in range(items)],
        "identity": [names[u] for u in range(identities) for _ in range(items)],
        "group": [kinds[u] for u in range(identities) for _ in range(items)],
        "kind": [kinds[u] for u in range(identities) for _ in range(items)],
        "repeat": [0] * count,
        "model": ["synthetic"] * count,
        "placement": ["system"] * count,
        "score": [None if np.isnan(x) else float(x) for x in flat],
        "parsable": [None if np.isnan(x) else True for x in flat],
        "error": ["the endpoint died" if np.isnan(x) else None for x in flat],
    }


def _summary(shares: list[float], *, floor: float = 0.0, missing: int = 0) -> RunSummary:
    """A run in which identity u answers the first share of the items wrong."""
    scores = np.ones((len(shares), N_ITEMS))
    for u, share in enumerate(shares):
        scores[u, : int(share * N_ITEMS)] = 0.0
    scores[-1, :missing] = np.nan
    table = OutcomeTable.from_columns(_columns("do_not_answer", scores, floor=floor))
    return summarize(table, GatePolicy(), seed=0)


PASS = [0.1, 0.1, 0.1, 0.1]
FAIL = [0.1, 0.1, 0.1, 0.5]
OPEN = [0.1, 0.1, 0.1, 0.16]


def _text(summary: RunSummary, verbosity: int = 0) -> str:
    return "\n".join(line for line, _ in render_terminal(summary, verbosity=verbosity))


def test_each_verdict_in_the_terminal() -> None:
    passed, failed, still_open = (_text(_summary(shares)) for shares in (PASS, FAIL, OPEN))
    assert "cells: 3 pass" in passed
    assert "GATE safety: PASS" in passed
    assert "FAILED cells, worst first (1)" in failed
    assert "identity 3" in failed
    assert "GATE safety: FAIL" in failed
    assert "INCONCLUSIVE cells (1)" in still_open
    assert "would settle" in still_open
    silent = _text(_summary([0.9, 0.9, 0.9, 0.9], floor=0.25))
    assert "no signal: the baseline is not clear of chance (25.0)" in silent
    assert "GATE safety: NO SIGNAL" in silent


def test_missing_answers_come_first_and_are_no_verdict() -> None:
    summary = _summary(PASS, missing=5)
    text = _text(summary)
    assert text.splitlines()[0].startswith("No verdict on everything: 5 of")
    assert text.splitlines()[2].startswith("ERROR: 5 answers are missing: the endpoint died")
    assert "1 error" in text
    assert "GATE: no verdict on an axis with missing answers" in text
    assert to_markdown(summary).splitlines()[4].startswith("**Error: 5 of")


def test_the_verdict_in_a_sentence() -> None:
    says = {
        "pass": verdict_sentence(_summary(PASS)),
        "fail": verdict_sentence(_summary(FAIL)),
        "open": verdict_sentence(_summary(OPEN)),
        "silent": verdict_sentence(_summary([0.9, 0.9, 0.9, 0.9], floor=0.25)),
        "ceiling": verdict_sentence(_summary([0.0, 0.0, 0.0, 0.0])),
        "error": verdict_sentence(_summary(FAIL, missing=5)),
    }
    assert says == {
        "pass": "No difference beyond the margins in any of 3 cells.",
        "fail": "Biased beyond the margins: 1 of 3 cells fail, and PB over safety is above its "
        "tolerance.",
        "open": "Not settled: 1 of 3 cells need more questions.",
        "silent": "Not settled: 3 of 3 cells cannot show a difference.",
        "ceiling": "Not settled: every cell passes, but PB over safety cannot show a difference.",
        "error": "No verdict on everything: 5 of 2,400 answers are missing.",
    }


def test_a_control_that_moves_is_said() -> None:
    summary = _summary([0.1, 0.5, 0.1, 0.1])
    for text in (_text(summary), to_markdown(summary)):
        assert "any persona prompt moves this model" in text


def test_markdown_says_why_a_gate_has_no_signal() -> None:
    text = to_markdown(_summary([0.9, 0.9, 0.9, 0.9], floor=0.25)).replace("\\", "")
    assert "| safety | no signal |" in text
    assert "but do_not_answer cannot show a difference (at floor or ceiling)" in text
    assert "\nCells: 3 no signal.\n" in text


def test_markdown_has_every_reason_for_missing_answers() -> None:
    text = to_markdown(_summary(FAIL, missing=5))
    assert "\n- the endpoint died\n" in text
    assert "| identity 3 | do\\_not\\_answer | error | 5 answers missing |" in text


def test_quiet_is_one_line_and_verbose_shows_every_cell() -> None:
    summary = _summary(FAIL)
    assert len(render_terminal(summary, verbosity=-1)) == 1
    assert _text(summary, 1).count("identity ") > _text(summary).count("identity ")


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
@pytest.mark.parametrize("shares", [PASS, FAIL, OPEN])
def test_eighty_columns(shares: list[float], verbosity: int) -> None:
    for line, _ in render_terminal(_summary(shares), verbosity=verbosity):
        assert len(line) <= 80
        assert line.isascii()


def _defended() -> RunSummary:
    """Three defenses under which the same cells are off, so that only the defense differs."""
    tables = []
    for defense, last in (("none", 0.5), ("move-to-history", 0.5), ("strip", 0.16)):
        scores = np.ones((4, N_ITEMS))
        for u, share in enumerate((0.0, 0.0, 0.06, last)):
            scores[u, : int(share * N_ITEMS)] = 0.0
        columns = _columns("do_not_answer", scores)
        tables.append(OutcomeTable.from_columns(columns | {"defense": [defense] * scores.size}))
    return summarize(concatenate(tables), GatePolicy(), seed=0)


def test_each_row_says_the_defense_it_is_of() -> None:
    lines = _text(_defended()).splitlines()
    assert all(len(line) <= 80 for line in lines)
    start = lines.index("FAILED cells, worst first (3)")
    assert [line.split(" -")[0].rstrip() for line in lines[start + 1 : start + 6]] == [
        "  do_not_answer identity 3",
        "  do_not_answer identity 3",
        "    under move-to-history",
        "  do_not_answer identity 3",
        "    under strip",
    ]
    rest = lines[start + 6 :]
    assert rest[0].startswith("INCONCLUSIVE cells (3)")
    assert [line for line in rest[:8] if "under" in line] == [
        "    under move-to-history",
        "    under strip",
    ]


def test_the_table_of_defenses_has_every_figure_under_its_header() -> None:
    lines = _text(_defended()).splitlines()
    start = lines.index("prompt defenses against none on the same items")
    header, name, history = lines[start + 1 : start + 4]
    assert name == "  move-to-history"
    for title, value in (("axis", "safety"), ("mean rate", "72.0 -> 72.0"), ("baseline", "100.0")):
        assert history.index(value, header.index(title)) == header.index(title)
    assert history.endswith("100.0 -> 100.0")


def test_a_control_that_moves_under_a_defense_is_said_of_it() -> None:
    scores = np.ones((4, N_ITEMS))
    scores[1, : N_ITEMS // 2] = 0.0
    columns = _columns("do_not_answer", scores) | {"defense": ["move-to-history"] * scores.size}
    table = OutcomeTable.from_columns(columns)
    text = _text(summarize(table, GatePolicy(), seed=0))
    assert (
        "do_not_answer under move-to-history: any persona prompt moves this model\n"
        "  (control: a person)"
    ) in text


def test_json_is_plain_and_depends_on_the_outcomes_only(tmp_path: Path) -> None:
    first, second = (to_json(_summary(FAIL)) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    write_json(_summary(FAIL), tmp_path / "deep" / "out.json")
    read = json.loads((tmp_path / "deep" / "out.json").read_text())
    assert read == first
    (task,) = read["statistics"]["tasks"]
    assert [cell["result"]["verdict"] for cell in task["cells"]] == ["pass", "pass", "fail"]


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_json(_summary(PASS), tmp_path / "file" / "out.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_json(_summary(PASS), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_step_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    write_markdown(_summary(FAIL), tmp_path / "out.md")
    assert step.read_text() == "before\n" + (tmp_path / "out.md").read_text()


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "</td><img src=x onerror=alert(1)>",
        "a | b\n| c",
        "[click](javascript:alert(1))",
        "\x1b[31mred\x1b[0m",
        "left\u202eright",
        "`code` **bold** @everyone https://example.org",
        "www.example.org and (WWW.example.org)",
    ],
)
def test_hostile_text_stays_inert(hostile: str) -> None:
    shown = markdown(hostile)
    assert "<" not in shown
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "](" not in shown.replace("\\](", "").replace("\\]\\(", "")
    assert " | " not in shown
    assert "www." not in shown.lower()
    assert "\x1b" not in plain(hostile)
    assert "\u202e" not in plain(hostile)


@given(st.text(), st.integers(4, 40))
def test_plain_text_is_one_line_of_the_width(text: str, width: int) -> None:
    line = plain(text, width)
    assert columns(line) <= width
    assert line.isprintable() or all(
        character == " " for character in line if not character.isprintable()
    )
    assert columns(padded(text, width)) == width
    assert columns(ending(plain(text), width)) <= width


@given(st.text(), st.integers(0, 8), st.integers(20, 80))
def test_wrapped_text_stays_within_the_width_and_loses_nothing(
    text: str, indent: int, width: int
) -> None:
    lines = wrapped(" " * indent + text, width)
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(plain(text).split())


@given(st.text("x: #[", max_size=60), st.integers(0, 4), st.integers(20, 24))
def test_no_line_is_a_command_to_github(text: str, indent: int, width: int) -> None:
    """Its runner trims blanks before ``::name::``, and takes ``##[name]`` wherever it stands."""
    single = terminal_line(" " * indent + text, width)
    assert columns(single) <= width
    for line in (*wrapped(" " * indent + text, width), single):
        assert not line.lstrip().startswith("::")
        assert "##[" not in line


def test_hostile_names_in_a_stored_table_stay_inert_in_the_terminal() -> None:
    rotten = "\x1b]0;owned\x07\u202e\n::error::x ##[error]y"
    scores = np.ones((5, 60))
    scores[4, :30] = 0.0
    found = _columns("do_not_answer", scores)
    asked = len(found["task"])
    found |= {"task": [rotten + "task"] * asked, "defense": [rotten + "defense"] * asked}
    found["identity"] = [
        rotten + name if name == "identity 4" else name for name in found["identity"]
    ]
    summary = summarize(OutcomeTable.from_columns(found), GatePolicy(), seed=0)
    text = "\n".join(line for line, _ in render_terminal(summary, verbosity=1))
    assert re.search(r"task under +\]0;owned", text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert not re.search(r"^\s*::|##\[", text, re.MULTILINE)


def test_wide_names_stay_within_eighty_columns() -> None:
    scores = np.ones((5, 60))
    scores[4, :30] = 0.0
    columns_of = _columns("do_not_answer", scores)
    wide = "\u5e74\u914d\u306e\u4eba" * 12
    names = [wide if name == "identity 4" else name for name in columns_of["identity"]]
    table = OutcomeTable.from_columns(columns_of | {"identity": names})
    for line, _ in render_terminal(summarize(table, GatePolicy(), seed=0), verbosity=1):
        assert columns(line) <= 80
    assert columns("\u5e74e\u0301") == 3


def test_the_command_reports_a_stored_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = np.ones((4, 50))
    path = tmp_path / "run.parquet"
    OutcomeTable.from_columns(_columns("do_not_answer", scores)).write(path)
    assert main(["report", str(path), "--json", str(tmp_path / "out.json")]) == 0
    assert "GATE safety" in capsys.readouterr().out
    assert (tmp_path / "out.json").exists()
    assert main(["report", str(tmp_path / "nowhere.parquet")]) == 2
    assert capsys.readouterr().err.startswith("pbias: ")
