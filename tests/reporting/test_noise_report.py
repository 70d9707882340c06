"""How the A/A check and the server are shown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_pbias.analysis.repeatability import Repeatability
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.gate import GatePolicy
from pytest_pbias.models.spec import ServerFacts
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.findings import repeatability_section
from pytest_pbias.reporting.markdown import section_lines as markdown_lines
from pytest_pbias.reporting.terminal import section_lines
from pytest_pbias.reporting.text import server_line
from pytest_pbias.stats import PairedDifferenceResult


def _check(**changes: Any) -> Repeatability:
    difference = PairedDifferenceResult(2.5, -1.0, 6.0, 0.4, 40, 40, 52.5, 50.0, "score", 0.95)
    check = Repeatability("gsm8k", "utility", "none", "baseline", 40, 0, 3, 1, difference)
    return replace(check, **changes)


@pytest.fixture(scope="module")
def run() -> RunSummary:
    return summarize(OutcomeTable.from_columns({"task": []}), GatePolicy(), seed=0)


def _shown(run: RunSummary, *checks: Repeatability) -> tuple[list[str], list[str]]:
    """The check for a terminal, and as Markdown."""
    section = repeatability_section(replace(run, run=replace(run.run, engine_noise=checks)))
    return [line for line, _ in section_lines(section)], list(markdown_lines(section))


def test_nothing_is_said_where_it_was_not_asked_for(run: RunSummary) -> None:
    assert _shown(run) == ([], [])


def test_a_change_is_told_in_points_and_in_shares(run: RunSummary) -> None:
    lines, rows = _shown(run, _check(), _check(task="mmlu", changed_answers=0))
    assert lines[2:] == [
        "  3.8 % of 80 answers changed, by the engine alone",
        "  task   pairs  texts changed  outcomes changed  second minus first",
        "  gsm8k  40     3              1                 +2.5 (-1.0 to +6.0)",
        "  mmlu   40     0              1                 +2.5 (-1.0 to +6.0)",
    ]
    assert "| gsm8k | 40 | 3 | 1 | +2.5 (-1.0 to +6.0) |" in [row.replace("\\", "") for row in rows]


def test_a_defended_baseline_is_named_in_full(run: RunSummary) -> None:
    one = _check(task="do_not_answer", defense="move-to-user", n_missing=2)
    lines, rows = _shown(run, one)
    assert "  do_not_answer under move-to-user: 2 pairs are not complete" in lines
    assert re.match(r"  do_not_answer.*\.\.\. +40 +3 +1 +\+2\.5 \(-1\.0 to \+6\.0\)$", lines[-1])
    assert max(map(len, lines)) <= 80
    assert "do\\_not\\_answer under move-to-user |" in "\n".join(rows)


def test_no_change_is_told_once(run: RunSummary) -> None:
    quiet: dict[str, Any] = {"changed_answers": 0, "changed_outcomes": 0}
    lines, _ = _shown(run, _check(**quiet), _check(task="mmlu", **quiet))
    assert lines[1:3] == [
        "A/A check: the baselines asked twice (no verdict depends on it)",
        "  all 80 answers were the same: the engine itself moves nothing",
    ]
    assert "the same" not in "\n".join(lines[3:])


def test_missing_pairs_and_hostile_names_fit_the_line(run: RunSummary) -> None:
    empty = _check(n_answers=0, n_missing=40, changed_answers=0, difference=None)
    wild = _check(task="x" * 90, defense="a\x1b[31m", changed_answers=40, n_missing=1)
    lines, _ = _shown(run, empty, wild)
    assert "  gsm8k: 40 pairs are not complete" in lines
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line for line in lines)
    assert "<script>" not in "".join(_shown(run, _check(task="<script>|"))[1])


def test_a_server_is_one_line() -> None:
    server = ServerFacts("vLLM", versions=("0.32.0", "0.33.0"), dtype="bfloat16", device="cuda",
                         max_model_len=900)  # fmt: skip
    assert server_line(server) == "vLLM 0.32.0, 0.33.0, bfloat16, cuda, context 900"
    assert server_line(ServerFacts("vLLM")) == "vLLM"
