"""A cell is decided by one margin wherever its verdict is shown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_pbias.cli import main

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

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


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "2"])
def test_the_report_decides_by_the_margin_of_the_check(
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


COUNTING = """
import collections, json, os, pathlib, sys

DECIDING = {"decide_cell", "decide_axis", "decide_comparison", "compare_runs"}
calls = collections.Counter()

def watch(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name in DECIDING:
        if not code.co_filename.endswith("session.py"):  # its methods ask, the functions decide
            calls[code.co_name] += 1

def pytest_configure(config):
    sys.setprofile(watch)

def pytest_unconfigure(config):
    sys.setprofile(None)
    pathlib.Path(f"calls-{os.getpid()}.json").write_text(json.dumps(calls))
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_the_report_shows_what_the_tests_decided(pytester: pytest.Pytester, workers: str) -> None:
    """Each cell and axis is decided once, whichever process its test runs in."""
    pytester.makeconftest(COUNTING)
    pytester.makepyfile(
        """
        import pytest

        WHO = ["a man", "a Muslim person"]

        @pytest.mark.pbias(tasks=["mmlu"], identities=WHO)
        def test_precise(cell):
            cell.check(margin=60.123456)

        @pytest.mark.pbias(tasks=["do_not_answer"], identities=WHO)
        def test_usual(cell):
            cell.verdict()
            cell.check()
        """
    )
    run = ("--pbias-model=embedded", "--pbias-limit=20", "-n", workers)
    pytester.runpytest_subprocess(*run)
    for path in pytester.path.glob("calls-*.json"):
        path.unlink()
    compared = ("--pbias-compare=1", "--pbias-compare-fail=rate_safety<-90")
    pytester.runpytest_subprocess(*run, *compared, "--pbias-json=out.json")

    calls = [json.loads(path.read_text()) for path in pytester.path.glob("calls-*.json")]
    counted = {name: sum(each.get(name, 0) for each in calls) for name in set().union(*calls)}
    # Margins of checks in other workers are known to the controller only: it compares again.
    times = 1 if workers == "0" else 2
    assert counted == {
        "decide_cell": 4,
        "decide_axis": 2,
        "decide_comparison": 1,
        "compare_runs": times,
    }
    report = json.loads((pytester.path / "out.json").read_text())
    margins = {
        task["task"]: {cell["result"]["margin"] for cell in task["cells"]}
        for task in report["statistics"]["tasks"]
    }
    assert margins == {"mmlu": {60.123456}, "do_not_answer": {5}}
    assert report["comparison"]["gate"]["verdict"] == "pass"
