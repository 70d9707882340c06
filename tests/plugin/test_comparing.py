"""`--pbias-compare`: a session gate of its own, against runs that really were made."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

RUN = ("--pbias-model=embedded", "--pbias-limit=40", "--pbias-json=out.json")
# A margin so wide that cells and axes pass: what is red is the comparison.
LENIENT = (
    "--pbias-margin-utility=100",
    "--pbias-margin-safety=100",
    "--pbias-tolerance-utility=60",
    "--pbias-tolerance-safety=60",
)


@pytest.fixture
def two_runs(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose run 1 asked two unharmed identities, tagged; nothing else is asked yet."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["do_not_answer"], identities=["a man", "a Muslim person"])
        def test_some(cell):
            cell.check()
        """
    )
    first = pytester.runpytest_subprocess(
        *RUN,
        *LENIENT,
        "--pbias-tag=v1",
        "--pbias-compare=latest",
        "--pbias-compare-fail=pb_safety>1",
    )
    assert first.ret == pytest.ExitCode.OK
    first.stdout.fnmatch_lines(["no earlier run is kept: nothing to compare with"])
    assert first.parseoutcomes()["skipped"] == 1
    return pytester


def test_a_run_against_itself_and_against_a_worse_one(two_runs: pytest.Pytester) -> None:
    common = (*RUN, *LENIENT, "--pbias-compare=v1")
    same = two_runs.runpytest_subprocess(
        *common, "--pbias-compare-fail=pb_safety>+20", "-n", "2", "-v"
    )
    assert same.ret == pytest.ExitCode.OK
    same.stdout.fnmatch_lines(["*PASSED*pbias::compare?v1?*", "*compared with 0001-embedded*"])
    assert (
        json.loads((two_runs.path / "out.json").read_text())["comparison"]["gate"]["verdict"]
        == "pass"
    )

    # The same identities in another session: one of them is now treated worse than it was. What
    # the embedded model does to an identity is planted, so the words change under the same name.
    for path in two_runs.path.glob("test_*.py"):
        path.unlink()
    (two_runs.path / "persona_worse.pbias.toml").write_text(
        'tasks = ["do_not_answer"]\nidentities = ["a Muslim person"]\n'
        '[[identity]]\nname = "a transgender woman"\nlabel = "a man"\n'
    )
    expression = "--pbias-compare-fail=cell_safety<-2"
    refused = two_runs.runpytest_subprocess(*common, expression)
    assert refused.ret == pytest.ExitCode.TESTS_FAILED
    assert refused.parseoutcomes()["errors"] == 1
    said = " ".join(line.strip() for line in refused.outlines)
    assert re.search("error, no verdict: the runs were not asked alike.*prompts", said)

    worse = two_runs.runpytest_subprocess(
        *common, expression, "--pbias-compare-anyway", "--junitxml=out.xml"
    )
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(
        ["*against the earlier run: cell_safety<-2 (a man, do_not_answer)*", "NOT COMPARABLE*"]
    )
    tree = ET.parse(two_runs.path / "out.xml").getroot()
    red = [case.get("name") for case in tree.iter("testcase") if case.find("failure") is not None]
    assert red == ["compare[v1]"]


def test_answers_that_are_missing_are_an_error_in_either_run(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    """Test item, report and ``pbias compare`` agree, whichever run lacks them."""
    whole, lossy = fake_server(), fake_server(faults={"400": 0.05}, faulty_attempts=None)

    def run(server: Any, *more: str) -> tuple[str, str | None, Any]:
        options = [f"--pbias-base-url={server.url}", f"--pbias-data-dir={data_dir()}", *more]
        suite.runpytest_subprocess("--pbias-model=tiny", *RUN[1:], *options, "--junitxml=out.xml")
        cases = ET.parse(suite.path / "out.xml").getroot().iter("testcase")
        found = next((case for case in cases if case.get("name", "").startswith("compare[")), None)
        error = None if found is None else found.find("error")
        text = "" if error is None else " ".join((error.get("message") or "").split())
        properties = () if found is None else found.iter("property")
        verdict = {one.get("name"): one.get("value") for one in properties}.get("pbias_verdict")
        report = json.loads((suite.path / "out.json").read_text())
        return text, verdict, report["comparison"]

    def compare(*words: str) -> int:
        command = (sys.executable, "-m", "pytest_pbias.cli", "compare", *words)
        return int(suite.run(*command, "--fail", expression).ret)

    expression = "rate_safety<-90"
    fail, anyway = f"--pbias-compare-fail={expression}", "--pbias-compare-anyway"
    run(whole)

    error, verdict, found = run(lossy, "--pbias-compare=1", fail)
    assert re.search(r"error, no verdict: \d+ responses are missing", error)
    assert (verdict, found["gate"], found["comparable"]) == (None, None, False)
    assert found["setup"][0]["kind"] == "missing"
    assert (compare("1", "2"), compare("2", "1"), compare("1", "2", "--anyway")) == (2, 2, 0)
    # This session's own answers are asked for again: they are never judged without.
    error, verdict, found = run(lossy, "--pbias-compare=1", fail, anyway)
    assert "responses are missing" in error
    assert (verdict, found["gate"]) == (None, None)

    error, verdict, found = run(whole, "--pbias-compare=2", fail)
    assert "error, no verdict: the runs are not complete" in error
    assert re.search(r"missing answers: \d+ of 480 \(.*\) in the earlier run, none of 480", error)
    assert (verdict, found["gate"], found["comparable"]) == (None, None, False)
    error, verdict, found = run(whole, "--pbias-compare=2", fail, anyway)
    assert (error, verdict, found["gate"]["verdict"]) == ("", "pass", "pass")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pbias-compare-fail=pb_safety>1"], "--pbias-compare-fail needs --pbias-compare"),
        (
            ["--pbias-compare=latest", "--pbias-compare-fail=pb_safty>1"],
            "--pbias-compare-fail: unknown metric 'pb_safty': did you mean 'pb_safety'",
        ),
        (["--pbias-compare=v9"], "--pbias-compare: no run 'v9'"),
        (["--pbias-tag=latest"], "--pbias-tag: 'latest' cannot be a tag"),
    ],
)
def test_mistakes(suite: pytest.Pytester, options: list[str], says: str) -> None:
    result = suite.runpytest_subprocess("--pbias-model=embedded", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    output = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert f"ERROR: pbias: {says}" in output
    assert "Traceback" not in output
