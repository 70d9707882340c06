"""The A/A check: the baselines asked twice, and what never depends on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.text import signed

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

ITEMS = 20
SELECTED = [f"--pbias-limit={ITEMS}", "-p", "no:cacheprovider"]


def _report(folder: Path, name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / name).read_text())
    return report


def _rows(path: Path) -> list[tuple[Any, ...]]:
    table = OutcomeTable.read(path)
    columns = [table.text(name) for name in ("task", "identity", "item_id", "response", "score")]
    return list(zip(*columns, table.text("repeat"), strict=True))


@pytest.mark.slow
def test_a_greedy_engine_moves_nothing_and_nothing_else_changes(
    suite: pytest.Pytester, embedded_server: str
) -> None:
    shared = [*SELECTED, f"--pbias-base-url={embedded_server}", "--pbias-model=embedded"]
    shared += [f"--pbias-data-dir={data_dir()}"]
    plain = suite.runpytest_subprocess(
        *shared, "--pbias-json=plain.json", "--pbias-table=plain.parquet", "--pbias-store=plain"
    )
    twice = suite.runpytest_subprocess(
        *shared, "--pbias-json=aa.json", "--pbias-table=aa.parquet", "--pbias-aa", "-n", "2"
    )
    assert twice.ret == plain.ret
    assert _rows(suite.path / "aa.parquet") == _rows(suite.path / "plain.parquet")
    before, after = (_report(suite.path, f"{name}.json") for name in ("plain", "aa"))
    assert after["statistics"] == before["statistics"]
    twice.stdout.fnmatch_lines(
        [
            "A/A check: the baselines asked twice (no verdict depends on it)",
            f"  all {2 * ITEMS} answers were the same: the engine itself moves nothing",
        ]
    )
    plain.stdout.no_fnmatch_line("A/A check*")
    assert before["run"]["engine_noise"] == []
    noise = after["run"]["engine_noise"]
    assert [one["task"] for one in noise] == ["do_not_answer", "gsm8k"]
    for one in noise:
        assert one["n_answers"] == ITEMS
        assert (one["changed_answers"], one["changed_outcomes"], one["n_missing"]) == (0, 0, 0)
        assert one["difference"]["estimate"] == 0
    stored = Store(suite.path / ".pbias" / "responses.sqlite").count()
    assert stored == Store(suite.path / "plain" / "responses.sqlite").count() + 2 * ITEMS


def test_a_noisy_engine_is_told_in_points_of_the_gate(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    noisy = fake_server(moods=["I cannot help with that.", "Sure, here is how."], seed=3)
    result = suite.runpytest_subprocess(
        *SELECTED,
        *(f"--pbias-base-url={noisy.url}", "--pbias-model=tiny", "--pbias-aa"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-json=aa.json", "--pbias-table=aa.parquet"),
        *("-k", "do_not_answer"),
    )
    (one,) = _report(suite.path, "aa.json")["run"]["engine_noise"]
    assert 0 < one["changed_answers"] < ITEMS
    assert one["changed_outcomes"] == one["changed_answers"]  # each change is of a refusal
    found = one["difference"]
    assert found["low"] < found["estimate"] < found["high"]
    scale = 100 / ITEMS
    assert abs(found["estimate"]) <= scale * one["changed_answers"] + 1e-9
    share = 100 * one["changed_answers"] / ITEMS
    shown = signed(*(found[name] for name in ("estimate", "low", "high")))
    counts = f"{ITEMS} * {one['changed_answers']} * {one['changed_outcomes']} "
    result.stdout.fnmatch_lines(
        [
            f"  {share:.1f} % of {ITEMS} answers changed, by the engine alone",
            f"  do_not_answer * {counts} * {shown}",
        ]
    )
    ours = result.stdout.str().partition(" personalization bias ")[2].partition("short test")[0]
    assert max(map(len, ours.splitlines())) <= 80
    table = OutcomeTable.read(suite.path / "aa.parquet")
    assert set(table.text("repeat")) == {0}
    assert len(table) == 5 * ITEMS
    assert table.info.engine_noise[0]["changed_answers"] == one["changed_answers"]


def test_a_run_that_is_cut_short_does_not_wait_for_the_second_asking(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    noisy = fake_server(text="I cannot help with that.", latency=0.02)
    suite.makepyfile(test_aaa="def test_fails(): raise AssertionError")
    suite.runpytest_subprocess(
        *SELECTED,
        *(f"--pbias-base-url={noisy.url}", "--pbias-model=tiny", "--pbias-aa", "-x"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-json=aa.json", "--pbias-concurrency=1"),
    )
    assert noisy.requests() < 100
    noise = _report(suite.path, "aa.json")["run"]["engine_noise"]
    assert [one["n_missing"] for one in noise] == [ITEMS, ITEMS]
    assert [one["difference"] for one in noise] == [None, None]
