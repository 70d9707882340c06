"""Plans, budgets, and runs that are ended from outside: nothing paid for is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.models.embedded import data_dir

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

PRICES = 'currency = "USD"\n[models]\ntiny = { input = 1000, output = 1000 }\n'


def _arguments(server: Any, *more: str) -> list[str]:
    return [
        "--pbias-model=tiny",
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=40",
        "--pbias-placement=system",
        "-p",
        "no:cacheprovider",
        *more,
    ]


def _stored(path: Path) -> int:
    return Store(path / ".pbias" / "responses.sqlite").count()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_plan_asks_nothing(
    suite: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    server = fake_server()
    suite.path.joinpath("prices.toml").write_text(PRICES)
    result = suite.runpytest_subprocess(
        *_arguments(server, "--pbias-plan", "--pbias-prices=prices.toml", "-n", workers)
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "10 cells with their baselines, 400 requests, 0 answered already",
            "to ask: 400 requests",
            "tokens: about * in, at most 204,800 out",
            "cost: * to * USD at list price",
            "time: about * minutes*",
            "nothing was asked (--pbias-plan)",
        ]
    )
    assert server.requests() == 0


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_spent_budget_is_an_error_and_a_larger_one_goes_on(
    suite: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    server = fake_server(latency=0.01)
    arguments = _arguments(server, "--pbias-concurrency=4", "--pbias-json=out.json", "-n", workers)
    result = suite.runpytest_subprocess(*arguments, "--pbias-budget=3000tokens")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*the budget of 3,000 tokens is spent; run again*"])
    result.stdout.fnmatch_lines(["PARTIAL: the budget of 3,000 tokens is spent*"])
    kept = _stored(suite.path)
    assert 0 < kept < 400
    assert json.loads((suite.path / "out.json").read_text())["run"]["partial"]
    asked = server.requests()
    again = suite.runpytest_subprocess(*arguments)
    again.stdout.no_fnmatch_line("* are missing (*")
    assert _stored(suite.path) == 400
    assert server.requests() - asked <= 400 - kept + 2  # and the list of models


@pytest.mark.parametrize(
    ("workers", "number"),
    [
        ("2", signal.SIGINT),
        pytest.param("0", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("0", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("0", signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param("2", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("2", signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_reports_what_it_has(
    suite: pytest.Pytester,
    fake_server: Callable[..., Any],
    workers: str,
    number: signal.Signals,
) -> None:
    server = fake_server(latency=0.2)  # 20 s, of which a busy test may sleep some
    command = [sys.executable, "-m", "pytest", "-n", workers, "--pbias-json=out.json"]
    command += _arguments(server, "--pbias-concurrency=4")
    with subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        end = time.monotonic() + 60
        while server.requests() < 60:
            assert time.monotonic() < end
            time.sleep(0.05)
        start = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        took = time.monotonic() - start
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "PARTIAL: interrupted before everything was asked" in said
    assert "Traceback" not in said
    assert took < 30  # five seconds of grace, and the report
    report = json.loads((suite.path / "out.json").read_text())
    assert report["run"]["partial"]
    kept = _stored(suite.path)
    assert 40 <= kept < 400
    # What was in flight was finished and kept.
    asked = server.requests()
    assert asked - kept <= 4 + 2
    # The next run asks for the rest alone, and is whole.
    server.configure(latency=0)
    suite.runpytest_subprocess("--pbias-json=out.json", *_arguments(server))
    assert _stored(suite.path) == 400
    assert server.requests() - asked <= 400 - kept + 2
    assert not json.loads((suite.path / "out.json").read_text())["run"]["partial"]


@pytest.mark.slow
@pytest.mark.parametrize("presses", [2, 3])
def test_ctrl_c_once_more_is_no_traceback(
    suite: pytest.Pytester, fake_server: Callable[..., Any], presses: int
) -> None:
    server = fake_server(latency=4.5)  # within the grace of what is in flight
    command = [sys.executable, "-m", "pytest", "-n", "0", "--pbias-json=out.json"]
    with subprocess.Popen(
        [*command, *_arguments(server, "--pbias-concurrency=4", "--pbias-placement=system")],
        cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        server.await_stat("most_in_flight", 4)
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(1.5)  # until the session ends, also on a busy machine
        said, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "Traceback" not in said
    assert "writing what there is" in said
    assert (suite.path / "out.json").exists() is (presses == 2)
    if presses == 2:
        assert _stored(suite.path) >= 4  # what was in flight was paid for
    else:
        assert "stopped before the table and the reports were written" in said
