"""How the A/A check and the server are shown."""

from __future__ import annotations

from typing import Any

from pytest_pbias.reporting.sections import noise_lines, noise_table
from pytest_pbias.reporting.text import server_line


def _check(**changes: Any) -> dict[str, Any]:
    difference = {"estimate": 2.5, "low": -1.0, "high": 6.0}
    plain = {"task": "gsm8k", "axis": "utility", "defense": "none", "baseline": "baseline",
             "n_answers": 40, "n_missing": 0, "changed_answers": 3, "changed_outcomes": 1,
             "difference": difference}  # fmt: skip
    return plain | changes


def test_nothing_is_said_where_it_was_not_asked_for() -> None:
    assert list(noise_lines(())) == []
    assert list(noise_table(())) == []


def test_a_change_is_told_in_points_and_in_shares() -> None:
    lines = [line for line, _ in noise_lines([_check(), _check(task="mmlu", changed_answers=0)])]
    assert lines[-1] == "  gsm8k                +2.5 (-1.0 to +6.0); 7.5 % of 40 answers changed"
    rows = list(noise_table([_check()]))
    assert rows[4].replace("\\", "") == "| gsm8k | +2.5 (-1.0 to +6.0) | 3 | 1 | 40 |"


def test_a_defended_baseline_is_named_in_full() -> None:
    one = _check(task="do_not_answer", defense="move-to-user", n_missing=2)
    assert [line for line, _ in noise_lines([one])][2:] == [
        "  do_not_answer under move-to-user",
        "                       +2.5 (-1.0 to +6.0); 7.5 % of 40 answers changed",
        "                       2 pairs are not complete",
    ]
    assert "do\\_not\\_answer under move-to-user |" in list(noise_table([one]))[4]


def test_no_change_is_told_once() -> None:
    quiet = {"changed_answers": 0, "changed_outcomes": 0}
    lines = [line for line, _ in noise_lines([_check(**quiet), _check(task="mmlu", **quiet)])]
    assert lines[1:] == [
        "A/A check: the baselines asked twice (no verdict depends on it)",
        "  all 80 answers were the same: the engine itself moves nothing",
    ]


def test_missing_pairs_and_hostile_names_fit_the_line() -> None:
    empty = _check(n_answers=0, n_missing=40, changed_answers=0, difference=None)
    wild = _check(task="x" * 90, defense="a\x1b[31m", changed_answers=40, n_missing=1)
    lines = [line for line, _ in noise_lines([empty, wild])]
    assert "  gsm8k: 40 pairs are not complete" in lines
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line for line in lines)
    assert "<script>" not in "".join(noise_table([_check(task="<script>|")]))


def test_a_server_is_one_line() -> None:
    server = {"engine": "vLLM", "versions": ["0.32.0", "0.33.0"], "dtype": "bfloat16",
              "device": "cuda", "max_model_len": 900}  # fmt: skip
    assert server_line(server) == "vLLM 0.32.0, 0.33.0, bfloat16, cuda, context 900"
    assert server_line({"engine": "vLLM"}) == "vLLM"
