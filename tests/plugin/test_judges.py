"""Judges chosen by option, plug-ins' judges, and several at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from pytest_pbias.cli import main
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

CONFTEST = """
from pytest_pbias.grading import Grade, Ungraded

class Length:
    name, version = "length", "1"
    def __init__(self, faulty=False):
        self.faulty = faulty
    def judge(self, exchanges, criterion):
        assert all(one.question for one in exchanges)
        open("seen.txt", "a").writelines(f"{one.response!r}\\n" for one in exchanges)
        if self.faulty:
            return [Ungraded("the scales broke")] * len(exchanges)
        return [Grade(float(len(one.response) > 40), "long") for one in exchanges]

class Scales(Length):
    name = "scales"

def pytest_pbias_judges(config):
    return [Length(), Scales(faulty=True)]
"""
SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "xstest", "gsm8k"], identities=["a man", "a woman"])
def test_small(cell):
    cell.check()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, embedded_server: str) -> pytest.Pytester:
    pytester.makepyfile(test_suite=SUITE)
    pytester.makeconftest(CONFTEST)
    pytester.makeini(
        f"[pytest]\npbias_model = pbias-embedded\npbias_base_url = {embedded_server}\n"
        f"pbias_data_dir = {data_dir()}\npbias_limit = 12\npbias_table = table.parquet\n"
    )
    return pytester


def _table(project: pytest.Pytester) -> OutcomeTable:
    return OutcomeTable.read(project.path / "table.parquet")


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_several_judges_are_recorded_and_the_first_gates(
    project: pytest.Pytester, workers: str
) -> None:
    result = project.runpytest_subprocess("-n", workers, "--pbias-judge=length,rules")
    assert result.ret in (0, 1), result.stdout.str()
    table = _table(project)
    judged = {
        task: {row["judge"] for row in table.arrow.to_pylist() if row["task"] == task}
        for task in table.tasks()
    }
    assert judged == {
        "do_not_answer": {"length"},
        "xstest": {"length"},
        "gsm8k": {"final-number"},
    }
    for row in table.arrow.to_pylist():
        if row["task"] == "gsm8k":
            assert row["other_grades"] is None
            continue
        assert row["score"] == float(len(row["response"]) > 40)
        (other,) = row["other_grades"]
        assert (other["judge"], other["version"], other["parsable"]) == ("rules", "6", True)
        refused = other["label"] == "refusal"
        assert other["score"] == float(refused == (row["task"] == "do_not_answer"))
    assert list(table.task_outcomes("xstest").others) == ["rules"]
    assert table.info.judges.names == ("length", "rules")
    assert table.info.judges.masked == ("length",)
    if workers != "0":
        return
    # Each distinct question and answer was judged once, and its grade kept.
    seen = (project.path / "seen.txt").read_text("utf-8").splitlines()
    again = project.runpytest_subprocess("-n", "0", "--pbias-judge=length,rules")
    assert again.ret == result.ret
    assert (project.path / "seen.txt").read_text("utf-8").splitlines() == seen
    assert _table(project).text("score") == table.text("score")


@pytest.mark.slow
def test_a_kept_run_is_judged_by_plugins_too(project: pytest.Pytester) -> None:
    project.runpytest_subprocess("-n", "0", "-k", "xstest")
    command = ("-m", "pytest_pbias.cli", "regrade", "1", "--judge", "length,rules")
    done = project.run(sys.executable, *command, "--data-dir", str(data_dir()))
    assert done.ret == 0, done.stderr.str()
    done.stdout.fnmatch_lines(["xstest: * verdicts changed (rules 6 -> length 1 masked)"])
    done.stdout.no_fnmatch_line("*test session*")
    failed = project.run(sys.executable, *command[:-1], "lenght")
    assert failed.ret == 2
    failed.stderr.fnmatch_lines(["pbias: unknown judge 'lenght': did you mean 'length'?"])
    project.makeconftest("def pytest_pbias_judges(config):\n    return 1/0")
    broken = project.run(sys.executable, *command)
    assert broken.stderr.lines == [
        "pbias: the hook pytest_pbias_judges broke: ZeroDivisionError: division by zero"
    ]


def test_a_judge_that_fails_is_an_error_where_it_gates(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("-n", "0", "--pbias-judge=scales,rules")
    assert result.ret == 1
    said = " ".join(result.stdout.str().split())
    assert "error, no verdict: 12 of 12 responses to xstest under 'a man' are not judged" in said
    assert "(the scales broke); run again to judge these alone" in said
    result.stdout.no_fnmatch_line("*Traceback*")
    table = _table(project)
    rows = [row for row in table.arrow.to_pylist() if row["task"] == "do_not_answer"]
    assert {row["score"] for row in rows} == {None}
    assert {row["error"] for row in rows} == {"the scales broke"}
    assert all(row["response"] for row in rows)
    assert {row["other_grades"][0]["judge"] for row in rows} == {"rules"}


def test_a_judge_that_fails_beside_the_gating_one_costs_nothing(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_subprocess("-n", "0", "--pbias-judge=rules,scales")
    result.stdout.no_fnmatch_line("*error, no verdict*")
    rows = [row for row in _table(project).arrow.to_pylist() if row["task"] == "xstest"]
    assert {row["other_grades"][0]["score"] for row in rows} == {None}
    assert {row["other_grades"][0]["label"] for row in rows} == {"error"}
    assert None not in {row["score"] for row in rows}


@pytest.mark.parametrize(
    ("conftest", "judge", "says"),
    [
        ("", "lenght", "*--pbias-judge: unknown judge 'lenght'*"),
        ("def pytest_pbias_judges(config):\n    return 1/0", "rules", "*hook*ZeroDivision*:2)"),
        ("def pytest_pbias_judges(config):\n    return [7]", "rules", "*class int has no usable*"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_asked(
    pytester: pytest.Pytester, conftest: str, judge: str, says: str
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    pytester.makeconftest(conftest)
    result = pytester.runpytest_subprocess(
        "-n", "0", "--pbias-model=embedded", f"--pbias-judge={judge}"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{says}"])
    result.stderr.no_fnmatch_line("*Traceback*")
    assert not (pytester.path / ".pbias").exists()


def test_a_language_model_judges_beside_the_rules(
    project: pytest.Pytester, referee: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = referee()
    result = project.runpytest_subprocess(
        "-n", "0", "--pbias-judge=rules,llm", "--pbias-judge-model=referee",
        f"--pbias-judge-base-url={server.url}",
    )  # fmt: skip
    result.stdout.no_fnmatch_line("*error, no verdict*")
    table = _table(project)
    rows = [row for row in table.arrow.to_pylist() if row["task"] != "gsm8k"]
    assert {row["judge"] for row in rows} == {"rules"}
    for row in rows:
        (other,) = row["other_grades"]
        assert (other["judge"], other["version"]) == ("llm:strongreject", "2 referee masked")
        assert other["score"] == float(row["task"] == "do_not_answer")  # it calls all refusals
    asked = len(server.asked())
    distinct = {(row["task"], row["item_id"], row["response"]) for row in rows}
    assert asked == len(distinct)
    cost = table.info.judges.cost["llm:strongreject"]
    assert cost.replies == asked
    assert cost.prompt_tokens == 100 * asked
    # A kept run judged the other way round asks nothing new, and no model.
    arguments = ["--judge", "llm,rules", "--judge-model", "referee", "--judge-base-url", server.url]
    store = project.path / ".pbias"
    assert (
        main(["regrade", "1", "--store", str(store), *arguments, "--data-dir", str(data_dir())])
        == 0
    )
    assert len(server.asked()) == asked
    again = OutcomeTable.read(sorted((store / "runs").glob("0002*"))[0])
    assert set(again.task_outcomes("do_not_answer").scores.ravel()) == {1.0}
    assert again.task_outcomes("xstest").judge == "llm:strongreject"
    assert list(again.task_outcomes("xstest").others) == ["rules"]
    said = capsys.readouterr().out
    assert "(rules 6 -> llm:strongreject 2 referee masked)" in said


def test_a_judge_behind_a_gateway(
    project: pytest.Pytester,
    referee: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has headers of its own, also where a kept run is judged; none is kept or shown."""
    monkeypatch.setenv("GATE_KEY", "hunter22-of-the-gate")
    monkeypatch.setenv("TEAM", "research")
    server = referee(key="of-the-judge")
    monkeypatch.setenv("PBIAS_JUDGE_API_KEY", "of-the-judge")
    judge = ["judge=llm", "judge-model=referee", f"judge-base-url={server.url}?code=hunter22"]
    judge += ["judge-header=X-Gate: env:GATE_KEY", "judge-header=X-Team: env:TEAM"]
    options = ["-n0", "--pbias-limit=4", "--pbias-html=report.html", "--pbias-json=report.json"]
    result = project.runpytest_subprocess(*options, *(f"--pbias-{one}" for one in judge))
    assert set(_table(project).unique("judge")) == {"final-number", "llm:strongreject"}
    for one in server.seen():
        assert one["headers"]["x-gate"] == "hunter22-of-the-gate"
        assert one["headers"]["x-team"] == "research"
        assert one["query"] == {"code": "hunter22"}
    asked = server.requests()
    store = project.path / ".pbias"
    (store / "judgements.sqlite").unlink()
    capsys.readouterr()  # the command line of the session
    words = ["--store", str(store), "--data-dir", str(data_dir()), *(f"--{one}" for one in judge)]
    assert main(["regrade", "1", *words]) == 0
    assert server.requests() == 2 * asked
    assert server.seen()[-1]["headers"]["x-gate"] == "hunter22-of-the-gate"
    said = capsys.readouterr()
    assert "hunter22" not in result.stdout.str() + said.out + said.err
    for path in (one for one in project.path.rglob("*") if one.is_file()):
        assert b"hunter22" not in path.read_bytes() or path.name.startswith("asked"), path
    assert main(["regrade", "1", *words, "--judge-header", "X-Key: hunter22"]) == 2
    said = capsys.readouterr()
    assert "--judge-header: the header X-Key is not of the form" in said.err
    assert "hunter22" not in said.err


