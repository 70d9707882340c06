"""What else people pass to pytest: listings ask nothing, and waiting is not taken for hanging."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

SUITE = """
import pytest

@pytest.fixture
def rate(cell):
    return cell.rate

@pytest.mark.pbias(tasks=["gsm8k"], identities=["a man", "a woman"])
def test_small(cell, rate):
    cell.check()
"""
PERSONAS = 'tasks = ["gsm8k"]\nidentities = ["a nurse", "a pilot"]\n'


@pytest.fixture
def ask(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> Callable[..., tuple[pytest.RunResult, int]]:
    """Runs the suite against a server of that kind; gives the result and the requests it got."""
    pytester.makepyfile(test_suite=SUITE)
    pytester.path.joinpath("persona_work.pbias.toml").write_text(PERSONAS)

    def run(*options: str, **config: Any) -> tuple[pytest.RunResult, int]:
        server = fake_server(**config)
        result = pytester.runpytest_subprocess(
            *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
            *(f"--pbias-data-dir={data_dir()}", "--pbias-placement=system", "--pbias-limit=4"),
            *options,
        )
        return result, server.requests()

    return run


@pytest.mark.parametrize(
    "listing",
    [
        "--fixtures", "--fixtures-per-test", "--setup-plan", "--setup-only", "--collect-only",
        "--markers", "--help",
    ],
)  # fmt: skip
def test_a_listing_asks_nothing_and_leaves_no_run(
    pytester: pytest.Pytester, ask: Callable[..., tuple[pytest.RunResult, int]], listing: str
) -> None:
    result, requests = ask(listing, "-rs", "--pbias-json=out.json", "--pbias-compare=latest",
                           "--pbias-compare-fail=pb_utility>+1")  # fmt: skip
    output = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert result.ret == pytest.ExitCode.OK, output
    assert requests == 0
    assert not list(pytester.path.glob(".pbias/runs/*"))
    assert not pytester.path.joinpath("out.json").exists()
    assert "personalization bias ===" not in output
    assert "Traceback (most recent call last)" not in output


def test_a_listing_under_workers(ask: Callable[..., tuple[pytest.RunResult, int]]) -> None:
    result, requests = ask("-n", "2", "--setup-only")
    assert result.ret == pytest.ExitCode.OK
    assert requests == 0


def test_fixtures_that_are_shown_run(ask: Callable[..., tuple[pytest.RunResult, int]]) -> None:
    _, requests = ask("--setup-show", "-k", "a_man")
    assert requests == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [("--timeout-method=signal",), ("--timeout-method=thread",), ("-n", "2")],
)
def test_the_time_of_a_test_begins_with_its_answers(
    ask: Callable[..., tuple[pytest.RunResult, int]], options: tuple[str, ...]
) -> None:
    pytest.importorskip("pytest_timeout")
    result, requests = ask(
        "--timeout=5", "--pbias-concurrency=1", *options, latency=0.8, text="The answer is 4."
    )
    output = result.stdout.str()
    assert "Timeout" not in output
    assert result.ret == pytest.ExitCode.OK, output
    assert requests == 20


def test_a_test_that_hangs_is_still_stopped(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_timeout")
    pytester.makepyfile(
        """
        import time, pytest

        @pytest.mark.pbias(tasks=["gsm8k"], identities=["a man"])
        def test_small(cell):
            time.sleep(30)
        """
    )
    result = pytester.runpytest_subprocess(
        *("--pbias-model=embedded", "--pbias-limit=2", "--timeout=2")
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Timeout*2*"])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_missing_extra_is_said_before_anything_is_asked(
    pytester: pytest.Pytester, ask: Callable[..., tuple[pytest.RunResult, int]],
    monkeypatch: pytest.MonkeyPatch, workers: str,
) -> None:  # fmt: skip
    hidden = Path(pytester.mkdir("hidden"))
    (hidden / "matplotlib.py").write_text("raise ModuleNotFoundError('matplotlib')\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden), prepend=":")
    result, requests = ask("--pbias-html=r.html", "-n", workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert requests == 0
    output = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert "ERROR: pbias: the HTML report needs Matplotlib: pip install" in output


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "2"])
def test_the_level_is_shared_with_the_other_shards(
    pytester: pytest.Pytester, ask: Callable[..., tuple[pytest.RunResult, int]], workers: str
) -> None:
    ask("--pbias-cells=40", "--pbias-json=out.json", "-n", workers, text="The answer is 4.")
    report = json.loads(pytester.path.joinpath("out.json").read_text())
    cells = report["statistics"]["tasks"][0]["cells"]
    assert len(cells) == report["statistics"]["compared_cells"] == 4
    assert {cell["result"]["confidence"] for cell in cells} == {1 - 0.05 / 40}
    assert report["statistics"]["policy"]["cells"] == 40
