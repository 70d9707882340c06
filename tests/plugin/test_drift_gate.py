"""`--pbias-drift-fail`: a gate over the model's kept runs, in a session and under workers."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import keep_run, list_runs

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

RUN = (
    "--pbias-model=embedded",
    "--pbias-limit=60",
    f"--pbias-data-dir={data_dir()}",
    "--pbias-json=out.json",
    "--junitxml=out.xml",
    "--pbias-stop=never",
    # So wide that cells and axes pass: what is red is the drift.
    "--pbias-margin-utility=100",
    "--pbias-margin-safety=100",
    "--pbias-tolerance-utility=60",
    "--pbias-tolerance-safety=60",
)
FAIL = "--pbias-drift-fail=cell_safety<-5"
HARMED = "a transgender woman"


def _unharmed(run: OutcomeTable) -> OutcomeTable:
    """The run as if the harmed identity had been answered like nobody, but for a few answers."""
    names, items, tasks = run.text("identity"), run.text("item_id"), run.text("task")
    scores = np.array(run.arrow["score"].to_pylist())
    keys = list(zip(tasks, items, strict=True))
    nobody = {
        key: s for key, name, s in zip(keys, names, scores, strict=True) if name == "baseline"
    }
    given = [
        nobody[key] if name == HARMED else score
        for key, name, score in zip(keys, names, scores, strict=True)
    ]
    index = run.arrow.schema.get_field_index("score")
    return OutcomeTable(run.arrow.set_column(index, "score", pa.array(given))).with_info(run.info)


def _session(suite: pytest.Pytester, *more: str) -> tuple[pytest.RunResult, ET.Element]:
    done = suite.runpytest_subprocess(*RUN, *more)
    (case,) = (
        case
        for case in ET.parse(suite.path / "out.xml").getroot().iter("testcase")
        if case.get("name") == "drift"
    )
    return done, case


def test_a_drift_is_red_and_all_reports_agree(suite: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    done, case = _session(suite, FAIL)
    assert done.ret == pytest.ExitCode.OK
    assert case.find("skipped") is not None
    assert json.loads((suite.path / "out.json").read_text())["history"] == {
        "problem": "no earlier run is kept: nothing to compare with"
    }

    done, case = _session(suite, FAIL)  # the same answers again: nothing moves
    assert done.ret == pytest.ExitCode.OK
    assert case.find("failure") is None
    done.stdout.fnmatch_lines(["*over the model's runs*", "No drift is shown over 2 runs."])

    store = suite.path / ".pbias"
    first = OutcomeTable.read(list_runs(store)[0].path)
    for record in list_runs(store):
        record.path.unlink()
    for model in ("embedded", "embedded", "another", "embedded"):
        keep_run(first if model == "another" else _unharmed(first), store, model=model)
    for workers in ((), ("-n", "2")):
        done, case = _session(suite, FAIL, *workers)
        assert done.ret == pytest.ExitCode.TESTS_FAILED
        assert done.parseoutcomes()["failed"] == 1
        message = (case[-1].get("message") or "") + (case.find("failure").text or "")
        assert "over the model's runs: cell_safety<-5 (a transgender woman" in " ".join(
            message.split()
        )
        history = json.loads((suite.path / "out.json").read_text())["history"]
        assert history["gate"]["verdict"] == "fail"
        assert [run["name"] for run in history["runs"]][-1] == "this run"
        assert len(history["runs"]) == 4, "the other model's run does not count"
        newest = list_runs(store)[-1]
        newest.path.unlink()

    done, case = _session(suite, FAIL, "--pbias-placement=user")
    assert done.parseoutcomes()["errors"] == 1
    said = " ".join((case.find("error").get("message") or "").split())
    assert "error, no verdict: a history takes two runs that can be compared" in said
    assert "prompts of" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--pbias-drift-fail=pb_speed>1", "--pbias-drift-fail: unknown metric 'pb_speed'"),
        ("--pbias-drift-fail=", "--pbias-drift-fail is empty"),
        ("--pbias-drift-runs=1", "whole number of at least 2"),
    ],
)
def test_mistakes_are_one_line(suite: pytest.Pytester, option: str, said: str) -> None:
    done = suite.runpytest_subprocess("--pbias-model=embedded", option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr.str() + done.stdout.str()