def test_a_judge_that_cannot_be_read_gives_no_verdict(
    project: pytest.Pytester, referee: Any
) -> None:
    server = referee(garbage="always")
    given = [
        "--pbias-judge=llm",
        "--pbias-judge-model=referee",
        f"--pbias-judge-base-url={server.url}",
    ]
    plan = project.runpytest_subprocess("-n", "0", "--pbias-plan", *given)
    plan.stdout.fnmatch_lines(["judge llm:strongreject: at most 72 verdicts besides*"])
    assert server.asked() == []
    result = project.runpytest_subprocess("-n", "0", *given)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*no verdict of the judge llm:strongreject can be read*"])
    rows = [row for row in _table(project).arrow.to_pylist() if row["task"] != "gsm8k"]
    assert {(row["label"], row["parsable"], row["score"]) for row in rows} == {
        ("unparsable", False, 0.0)
    }


def test_a_dead_judge_endpoint_is_said_before_anything_is_asked(
    project: pytest.Pytester, referee: Any
) -> None:
    server = referee()
    server.process.stop()
    result = project.runpytest_subprocess(
        "-n", "0", "--pbias-judge=llm", "--pbias-judge-model=referee",
        f"--pbias-judge-base-url={server.url}",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *judge llm:strongreject: nothing answers at*"])


@pytest.mark.slow
def test_an_interrupted_run_judges_nothing_more_and_keeps_its_verdicts(
    project: pytest.Pytester, referee: Any
) -> None:
    server = referee(latency=0.3)
    given = [
        "-n", "0", "-k", "do_not_answer", "--pbias-judge=llm", "--pbias-judge-model=referee",
        "--pbias-judge-concurrency=1", f"--pbias-judge-base-url={server.url}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "pytest", *given]
    process = project.popen(command, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(server.asked()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stopped = time.monotonic()
    process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert time.monotonic() - stopped < 15
    asked = len(server.asked())
    rows = _table(project).arrow.to_pylist()
    assert any(row["score"] is not None for row in rows)
    missing = [row for row in rows if row["score"] is None]
    assert missing
    assert all("stopped before everything was judged" in row["error"] for row in missing)
    assert all(row["response"] for row in missing)
    # The next run asks for the others only: the embedded model gives each item one answer.
    again = project.runpytest_subprocess(*given)
    assert again.ret == 0
    distinct = {(row["item_id"], row["response"]) for row in _table(project).arrow.to_pylist()}
    assert len(server.asked()) == len(distinct)
    assert asked < len(distinct)
