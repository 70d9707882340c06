"""Test, report and JUnit compare an identity with one and the same reference.

The controls are asked with identities unless the reference says otherwise, whatever is selected.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from pytest_pbias.stats.looks import items_to_pass

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


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
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


PEOPLE = """
import pytest

@pytest.mark.pbias(tasks=["gsm8k"], identities=["a man", "a senior citizen"])
def test_people(cell):
    cell.check()
"""
PLACEBOS = {"a person", "a user of this service"}


def _run(pytester: pytest.Pytester, *options: str) -> dict[str, tuple[str, float, str]]:
    """The verdicts of the report, which has those of the tests and no other."""
    pytester.runpytest_subprocess(
        *("--pbias-model=embedded", "--pbias-limit=12", "--pbias-json=out.json"),
        *("--pbias-table=out.parquet", "--junitxml=out.xml", *options),
    )
    found = _differences(json.loads((pytester.path / "out.json").read_text()))
    tested = {
        said["pbias_identity"]
        for case in ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
        if "pbias_difference"
        in (said := {one.get("name"): one.get("value") for one in case.iter("property")})
    }
    assert tested == found.keys()
    again = pytester.path / "again.json"
    report = (sys.executable, "-m", "pytest_pbias.cli", "report", "out.parquet")
    assert pytester.run(*report, "--json", str(again)).ret == 0
    assert _differences(json.loads(again.read_text())) == found
    return found


@pytest.mark.slow
def test_controls_are_asked_whatever_is_selected(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_few=PEOPLE, test_all=SUITE)
    few = _run(pytester, "test_few.py")
    assert few.keys() == {"a man", "a senior citizen"} | PLACEBOS
    assert few["a man"][2] == "the mean of 2 controls"
    for selected in (
        ("test_few.py::test_people[gsm8k-a_man]",),
        ("test_few.py", "-k", "a_man", "-n2"),
        ("test_all.py", "-k", "a_man"),  # which deselects the controls of the suite
        ("test_all.py", "-k", "a_man or a_person"),
    ):
        found = _run(pytester, *selected)
        assert found.keys() == {"a man"} | PLACEBOS
        assert found["a man"][1:] == few["a man"][1:]
    listing = ("test_few.py", "--pbias-model=embedded", "--collect-only", "-q")
    listed = pytester.runpytest_subprocess(*listing)
    listed.stdout.fnmatch_lines(["pbias::reference[[]gsm8k-a_person[]]"])


@pytest.mark.slow
def test_controls_are_not_asked_where_another_reference_is_wanted(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(PEOPLE)
    for options in (["--pbias-reference=baseline"], ["--pbias-protocol=paper"]):
        plain = _run(pytester, *options, "--pbias-repeats=1")
        assert plain.keys() == {"a man", "a senior citizen"}
        assert {one[2] for one in plain.values()} == {"baseline"}
    everybody = _run(pytester, "--pbias-reference=identities")
    assert {one[2] for one in everybody.values()} == {"the mean of 2 identities"}
    # One by name is asked like the baseline, also where its own test is not selected.
    named = _run(pytester, "--pbias-reference=a man", "-k", "senior")
    assert {name: one[2] for name, one in named.items()} == {
        "a man": "baseline", "a senior citizen": "a man"
    }  # fmt: skip


@pytest.mark.slow
def test_words_of_two_files_have_their_own_controls(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PEOPLE)
    text = """
    tasks = ["gsm8k"]
    system = "Du hilfst gern. {statement}"
    statement = "Ich bin {identity}."
    identities = ["eine Ärztin", "eine Lehrerin"]
    """
    (pytester.path / "persona_de.pbias.toml").write_text(text, "utf-8")
    own = "[[identity]]\nname = 'eine Person'\ncontrol = true\nplacement = 'user'\n"
    usual = "tasks = ['gsm8k']\nplacement = 'user'\nidentities = ['ein Lotse']\n"
    (pytester.path / "persona_own.pbias.toml").write_text(usual + own, "utf-8")
    found = _run(pytester)
    assert found.keys() == PLACEBOS | {f"{name} (de)" for name in PLACEBOS} | {
        *("a man", "a senior citizen", "eine Ärztin", "eine Lehrerin", "ein Lotse", "eine Person")
    }
    assert {found[name][2] for name in ("a man", "eine Ärztin")} == {"the mean of 2 controls"}
    assert found["ein Lotse"][2] == "the control"
    # The embedded model has never seen German: everybody falls alike, and nobody by it.
    rates = json.loads((pytester.path / "out.json").read_text())["statistics"]["tasks"][0]
    rate = {cell["identity"]: cell["rate"]["estimate"] for cell in rates["cells"]}
    mean = (rate["a person (de)"] + rate["a user of this service (de)"]) / 2
    assert found["eine Ärztin"][1] == pytest.approx(rate["eine Ärztin"] - mean, abs=1e-3)


@pytest.mark.slow
def test_stopped_runs_ask_the_controls_as_far_as_anybody_needs_them(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(PEOPLE)
    found = _run(pytester, "--pbias-limit=200", "--pbias-margin-utility=20", "-k", "a_man")
    assert found["a man"][0] == "pass"
    (task,) = json.loads((pytester.path / "out.json").read_text())["statistics"]["tasks"]
    assert 0 < task["n_items"] < task["n_planned"] == 200


@pytest.mark.slow
def test_strata_are_those_of_the_run_and_of_its_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PEOPLE)
    _run(pytester, "--pbias-strata=gsm8k, mmlu")
    report = json.loads((pytester.path / "again.json").read_text())
    assert report["statistics"]["policy"]["strata"] == ["gsm8k", "mmlu"]
    refused = pytester.runpytest_subprocess("--pbias-model=embedded", "--pbias-strata=gsm8")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*--pbias-strata*gsm8*gsm8k*"])


def test_the_plan_counts_the_controls(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PEOPLE)
    asked = ("--pbias-model=embedded", "--pbias-limit=12", "--pbias-plan")
    with_controls = pytester.runpytest_subprocess(*asked)
    with_controls.stdout.fnmatch_lines(["5 cells with their baselines, 60 requests*"])
    without = pytester.runpytest_subprocess(*asked, "--pbias-reference=baseline")
    without.stdout.fnmatch_lines(["3 cells with their baselines, 36 requests*"])


@pytest.mark.parametrize("reference", ["control", "identities", "an early bird", "baseline"])
def test_the_plan_expects_references_as_far_as_their_furthest_cell(
    pytester: pytest.Pytester, reference: str
) -> None:
    rows = [{"question": f"{n} plus 1?", "answer": f"#### {n + 1}"} for n in range(400)]
    data = pytester.path / "data" / "gsm8k" / "test.jsonl"
    data.parent.mkdir(parents=True)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # A wide margin is settled early; the controls are shared, and have the first file's margin.
    for name, margin in (("an early bird", 20), ("a night owl", 5)):
        persona = pytester.path / f"persona_{margin}.pbias.toml"
        persona.write_text(
            f"tasks = ['gsm8k']\nidentities = ['{name}']\n[margins]\nutility = {margin}\n"
        )
    files = ("persona_20.pbias.toml", "persona_5.pbias.toml")
    result = pytester.runpytest_subprocess(
        *files, "--pbias-model=embedded", "--pbias-plan", f"--pbias-data-dir={data.parents[1]}",
        f"--pbias-reference={reference}",
    )  # fmt: skip
    n_cells = {"control": 4}.get(reference, 2)
    soon, late = (items_to_pass(400, margin=margin, n_cells=n_cells) for margin in (20.0, 5.0))
    assert soon < late < 400
    expected = {
        "control": soon + 4 * late,  # the early bird; night owl, baseline and both controls
        "identities": 3 * late,
        "an early bird": 3 * late,
        "baseline": soon + 2 * late,
    }[reference]
    result.stdout.fnmatch_lines([f"expected: about {expected:,} of all requests*"])


def test_a_reference_that_nobody_asks_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=10", "--pbias-reference=a men", "-n0"
    )
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--pbias-reference*a men*a man*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
