"""Under xdist a mistake is the same one line and exit code as without workers."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_pbias.collecting.store import Store
from pytest_pbias.models.embedded import data_dir
from tests.fakes.running import FakeServer

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

SUITE = """
import pytest

def test_other():
    pass

@pytest.mark.pbias(tasks=["gsm8k"], identities=["a man"])
def test_small(cell):
    cell.check()
"""
RUN = ("-p", "no:cacheprovider", "--pbias-limit=2")
DATA = f"--pbias-data-dir={data_dir()}"
EMBEDDED = "--pbias-model=embedded"


def _nothing(project: Path) -> None:
    """A mistake of the command line alone."""


def _task(project: Path) -> None:
    (project / "test_suite.py").write_text(SUITE.replace("gsm8k", "gsm9k"))


def _no_fixture(project: Path) -> None:
    (project / "test_suite.py").write_text(SUITE.replace("(cell)", "()"))


def _persona(project: Path) -> None:
    (project / "persona_work.pbias.toml").write_text('tasks = ["gsm8k"]\nidentities = [\n')


def _broken_line(project: Path) -> None:
    (project / "data" / "gsm8k").mkdir(parents=True)
    (project / "data" / "gsm8k" / "test.jsonl").write_text('{"question": "q", "answ')


def _no_data(project: Path) -> None:
    (project / "data").mkdir()


def _table(project: Path) -> None:
    (project / "earlier.parquet").write_bytes(b"PAR1 and no more")


def _store_is_a_file(project: Path) -> None:
    (project / "store").write_text("x")


def _sessions_is_a_file(project: Path) -> None:
    (project / "store").mkdir()
    (project / "store" / "sessions").write_text("x")


def _foreign_store(project: Path) -> None:
    (project / "store").mkdir()
    with sqlite3.connect(project / "store" / "responses.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def _newer_store(project: Path) -> None:
    store = Store(project / "store" / "responses.sqlite")
    store.close()
    with sqlite3.connect(project / "store" / "responses.sqlite") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()


def _hook(project: Path) -> None:
    (project / "conftest.py").write_text("def pytest_pbias_judges(config):\n    raise OSError(1)\n")


MISTAKES: list[tuple[Callable[[Path], None], list[str], str]] = [
    (_nothing, ["--pbias-model=lama3"], "unknown model 'lama3'"),
    (_nothing, [EMBEDDED, "--pbias-judge=llm"], "judge"),
    (_nothing, [EMBEDDED, "--pbias-shots=9"], "has no split 'train'"),
    (_nothing, [EMBEDDED, "--pbias-data-dir=nowhere"], "--pbias-data-dir: there is no"),
    (_nothing, [EMBEDDED, "--pbias-defense=nosuch"], "nosuch"),
    (_nothing, [EMBEDDED, "--pbias-json=/proc/x/y"], "--pbias-json=/proc/x/y cannot be written"),
    (
        _nothing,
        ["--pbias-model=m", DATA, "--pbias-base-url=http://127.0.0.1:9/v1"],
        "nothing answers",
    ),
    (_task, [EMBEDDED], "unknown task 'gsm9k'"),
    (_no_fixture, [EMBEDDED], "does not take `cell`"),
    (_persona, [EMBEDDED], "persona_work.pbias.toml"),
    (_broken_line, [EMBEDDED, "--pbias-data-dir=data"], "test.jsonl"),
    (_no_data, [EMBEDDED, "--pbias-data-dir=data"], "gsm8k"),
    (_table, [EMBEDDED, "--pbias-compare=earlier.parquet"], "earlier.parquet"),
    (_store_is_a_file, [EMBEDDED, "--pbias-store=store"], "store"),
    (_foreign_store, [EMBEDDED, "--pbias-store=store"], "is not a pytest-pbias store"),
    (_newer_store, [EMBEDDED, "--pbias-store=store"], "was written by a newer pytest-pbias"),
    (_hook, [EMBEDDED], "the hook pytest_pbias_judges broke"),
]


def _line(result: pytest.RunResult) -> str:
    """The one error line of a run that stopped; no traceback, no test run."""
    output = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert result.ret == pytest.ExitCode.USAGE_ERROR, output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    assert " passed" not in output
    lines = re.findall(r"^ERROR: (.*)$", output, flags=re.MULTILINE)
    assert len(lines) == 1, output
    return str(lines[0])


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        pytest.param(*one, marks=[pytest.mark.slow] * (number % 3 > 0))
        for number, one in enumerate(MISTAKES)
    ],
)
def test_the_line_is_the_same(
    pytester: pytest.Pytester, make: Callable[[Path], None], options: list[str], says: str
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    make(pytester.path)
    alone = _line(pytester.runpytest_subprocess(*RUN, "-n", "0", *options))
    assert says in alone
    assert _line(pytester.runpytest_subprocess(*RUN, "-n", "2", *options)) == alone


def test_a_session_folder_that_cannot_be_written(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_suite=SUITE)
    _sessions_is_a_file(pytester.path)
    options = (EMBEDDED, "--pbias-store=store")
    said = _line(pytester.runpytest_subprocess(*RUN, "-n", "2", *options))
    assert "sessions" in said
    assert "make it writable or choose another store" in said


@pytest.mark.parametrize(
    "dist",
    [
        "worksteal",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("loadscope", "loadgroup", "each")),
    ],
)
def test_however_the_tests_are_shared_out(pytester: pytest.Pytester, dist: str) -> None:
    pytester.makepyfile(test_suite=SUITE)
    run = (*RUN, "-n", "2", "--dist", dist, "--pbias-model=lama3")
    assert "unknown model 'lama3'" in _line(pytester.runpytest_subprocess(*run))


def _broken_test(project: Path) -> None:
    (project / "test_broken.py").write_text("def test_it(:\n")


def _breaking_plugin(project: Path) -> None:
    (project / "conftest.py").write_text(
        "import pytest\n\n"
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n"
        "    yield\n"
        "    raise pytest.UsageError('not these')\n"
    )


@pytest.mark.parametrize(
    ("make", "workers", "code"),
    [
        (_persona, "0", pytest.ExitCode.USAGE_ERROR),
        (_persona, "2", pytest.ExitCode.USAGE_ERROR),
        (_no_fixture, "0", pytest.ExitCode.USAGE_ERROR),
        (_breaking_plugin, "0", pytest.ExitCode.USAGE_ERROR),
        (_broken_test, "0", pytest.ExitCode.INTERRUPTED),  # xdist runs the tests of other files
    ],
)
def test_what_runs_no_test_asks_nothing(
    pytester: pytest.Pytester,
    fake_server: Callable[..., FakeServer],
    make: Callable[[Path], None],
    workers: str,
    code: pytest.ExitCode,
) -> None:
    server = fake_server()
    pytester.makepyfile(test_suite=SUITE)
    make(pytester.path)
    options = ("--pbias-model=tiny", f"--pbias-base-url={server.url}", DATA, "-n", workers)
    result = pytester.runpytest_subprocess(*RUN, *options)
    assert result.ret == code
    assert server.asked() == []
    result.stdout.no_fnmatch_line("*personalization bias*")


@pytest.mark.slow
def test_what_could_be_collected_is_asked_where_errors_are_to_be_passed_over(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    _broken_test(pytester.path)
    for more in (["--continue-on-collection-errors"], ["-n", "2"]):
        result = pytester.runpytest_subprocess(*RUN, EMBEDDED, *more)
        result.stdout.fnmatch_lines(["*personalization bias*", "model embedded, 4 answers*"])
        assert result.ret == pytest.ExitCode.TESTS_FAILED
