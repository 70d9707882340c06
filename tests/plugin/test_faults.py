"""Whole sessions against endpoints that misbehave or die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

FAULTS = (
    "429", "429-retry-after", "500", "503", "reset", "reset-after-headers", "truncated",
    "no-choices", "html", "null", "utf8",
)  # fmt: skip
ROW = ("task", "identity", "item_id", "repeat", "response", "score", "label", "parsable", "error")


def _command(server: Any, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
        *("--pbias-model=tiny", f"--pbias-base-url={server.url}", "--pbias-placement=system"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-limit=60", *more),
    ]


def _rows(suite: pytest.Pytester, name: str) -> list[str]:
    arrow = OutcomeTable.read(suite.path / name).arrow
    columns = [arrow.column(column).to_pylist() for column in ROW]
    return sorted(json.dumps(row) for row in zip(*columns, strict=True))


def test_faults_change_no_row_of_the_table(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    clean, faulty = fake_server(), fake_server(faults=dict.fromkeys(FAULTS, 0.05), seed=5)
    for server, name in ((clean, "clean"), (faulty, "faulty")):
        more = (f"--pbias-table={name}.parquet", f"--pbias-store={name}")
        subprocess.run(
            _command(server, *more), cwd=suite.path, stdout=subprocess.DEVNULL, check=False
        )
    assert faulty.requests() > clean.requests() + 40
    rows = _rows(suite, "clean.parquet")
    assert len(rows) == 720
    assert _rows(suite, "faulty.parquet") == rows


def test_odd_values_of_an_endpoint_cost_no_answer(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server(
        finish_reason="st\ud800op",
        usage={"prompt_tokens": 2**40, "completion_tokens": 3},
        text="The answer is 4 \ud800",
        faults={"400": 0.3},
        faulty_attempts=None,
        complaint="just \ud800 refused",
    )
    options = ("--pbias-limit=4", "--pbias-table=out.parquet", "--pbias-markdown=out.md")
    first = suite.runpytest_subprocess(*_command(server, *options)[3:])
    assert "INTERNALERROR" not in first.stdout.str() + first.stderr.str()
    read = OutcomeTable.read(suite.path / "out.parquet")
    assert read.unique("finish_reason") == ("st?op",)
    assert read.errors() == ("request refused (400): just ? refused",)
    assert read.arrow.column("prompt_tokens").null_count == len(read)
    asked = server.requests()

    # A store that an earlier version filled holds such counts as they came.
    store = Store(suite.path / ".pbias" / "responses.sqlite")
    kept = list(store.get_many(store.keys()).values())
    store.delete_many([one.key for one in kept])
    store.put_many([replace(one, prompt_tokens=2**40) for one in kept])
    store.close()
    again = suite.runpytest_subprocess(*_command(server, *options)[3:])
    assert "INTERNALERROR" not in again.stdout.str() + again.stderr.str()
    assert OutcomeTable.read(suite.path / "out.parquet").text("response") == read.text("response")
    assert server.requests() - asked == read.arrow.column("error").length() - len(kept)


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_an_endpoint_that_dies_is_one_error_within_half_a_minute(
    suite: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    server = fake_server(latency=0.1)
    command = _command(server, "-n", workers, "--pbias-concurrency=4", "--pbias-json=out.json")
    with subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        end = time.monotonic() + 60
        while server.requests() < 80:
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(server.pid(), signal.SIGKILL)
        start = time.monotonic()
        said, _ = process.communicate(timeout=120)
        took = time.monotonic() - start
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, said
    # Half a minute to give up, and then the report on a machine that has other work as well.
    assert took < 60
    assert "PARTIAL: " in said
    assert "error, no verdict" in said
    assert "Traceback" not in said
    report = json.loads((suite.path / "out.json").read_text())
    assert report["run"]["partial"]
    verdicts = [
        cell["result"]
        for task in report["statistics"]["tasks"]
        for cell in task["cells"]
        if cell["n_missing"]
    ]
    assert verdicts
    assert set(verdicts) == {None}
    kept = Store(suite.path / ".pbias" / "responses.sqlite").count()
    assert kept >= 70
    again = fake_server()
    more = [f"--pbias-base-url={again.url}", "--pbias-table=out.parquet"]
    subprocess.run(
        [*_command(again), *more], cwd=suite.path, stdout=subprocess.DEVNULL, check=False
    )
    # Another address is another endpoint: nothing of the dead one is taken for its answers.
    assert again.requests() >= 600
