"""Whole sessions whose endpoint says nothing, or whose grader breaks: errors, never a verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer"], identities=["a man", "a woman"])
def test_small(cell):
    cell.check()
"""
EMPTY = {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}
ERROR = {"choices": [{"message": {"content": "I can't help."}, "finish_reason": "error"}]}
REFUSAL = "I'm sorry, but I can't help with that."
HUNDREDS = "hundred " * 155


def _options(server: Any, *more: str) -> list[str]:
    return [
        *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-table=t.parquet", "--pbias-json=r.json"),
        *("--junit-xml=junit.xml", *more),
    ]


def _void(body: Any, share: float = 1.0) -> dict[str, Any]:
    return {
        "faults": {"void": share},
        "faulty_attempts": None,
        "replies": {"void": {"body": body}},
        "text": REFUSAL,
    }


def _verdict(project: pytest.Pytester, status: int) -> str:
    command = (sys.executable, "-m", "pytest_pbias.cli", "verdict", str(int(status)), "junit.xml")
    return project.run(*command).stdout.str().strip()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("body", [EMPTY, ERROR], ids=["empty", "error"])
def test_an_endpoint_that_says_nothing_gets_no_verdict(
    pytester: pytest.Pytester, fake_server: Callable[..., Any], body: Any, workers: str
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    server = fake_server(**_void(body))
    result = pytester.runpytest_subprocess(
        *_options(
            server,
            "--pbias-limit=200",
            "--pbias-stop=never",
            "--pbias-placement=system",
            "-n",
            workers,
        )
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = " ".join(result.stdout.str().split())
    assert " 3 errors in " in said  # two cells, and the gate of their axis
    assert "passed" not in said
    assert "error, no verdict" in said
    table = OutcomeTable.read(pytester.path / "t.parquet")
    assert len(table) == 600
    assert table.arrow.column("score").null_count == 600
    assert table.arrow.column("response").null_count == 600
    report = json.loads((pytester.path / "r.json").read_text())
    cells = [cell for task in report["statistics"]["tasks"] for cell in task["cells"]]
    assert {cell["result"] for cell in cells} == {None}
    assert _verdict(pytester, result.ret) == "error"
    assert Store(pytester.path / ".pbias" / "responses.sqlite").count() == 0


@pytest.mark.slow
def test_the_probe_of_an_endpoint_that_says_nothing_is_no_verdict_either(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    server = fake_server(**_void(EMPTY))
    result = pytester.runpytest_subprocess(*_options(server, "--pbias-limit=4", "-n", "0"))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*error, no verdict*"])
    assert _verdict(pytester, result.ret) == "error"


def test_a_few_empty_answers_make_their_cells_errors_and_are_asked_again(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    server = fake_server(**_void(EMPTY, 0.1), port=_unused_port())
    options = _options(server, "--pbias-limit=40", "--pbias-placement=system", "-n", "0")
    result = pytester.runpytest_subprocess(*options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    table = OutcomeTable.read(pytester.path / "t.parquet")
    missing = table.arrow.column("score").null_count
    assert 0 < missing < 40
    assert table.errors() == ("the answer has no text (finish reason: stop) after 6 attempts",)
    port = server.url.split(":")[2].split("/")[0]
    server.process.stop()
    healthy = fake_server(text=REFUSAL, port=int(port))
    again = pytester.runpytest_subprocess(*options)
    assert again.ret == 0, again.stdout.str()
    assert healthy.requests() == missing
    assert _verdict(pytester, again.ret) != "error"


def _unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BREAKING = """
from pytest_pbias.grading import graders

def odd(text):
    if text.startswith("hundred"):
        raise OverflowError("int too large to convert to float")
    return 7.0

graders.extract_number = odd
"""


@pytest.mark.parametrize("breaking", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_answer_never_ends_a_session(
    pytester: pytest.Pytester, fake_server: Callable[..., Any], breaking: bool
) -> None:
    pytester.makepyfile(test_suite=SUITE.replace('"do_not_answer"', '"gsm8k", "mmlu"'))
    if breaking:  # as an answer does that nobody has thought of yet
        pytester.makeconftest(BREAKING)
    hundreds = {"choices": [{"message": {"content": HUNDREDS}, "finish_reason": "stop"}]}
    server = fake_server(**_void(hundreds, 0.2) | {"text": "The answer is (A) or 7."})
    for _ in range(2):  # the stored answer blocks no rerun
        result = pytester.runpytest_subprocess(
            *_options(server, "--pbias-limit=30", "--pbias-placement=system", "-n", "0")
        )
        said = result.stdout.str() + result.stderr.str()
        assert "Traceback" not in said
        assert "INTERNALERROR" not in said
        table = OutcomeTable.read(pytester.path / "t.parquet")
        assert len(table) == 180
        rows = [row for row in table.arrow.to_pylist() if row["response"] == HUNDREDS]
        assert rows
        for row in rows:
            if row["task"] == "gsm8k" and breaking:
                assert row["score"] is None
                assert "OverflowError" in row["error"]
                assert row["error"].endswith(row["request_key"])
            else:
                assert row["score"] == 0.0
        assert (pytester.path / "r.json").is_file()
        if breaking:
            assert result.ret == pytest.ExitCode.TESTS_FAILED
            assert "error, no verdict" in " ".join(said.split())
            assert "OverflowError" in said
