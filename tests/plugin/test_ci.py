"""Continuous integration: the action's script run for real, its exit codes and verdicts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cli import main
from pytest_pbias.models.embedded import data_dir

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ci" / "measure.sh"


class Job:
    """A folder with a persona file, in which the action's script runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "github-output"

    def start(self, identities: str, *args: str, **inputs: str) -> subprocess.Popen[str]:
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        (self.folder / "persona_ci.pbias.toml").write_text(
            f'tasks = ["do_not_answer"]\nidentities = [{identities}]\n'
        )
        variables = {f"PBIAS_{name.upper()}": value for name, value in inputs.items()}
        python = str(Path(sys.executable).parent)
        return subprocess.Popen(
            ["bash", str(SCRIPT)],
            cwd=self.folder,
            env=os.environ
            | {
                "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(self.output),
                "PBIAS_ARGS": " ".join([f"'--pbias-data-dir={data_dir()}'", *args]),
            }
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, identities: str, *args: str, **inputs: str) -> tuple[int, str]:
        """Exit status and everything printed."""
        process = self.start(identities, *args, **inputs)
        text, _ = process.communicate(timeout=300)
        return process.returncode, text

    def verdict(self) -> tuple[str, str]:
        """The outputs of the last run: verdict and exit code."""
        lines = self.output.read_text().splitlines()[-2:]
        said = dict(line.split("=", 1) for line in lines)
        return said["verdict"], said["exit-code"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.mark.slow
def test_exit_codes_of_verdicts(job: Job, embedded_server: str) -> None:
    inputs = {"model": "embedded", "base_url": embedded_server}
    status, text = job.run("'a man'", "--pbias-limit=200", **inputs)
    assert (status, job.verdict()) == (0, ("pass", "0")), text
    for name in ("pbias.xml", "pbias.json", "pbias.md", "pbias.parquet"):
        assert (job.folder / "pbias-reports" / name).stat().st_size

    status, text = job.run("'a man', 'a transgender woman'", "--pbias-limit=200", **inputs)
    assert (status, job.verdict()) == (1, ("fail", "1")), text

    status, _ = job.run("'a man'", "--pbias-limit=20", **inputs)
    assert (status, job.verdict()) == (0, ("inconclusive", "0"))
    status, text = job.run("'a man'", "--pbias-limit=20", gate="prove", **inputs)
    assert (status, job.verdict()) == (1, ("inconclusive", "1"))
    assert "red in prove mode" in text

    # The first run of this job was the least biased: by its tag or number it can be compared with.
    status, text = job.run(
        "'a man', 'a transgender woman'",
        "--pbias-limit=200 --pbias-margin-safety=99 --pbias-tolerance-safety=99",
        compare="1",
        compare_fail="cell_safety<-90",
        **inputs,
    )
    assert status == 0, text
    assert "compared with 0001-embedded" in text


def test_missing_answers_are_an_error_and_no_verdict(
    job: Job, fake_server: Callable[..., Any]
) -> None:
    url = fake_server(faults={"400": 0.5}).url
    status, text = job.run("'a man'", "--pbias-limit=10", model="tiny", base_url=url)
    assert (status, job.verdict()) == (1, ("error", "1"))
    assert "error, no verdict" in text


def test_usage_and_nothing(job: Job) -> None:
    status, text = job.run("'a man'", model="lama3")
    assert (status, job.verdict()) == (4, ("usage", "4"))
    assert "did you mean 'llama3'" in text
    status, _ = job.run("'a man'", "-k 'nobody and nowhere'", model="embedded")
    assert (status, job.verdict()) == (5, ("nothing", "5"))


def test_a_failed_step_says_the_word_and_keeps_no_report_of_an_earlier_one(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    reports = job.folder / "pbias-reports"
    reports.mkdir()
    for name in ("pbias.xml", "pbias.json", "pbias.md", "pbias.parquet", "mine.md"):
        (reports / name).write_text("of another step")
    status, text = job.run("'a man'", model="lama3")
    assert (status, job.verdict()) == (4, ("usage", "4"))
    assert "::error title=pbias::usage" in text.splitlines()
    assert [path.name for path in reports.iterdir() if path.read_text() == "of another step"] == [
        "mine.md"
    ]


def test_arguments_are_words_and_never_code(job: Job) -> None:
    job.run("'a man'", "-k '$(touch hacked) `touch hacked`; touch hacked'", model="embedded")
    status, text = job.run("'a man'", model="x; touch hacked $(touch hacked)")
    assert status == 4, text
    assert not (job.folder / "hacked").exists()


@pytest.mark.slow
def test_an_interrupted_run(job: Job, fake_server: Callable[..., Any]) -> None:
    server = fake_server(latency=5)
    process = job.start("'a man'", "--pbias-limit=10", model="tiny", base_url=server.url)
    deadline = time.monotonic() + 60
    while server.requests() < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    (child,) = _pytest_below(process.pid)
    os.kill(child, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert job.verdict() == ("interrupted", "2")


def _pytest_below(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == pid and b"pytest" in command:
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("cases", "status", "word"),
    [
        ('<testcase><failure/><P v="fail"/></testcase>', 1, "fail"),
        ("<testcase><failure/></testcase>", 1, "fail"),
        ('<testcase><failure/><P v="inconclusive"/></testcase>', 1, "inconclusive"),
        (
            '<testcase><failure/><P v="no signal"/></testcase><testcase><failure/></testcase>',
            1,
            "fail",
        ),
        ("<testcase><failure/></testcase><testcase><error/></testcase>", 1, "error"),
        ('<testcase><skipped/><P v="inconclusive"/></testcase>', 0, "inconclusive"),
        (
            '<testcase><P v="signal"/></testcase><testcase><P v="inconclusive"/></testcase>',
            0,
            "inconclusive",
        ),
        ('<testcase><P v="signal"/></testcase><testcase><P v="pass"/></testcase>', 0, "pass"),
        ("<testcase/>", 0, "pass"),
        ("<broken", 1, "error"),
        ("<testcase/>", 1, "error"),
        ("<testcase/>", 3, "error"),
        ("<testcase/>", 137, "error"),
    ],
)
def test_the_word_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cases: str, status: int, word: str
) -> None:
    shown = cases.replace("<P v=", '<properties><property name="pbias_verdict" value=')
    shown = shown.replace('"/></testcase>', '"/></properties></testcase>')
    path = tmp_path / "out.xml"
    path.write_text(f"<testsuites><testsuite>{shown}</testsuite></testsuites>")
    assert main(["verdict", str(status), str(path)]) == 0
    assert capsys.readouterr().out == f"{word}\n"


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", "docs/examples/github-workflow.yml"),
        ("vendor.gitlab-ci", "docs/examples/gitlab-ci.yml"),
    ],
)
def test_the_files_fit_the_schemas_of_their_services(schema: str, path: str) -> None:
    pytest.importorskip("check_jsonschema", reason="needs pytest-pbias[dev]")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*command, str(ROOT / path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_and_its_script_and_its_example_agree() -> None:
    yaml = pytest.importorskip("yaml", reason="needs pytest-pbias[docs]")
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (measure,) = (step for step in action["runs"]["steps"] if step.get("id") == "measure")
    script = SCRIPT.read_text()
    for name, value in measure["env"].items():
        option = name.removeprefix("PBIAS_").lower().replace("_", "-")
        assert value == f"${{{{ inputs.{option} }}}}"
        assert option in action["inputs"]
        assert name in script or f" {option}" in script
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "an expression in a script is run as code"
    workflow = yaml.safe_load((ROOT / "docs/examples/github-workflow.yml").read_text())
    (used,) = (
        step["with"] for step in workflow["jobs"]["pbias"]["steps"] if step.get("id") == "pbias"
    )
    assert set(used) <= set(action["inputs"])
