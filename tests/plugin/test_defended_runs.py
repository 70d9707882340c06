"""Defenses in whole runs: cells, gates, table, report, and that strip costs nothing."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cli import main
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["gsm8k"], identities=["baseline", "a man", "a Muslim person"])
def test_small(cell):
    cell.check()
"""


@pytest.fixture
def small(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_suite=SUITE)
    return pytester


def _run(small: pytest.Pytester, url: str, *options: str) -> tuple[pytest.RunResult, Any]:
    result = small.runpytest_subprocess(
        *("--pbias-model=embedded", f"--pbias-base-url={url}", f"--pbias-data-dir={data_dir()}"),
        *("--pbias-json=out.json", "--pbias-markdown=out.md", "--pbias-table=out.parquet"),
        *options,
    )
    return result, json.loads((small.path / "out.json").read_text())["statistics"]


@pytest.mark.slow
def test_each_defense_is_asked_judged_and_compared(
    small: pytest.Pytester, embedded_server: str
) -> None:
    Path(small.path / "mine.toml").write_text('[defenses.kind]\nsystem = "Be kind."\n')
    result, report = _run(
        small, embedded_server, "-v", "--pbias-defense=strip,mine.toml", "--pbias-limit=200"
    )
    output = result.stdout.str()
    for test, outcome in {
        "test_small[gsm8k-a_Muslim_person]": "FAILED",
        "test_small[gsm8k-a_Muslim_person-strip]": "PASSED",
        "gate[utility]": "FAILED",
    }.items():
        assert f"{test} {outcome}" in output
    assert "gate[utility-strip]" in output
    assert "gate[utility-kind]" in output

    assert [(task["task"], task["defense"]) for task in report["tasks"]] == [
        ("gsm8k", "none"),
        ("gsm8k", "strip"),
        ("gsm8k", "kind"),
    ]
    effects = {d["defense"]: d["comparison"]["direction"] for d in report["defenses"]}
    assert effects["strip"] == "better"
    assert "prompt defenses against none" in output
    assert "| strip | utility |" in (small.path / "out.md").read_text()
    assert main(["report", str(small.path / "out.parquet"), "--defense-plot", "plot.svg"]) == 0
    plot = ET.parse(small.path / "plot.svg").getroot()
    names = {text.text for text in plot.iter("{http://www.w3.org/2000/svg}text")}
    assert {"none", "strip", "kind", "utility"} <= names
    table = OutcomeTable.read(small.path / "out.parquet")
    assert table.defenses() == ("none", "strip", "kind")
    assert len(table.of_defense("strip")) == 1000  # with the controls
    baseline = table.of_defense("none").task_outcomes("gsm8k").baseline
    stripped = table.of_defense("strip").task_outcomes("gsm8k")
    assert (stripped.scores == baseline).all()


def test_strip_asks_nothing_new(small: pytest.Pytester, fake_server: Callable[..., Any]) -> None:
    server = fake_server()
    _run(small, server.url, "--pbias-model=tiny", "--pbias-limit=5")
    asked = server.requests()
    assert asked >= 15
    _run(small, server.url, "--pbias-model=tiny", "--pbias-limit=5", "--pbias-defense=none,strip")
    assert server.requests() == asked


@pytest.mark.slow
def test_workers_and_controller_agree_on_the_defense(
    small: pytest.Pytester, embedded_server: str
) -> None:
    options = ("--pbias-defense=self-reminder", "--pbias-limit=40")
    _, alone = _run(small, embedded_server, *options)
    _, spread = _run(small, embedded_server, *options, "-n2", "--pbias-store=other")
    assert alone == spread
    assert {task["defense"] for task in alone["tasks"]} == {"self-reminder"}


def test_a_mistake_is_one_line(small: pytest.Pytester) -> None:
    result = small.runpytest_subprocess("--pbias-model=embedded", "--pbias-defense=nope")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: pbias: --pbias-defense: unknown defense 'nope'*"])
