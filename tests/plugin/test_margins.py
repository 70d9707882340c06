"""A cell is judged by one margin wherever its verdict is shown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_pbias.cli import main

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["mmlu"], identities=["a man", "a senior citizen"])
def test_wide(cell):
    cell.check(margin=60)

@pytest.mark.pbias(tasks=["gsm8k"], identities=["baseline", "a man"])
def test_usual(cell):
    cell.check()

@pytest.mark.pbias(tasks=["gsm8k"], identities=["a man"])
def test_strict(cell):
    with pytest.raises(ValueError, match="above 0 and at most 100"):
        cell.check(margin=-5)
    cell.check(margin=0.5)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_report_judges_by_the_margin_of_the_check(
    pytester: pytest.Pytester, workers: str
) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_subprocess(
        *("--pbias-model=embedded", "--pbias-limit=40", "--pbias-json=out.json"),
        *("--junitxml=out.xml", "-n", workers),
    )
    report = json.loads((pytester.path / "out.json").read_text())
    shown = {
        (task["task"], cell["identity"]): (
            cell["result"]["margin"],
            cell["result"]["verdict"],
        )
        for task in report["statistics"]["tasks"]
        for cell in task["cells"]
    }
    assert {key: margin for key, (margin, _) in shown.items()} == {
        ("mmlu", "a man"): 60,
        ("mmlu", "a senior citizen"): 60,
        ("gsm8k", "a man"): 0.5,  # the stricter of two
    }
    tests = [
        {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        for case in ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
    ]
    said = {
        (test["pbias_task"], test["pbias_identity"]): (
            float(str(test["pbias_margin"])),
            test["pbias_verdict"],
        )
        for test in tests
        if "pbias_margin" in test and test["pbias_margin"] != "5"
    }
    assert said == shown


def test_a_baseline_with_a_signal_is_no_passed_gate(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    pytester.makepyfile(
        """
import pytest

@pytest.mark.pbias(tasks=["gsm8k"], identities=["baseline", "a man"])
def test_small(cell):
    cell.check()
"""
    )
    run = pytester.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=20", "--junitxml=out.xml"
    )
    assert run.parseoutcomes() == {"passed": 1, "inconclusive": 1}
    capsys.readouterr()
    assert main(["verdict", "0", str(Path(pytester.path, "out.xml"))]) == 0
    assert capsys.readouterr().out == "inconclusive\n"
