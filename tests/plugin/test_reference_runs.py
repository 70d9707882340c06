"""Test, report and JUnit compare an identity with one and the same reference."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["gsm8k"], identities=["a man", "a senior citizen", "Control"])
def test_people(cell):
    cell.check()
"""


def _differences(report: dict[str, Any]) -> dict[str, tuple[str, float, str]]:
    (task,) = report["statistics"]["tasks"]
    return {
        cell["identity"]: (
            cell["result"]["verdict"],
            round(cell["result"]["difference"]["estimate"], 4),
            cell["result"]["reference"],
        )
        for cell in task["cells"]
    }


@pytest.mark.parametrize("workers", ["0", "2"])
def test_cells_are_compared_with_the_controls(pytester: pytest.Pytester, workers: str) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_subprocess(
        *("--pbias-model=embedded", "--pbias-limit=40", "--pbias-json=out.json"),
        *("--pbias-reference=control", "--pbias-table=out.parquet", "--junitxml=out.xml"),
        *("-n", workers),
    )
    report = json.loads((pytester.path / "out.json").read_text())
    assert report["statistics"]["policy"]["reference"] == "control"
    found = _differences(report)
    people = {"a man", "a senior citizen"}
    controls = len(found) - len(people)
    assert {found[name][2] for name in people} == {f"the mean of {controls} controls"}
    assert {found[name][2] for name in found.keys() - people} == {"baseline"}
    recorded = {}
    for case in ET.parse(pytester.path / "out.xml").getroot().iter("testcase"):
        said = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        if "pbias_difference" in said:
            recorded[said["pbias_identity"]] = (
                said["pbias_verdict"],
                pytest.approx(float(said["pbias_difference"] or "nan"), abs=1e-3),
            )
    assert {name: found[name][:2] for name in found} == recorded
    # What a report of the table says is what the tests said; the baseline is one option away.
    again = pytester.path / "again.json"
    report_again = (*(sys.executable, "-m", "pytest_pbias.cli", "report"), "out.parquet")
    assert pytester.run(*report_again, "--json", str(again)).ret == 0
    assert _differences(json.loads(again.read_text())) == found
    given = ("--reference", "baseline", "--json", str(again))
    assert pytester.run(*report_again, *given).ret == 0
    assert {one[2] for one in _differences(json.loads(again.read_text())).values()} == {"baseline"}


def test_a_reference_that_nobody_asks_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=10", "--pbias-reference=a men", "-n0"
    )
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--pbias-reference*a men*a man*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
