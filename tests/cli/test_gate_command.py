"""``pbias gate`` decides on a table as the run that made it did, and ends as that run did."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_pbias.cli import main

LOGS = Path(__file__).parents[1] / "data" / "logs"
NAMES = ("none", "person", "muslim", "senior", "teenager")


def _import(folder: Path, *names: str) -> list[str]:
    store = ["--store", str(folder / "store")]
    logs = [str(LOGS / "inspect" / f"{name}.json") for name in names]
    words = ["--identity", "metadata.persona", "--baseline", "none", "--grade-as", "mmlu"]
    assert main(["import", *logs, *words, *store]) == 0
    return store


def _cases(path: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Name -> how it ended, and its properties."""
    found = {}
    for case in ET.parse(path).getroot().iter("testcase"):
        ends = [one.tag for one in case if one.tag != "properties"]
        properties = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        found[case.get("name", "")] = (ends[0] if ends else "passed", properties)
    return found


def test_imported_answers_are_gated_with_exit_codes_and_junit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, xml = _import(tmp_path, *NAMES), tmp_path / "junit.xml"
    assert main(["gate", "latest", "--junitxml", str(xml), *store]) == 1
    said = capsys.readouterr().out
    assert "6 verdicts: 3 failed, 2 skipped, 1 passed" in said
    cases = _cases(xml)
    assert {name: ends for name, (ends, _) in cases.items()} == {
        "baseline[knowledge]": "passed",
        "cell[knowledge-a person]": "skipped",
        "cell[knowledge-a Muslim person]": "failure",
        "cell[knowledge-a senior citizen]": "failure",
        "cell[knowledge-a teenager]": "skipped",
        "gate[utility]": "failure",
    }
    assert cases["baseline[knowledge]"][1] == {"pbias_verdict": "signal"}
    lost = cases["cell[knowledge-a Muslim person]"][1]
    assert (lost["pbias_rate"], lost["pbias_difference"]) == ("62.5", "-35")
    assert main(["verdict", "1", str(xml)]) == 0
    assert capsys.readouterr().out == "fail\n"
    suite = ET.parse(xml).getroot().find("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "3", "errors": "0", "skipped": "2",
    }  # fmt: skip


def test_margins_and_the_mode_are_those_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, xml = _import(tmp_path, *NAMES), tmp_path / "junit.xml"

    def ends(*words: str) -> tuple[int, set[str]]:
        status = main(["gate", "latest", "--junitxml", str(xml), *words, *store])
        return status, {found for found, _ in _cases(xml).values()}

    wide = ("--margin", "60", "--tolerance-utility", "50")
    assert ends(*wide) == (0, {"passed"})
    assert ends(*wide, "--gate", "prove") == (0, {"passed"})
    assert ends("--margin", "60") == (1, {"passed", "failure"})  # PB alone
    assert ends("--margin-utility", "60", "--tolerance-utility", "50") == (0, {"passed"})
    assert ends("--task-margins", "knowledge=60", "--tolerance-utility", "50") == (0, {"passed"})
    open_ = ("--margin", "45", "--tolerance-utility", "50")
    assert ends(*open_) == (0, {"passed", "skipped"})
    assert ends(*open_, "--gate", "prove") == (1, {"passed", "failure"})
    assert _cases(xml)["cell[knowledge-a Muslim person]"][0] == "failure"
    assert main(["report", "latest", *wide, *store]) == 0
    assert "margin of a cell: utility 60, safety 60; of PB: utility 50" in capsys.readouterr().out


def test_a_mistake_has_the_exit_code_that_pytest_gives_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = _import(tmp_path, "none", "muslim")
    capsys.readouterr()
    assert main(["gate", "lates", *store]) == 4
    assert main(["gate", "latest", "--task-margins", "knowlege=3", *store]) == 4
    assert main(["gate", "latest", "--reference", "a mann", *store]) == 4
    assert main(["gate", "latest", "--junitxml", str(tmp_path), *store]) == 4
    said = capsys.readouterr()
    assert said.err.count("\n") == 4
    assert "did you mean 'knowledge'?" in said.err
    for words in (["latest", "--margin", "0"], ["latest", "--alpha", "1"], []):
        with pytest.raises(SystemExit) as stopped:
            main(["gate", *words, *store])
        assert stopped.value.code == 4
    with pytest.raises(SystemExit) as stopped:
        main(["report"])
    assert stopped.value.code == 2


def test_answers_that_the_log_lacks_are_errors_and_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [f"q{number}" for number in range(30)]
    rows = [
        f"{item},{who},{'' if (who, item) == ('a nurse', 'q7') else 1}"
        for who in ("none", "a nurse", "a baker")
        for item in answers
    ]
    path, xml = tmp_path / "answers.csv", tmp_path / "junit.xml"
    path.write_text("item,identity,score\n" + "\n".join(rows))
    store = ["--store", str(tmp_path / "store")]
    scale = ["--axis", "safety", "--floor", "0"]
    assert main(["import", str(path), "--baseline", "none", *scale, *store]) == 0
    assert main(["gate", "latest", "--junitxml", str(xml), "--margin", "50", *store]) == 1
    cases = _cases(xml)
    assert {name: ends for name, (ends, _) in cases.items()} == {
        "baseline[answers]": "passed",
        "cell[answers-a nurse]": "error",
        "cell[answers-a baker]": "passed",
        "gate[safety]": "error",
    }
    said = capsys.readouterr().out
    assert "1 answers are missing" in said
    assert "run again" not in said
    assert main(["verdict", "1", str(xml)]) == 0
    assert capsys.readouterr().out == "error\n"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        pytest.param(["--pbias-stop=never"], 1, marks=pytest.mark.slow),
        (["--pbias-stop=early"], 1),
        (["--pbias-margin-utility=60", "--pbias-tolerance-utility=60"], 0),
        # Not settled, which is no fault.
        pytest.param(["-k", "not Muslim", "--pbias-margin-utility=2"], 0, marks=pytest.mark.slow),
        pytest.param(
            ["-k", "not Muslim", "--pbias-margin-utility=2", "--pbias-gate=prove"],
            1,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_gate_ends_as_the_session_that_kept_the_run(
    pytester: pytest.Pytester, options: list[str], status: int
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.pbias(tasks=["mmlu"], identities=["baseline", "a man", "a Muslim person"])
        def test_alike(cell):
            cell.check()
    """)
    words = ["--pbias-model=embedded", "--pbias-limit=100", *options]
    ran = pytester.runpytest_subprocess(*words, "--junitxml=run.xml", "-p", "no:cacheprovider")
    gate = (sys.executable, "-m", "pytest_pbias.cli", "gate", "latest", "--junitxml", "table.xml")
    assert pytester.run(*gate).ret == ran.ret == status
    kept: dict[str, list[list[tuple[str, str]]]] = {}
    ends: dict[str, list[str]] = {}
    for name in ("run.xml", "table.xml"):
        ends[name] = sorted(found for found, _ in _cases(pytester.path / name).values())
        cases = ET.parse(pytester.path / name).getroot().iter("testcase")
        kept[name] = sorted(
            sorted((one.get("name", ""), one.get("value", "")) for one in case.iter("property"))
            for case in cases
        )
    assert kept["run.xml"] == kept["table.xml"]
    assert ends["run.xml"] == ends["table.xml"]
