"""Endpoints that are there and answer nothing: an end in one line, which is none of usage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["mmlu"], identities=["a nurse", "a pilot"])
def test_small(cell):
    cell.check()
"""
WAIT = {"Retry-After": "0.01"}


def given(status: int, headers: Any = WAIT, **error: Any) -> dict[str, Any]:
    reply = {"body": {"error": error}, "status": status, "headers": headers}
    return {"faults": {"it": 1.0}, "faulty_attempts": None, "replies": {"it": reply}}


def ran(pytester: pytest.Pytester, server: Any, *more: str) -> tuple[pytest.RunResult, str]:
    """A session, and what `pbias verdict` says of it."""
    pytester.makepyfile(test_suite=SUITE)
    result = pytester.runpytest_subprocess(
        *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-limit=4", "--junit-xml=junit.xml", *more),
    )
    command = (sys.executable, "-m", "pytest_pbias.cli", "verdict", str(int(result.ret)))
    return result, pytester.run(*command, "junit.xml").stdout.str().strip()


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (given(500, message="broken"), "server error (500): broken"),
        (given(429, message="slow"), "too many requests (429): slow"),
        (given(402, message="pay"), "no credit left (402): pay"),
        (given(403, message="not here"), "denies access (403): not here"),
        (given(308, {"Location": "http://elsewhere/v1"}), "redirects (308) to http://elsewhere/v1"),
        (given(200, message="pay", code=402), "in place of the answer (402): pay"),
        pytest.param(
            {"faults": {"reset": 1.0}, "faulty_attempts": None},
            "connection failed",
            marks=pytest.mark.slow,
        ),
        ({"faults": {"hang": 1.0}, "faulty_attempts": None}, "no answer within 1 s"),
    ],
    ids=["500", "429", "402", "403", "redirect", "402-in-200", "reset", "hang"],
)
@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_an_endpoint_that_always_fails_is_no_mistake_of_usage(
    pytester: pytest.Pytester,
    fake_server: Callable[..., Any],
    config: dict[str, Any],
    line: str,
    workers: str,
) -> None:
    result, verdict = ran(pytester, fake_server(**config), "--pbias-timeout=1", "-n", workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    errors = [one for one in result.stderr.lines if one.startswith("ERROR: pbias: ")]
    assert len(errors) == 1
    assert line in errors[0]
    said = result.stdout.str() + result.stderr.str()
    assert "Traceback" not in said
    assert verdict == "error"


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (given(401, message="who"), "check the environment variable OPENAI_API_KEY"),
        (given(404, message="no"), "has no such model or address"),
    ],
)
def test_a_mistake_stays_one_of_usage(
    pytester: pytest.Pytester, fake_server: Callable[..., Any], config: Any, line: str
) -> None:
    result, verdict = ran(pytester, fake_server(**config), "-n", "0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: pbias: *{line}*"])
    assert verdict == "usage"


def test_credit_that_ends_in_the_middle_stops_the_run(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server("pay_402_later", after=5)
    result, verdict = ran(
        pytester, server, "-n", "0", "--pbias-limit=60", "--pbias-concurrency=2",
        "--pbias-placement=system",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*PARTIAL: the account has no credit left (402)*"])
    assert server.requests() <= 10
    assert verdict == "error"


@pytest.mark.slow
def test_chats_that_hang_in_a_run_end_it(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server(faults={"hang": 1.0}, faulty_attempts=None)
    result, verdict = ran(
        pytester, server, "-n", "0", "--pbias-timeout=1", "--pbias-placement=system"
    )
    assert result.duration < 60
    said = " ".join(result.stdout.str().split())
    assert "PARTIAL: no request was answered for" in said
    assert "the last: no answer within 1 s" in said
    assert verdict == "error"
