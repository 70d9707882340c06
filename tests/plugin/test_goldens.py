"""What a run prints, compared with committed files: 80 columns, every kind of verdict.

The files under ``goldens/`` are whole terminal outputs, of a server whose answers are known: every
word and every figure of the statistics is compared. After a change that is meant to show, write
them again and read the difference::

    PBIAS_WRITE_GOLDENS=1 pytest tests/plugin/test_goldens.py
    git diff tests/plugin/goldens
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_pbias.models.embedded import data_dir
from pytest_pbias.reporting.schemas import schema_text
from pytest_pbias.tasks import TASKS, load_task

GOLDENS = Path(__file__).with_name("goldens")
IDENTITIES = ("baseline", "a person", "a nurse", "a pilot")
ASKED = 2 * len(IDENTITIES) * 60 + 1  # one to find out whether system messages are taken
AXES = ("utility", "safety")
REFUSED = "I am sorry, but I cannot help with that."
WRONG = "Sure! Here is how to do it. Therefore, the answer is -1."  # to either task
# Everyone is answered alike, about one question in ten badly.
FAIR = {"": 0.1}
BIASED = FAIR | {"a nurse": 0.5, "a pilot": 0.32}


@pytest.fixture(scope="module")
def right() -> dict[str, str]:
    """Question -> a right answer to it."""
    answers = {
        item.prompt: f"Therefore, the answer is {item.reference['answer']:g}."
        for item in load_task(TASKS["gsm8k"], data_dir=data_dir()).items
    }
    items = load_task(TASKS["do_not_answer"], data_dir=data_dir()).items
    return answers | {item.prompt: REFUSED for item in items}


class Project:
    """A folder with one suite, and servers whose answers are known."""

    def __init__(
        self, pytester: pytest.Pytester, start: Callable[..., Any], right: Mapping[str, str]
    ) -> None:
        self.pytester = pytester
        self._start = start
        self._right = right

    def serve(self, wrong: Mapping[str, float], **server: Any) -> list[str]:
        """Start a server; the options of a run against it."""
        return self.start(wrong, **server)[1]

    def start(self, wrong: Mapping[str, float], **server: Any) -> tuple[Any, list[str]]:
        """Start a server; the server, and the options of a run against it."""
        path = self.pytester.path / "script.json"
        plan = {"right": self._right, "wrong": wrong, "wrong_text": WRONG, "own": 0.02}
        path.write_text(json.dumps(plan))
        started = self._start(script=str(path), **server)
        options = ["--no-header", "--pbias-model=tiny", f"--pbias-base-url={started.url}"]
        asked = ["--pbias-limit=200", "--pbias-stop=never"]
        return started, [*options, f"--pbias-data-dir={data_dir()}", *asked]

    def pbias(self, *words: str) -> str:
        """What the ``pbias`` command prints."""
        return self.pytester.run(sys.executable, "-m", "pytest_pbias.cli", *words).stdout.str()

    def run(self, *options: str) -> str:
        """What the run prints."""
        return self.pytester.runpytest_subprocess(*options).stdout.str()


@pytest.fixture
def project(
    right: dict[str, str],
    pytester: pytest.Pytester,
    fake_server: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    pytester.makepyfile(
        test_release=f"""
        import pytest

        @pytest.mark.pbias(tasks=["gsm8k", "do_not_answer"], identities={list(IDENTITIES)})
        def test_identity(cell):
            cell.check()
        """
    )
    return Project(pytester, fake_server, right)


def check(name: str, output: str) -> None:
    """Compare with the committed file, or write it where that is asked for."""
    found = normalized(output)
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("PBIAS_WRITE_GOLDENS"):
        path.write_text(found)
    assert max(map(len, found.splitlines())) <= 80
    wanted = path.read_text()
    assert _form(found) == _form(wanted), "see the head of this file for how to write it again"


def _form(text: str) -> str:
    """Every word, mark and figure, but not where lines break."""
    return " ".join(text.split())


def test_a_figure_that_drifts_is_seen() -> None:
    for path in sorted(GOLDENS.glob("*.txt")):
        text = path.read_text()
        for figure in re.finditer(r"\d\.(\d)", text):
            place = figure.start(1)
            other = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
            assert _form(other) != _form(text)
        assert _form(text.replace(" ", "\n", 5)) == _form(text)


def normalized(output: str) -> str:
    """Without what differs from run to run: time, progress, addresses, dates."""
    lines: list[str] = []
    for line in _without_progress(output.splitlines()):
        line = re.sub(r"^(?:=+ )?(.*) in \d+\.\d\ds(?: \(.*\))?(?: =+)?$", r"\1 in TIME", line)
        line = re.sub(r"^\S+\.py:\d+: KeyboardInterrupt", "FILE: KeyboardInterrupt", line)
        line = re.sub(r"http://127\.0\.0\.1:\d+", "http://HOST", line)
        line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE", line)
        lines.append(line.rstrip())
    text = "\n".join(lines).strip("\n") + "\n"
    return re.sub(r"\n+(?=[=!]{3})", "\n", text)  # pytest ends a line only where one is open


def _without_progress(lines: Sequence[str]) -> Iterator[str]:
    """Progress breaks pytest's line of dots where the time has come; the dots are put together."""
    dots: dict[str, str] = {}
    blank: list[str] = []  # after the dots; pytest sets one before it goes on with them
    for line in map(str.rstrip, lines):
        found = re.match(r"(test_\w+\.py|pbias)( [.iFEs]+)?( +\[ *\d+%\])?$", line)
        if re.match(r"pbias: [\d,]+/[\d,?]+ answers", line):
            continue
        if found is None and re.fullmatch(r"[.iFEs]+( +\[ *\d+%\])?", line) and dots:
            dots[next(reversed(dots))] += line.split(" ")[0]
            continue
        if found is not None:
            dots[found[1]] = dots.get(found[1], "") + (found[2] or "").strip()
            continue
        if not line and dots:
            blank.append(line)
            continue
        yield from (f"{name} {shown}" for name, shown in dots.items())
        yield from blank
        dots.clear()
        blank.clear()
        yield line


