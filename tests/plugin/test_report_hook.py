"""The hook with the finished report, and trackers in a session: once, and never in place of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_pbias.models.embedded import data_dir

RUN = (
    "--pbias-model=embedded",
    "--pbias-limit=10",
    f"--pbias-data-dir={data_dir()}",
    "--pbias-json=out.json",
    "--pbias-tag=v1",
    "--pbias-tolerance-safety=60",
)
HOOK = """
import json
from pathlib import Path
from pathlib import Path

def pytest_pbias_report(report, config):
    assert report.table.is_file()
    said = {"name": report.name, "document": dict(report.document), "tag": report.tag,
            "files": [str(path) for path in report.files], "metrics": report.metrics()}
    with open("told.jsonl", "a") as stream:
        stream.write(json.dumps(said) + "\\n")
"""


def test_the_hook_is_called_once_with_what_was_written(suite: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    suite.makeconftest(HOOK)
    for number, workers in enumerate(((), ("-n", "2")), 1):
        done = suite.runpytest_subprocess(*RUN, *workers)
        assert done.ret == pytest.ExitCode.OK
        told = [json.loads(line) for line in (suite.path / "told.jsonl").read_text().splitlines()]
        assert len(told) == number
        assert told[-1]["document"] == json.loads((suite.path / "out.json").read_text())
        assert told[-1]["name"] == f"000{number}-embedded"
        assert [Path(path).name for path in told[-1]["files"]] == ["out.json"]
        assert told[-1]["tag"] == "v1"
        assert "pb/safety" in told[-1]["metrics"]


def test_a_broken_hook_is_said_and_costs_no_report(suite: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    suite.makeconftest("def pytest_pbias_report(report):\n    raise KeyError('nothing')\n")
    done = suite.runpytest_subprocess(*RUN)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        ["outcome table: *", "the hook pytest_pbias_report broke: KeyError: 'nothing' (*:2)"]
    )
    assert (suite.path / "out.json").is_file()


@pytest.mark.slow
def test_a_tracker_of_a_session_and_one_that_is_down(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs pytest-pbias[mlflow]")
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{suite.path}/mlruns")
    done = suite.runpytest_subprocess(*RUN, "--pbias-tracker=mlflow")
    assert done.ret == pytest.ExitCode.OK, done.stdout.str()
    (figure,) = suite.path.glob("mlruns/*/*/metrics/pb/safety")
    assert float(figure.read_text().split()[1]) >= 0
    assert {path.name for path in suite.path.glob("mlruns/*/*/artifacts/pbias/*")} == {
        "0001-embedded.parquet",
        "out.json",
    }

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = suite.runpytest_subprocess(*RUN, "--pbias-tracker=mlflow")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        ["MLflow was not told of this run, which is kept as 0002-embedded: *"]
    )


@pytest.mark.parametrize("option", ["--pbias-tracker=mlfow", "--pbias-tracker=,"])
def test_mistakes_are_said_before_anything_is_asked(suite: pytest.Pytester, option: str) -> None:
    done = suite.runpytest_subprocess("--pbias-model=embedded", option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert not (suite.path / ".pbias" / "runs").exists()
    assert "--pbias-tracker" in done.stderr.str() + done.stdout.str()