def test_progress_breaks_no_row_of_dots() -> None:
    plain = ["test_a.py ...i", "pbias ..", "", "= end"]
    broken = [
        *("test_a.py .", "pbias: 12/2,000 answers, 9/s", "", "test_a.py ..", "pbias: 99/? answers"),
        *("", "test_a.py i", "pbias .", "pbias: 1,999/2,000 answers, 9/s", "", "pbias ."),
        *("", "= end"),
    ]
    assert _form("\n".join(_without_progress(broken))) == _form("\n".join(plain))
    assert list(_without_progress(plain)) == plain


@pytest.mark.slow
def test_a_good_release_and_a_biased_one_after_it(project: Project) -> None:
    good = project.serve(FAIR)
    check("pass", project.run(*good, "--pbias-tag=v1"))
    biased = project.serve(BIASED)
    check("fail", project.run(*biased))
    check("fail-verbose", project.run(*biased, "-v"))
    check("comparison", project.run(*biased, "--pbias-compare=v1", "--pbias-json=out.json"))
    report = json.loads((project.pytester.path / "out.json").read_text())
    jsonschema.validate(report, json.loads(schema_text("report")))
    assert report["comparison"]["direction"] == "worse"
    check("quiet", project.run(*biased, "--pbias-compare=v1", "-q"))
    check("report-verbose", project.pbias("report", "latest", "-v"))
    check("compare-verbose", project.pbias("compare", "v1", "latest", "-v"))


def test_plan_and_inconclusive_in_both_modes(project: Project) -> None:
    options = project.serve(FAIR | {"a pilot": 0.12})
    check("plan", project.run(*options, "--pbias-limit=40", "--pbias-plan"))
    check("inconclusive", project.run(*options, "--pbias-limit=40"))
    check("inconclusive-prove", project.run(*options, "--pbias-limit=40", "--pbias-gate=prove"))


def test_no_signal(project: Project) -> None:
    wide = [f"--pbias-{name}-{axis}=20" for name in ("margin", "tolerance") for axis in AXES]
    check("no-signal", project.run(*project.serve({"": 1.0}), "--pbias-limit=40", *wide))


def test_error(project: Project) -> None:
    """Some questions are refused, whoever asks: which request comes first must not matter."""
    options = project.serve(FAIR, faults={"400": 0.05}, faulty_attempts=None)
    check("error", project.run(*options, "--pbias-limit=40"))


@pytest.mark.slow
def test_interrupted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some answers to one task never come; Ctrl-C ends the wait for them."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    server, options = project.start(FAIR, faults={"hang": 0.03}, faulty_attempts=None, seed=2)
    command = [sys.executable, "-m", "pytest", *options, "--pbias-limit=60"]
    run = project.pytester.popen(command, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while server.requests() < ASKED and time.monotonic() < deadline:
        time.sleep(0.2)
    assert run.stdout is not None
    seen = b""
    # Until the cells whose answers are there have been judged.
    while not re.search(r"test_release\.py [.i]{4}", normalized(seen.decode() + "\nend")):
        part = os.read(run.stdout.fileno(), 4096)
        assert part, seen
        seen += part
    time.sleep(2)  # pytest has gone on to the next cell, and waits
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    check("interrupted", (seen + output).decode())
