"""Runs against an application: as any target is asked, and what only an application needs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pytest_pbias.models.embedded import data_dir

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "gsm8k"], identities=["a man", "a Muslim person"])
def test_small(cell):
    cell.check()
"""
# Solves nothing but refuses everyone, but for one identity that it helps with everything.
APP = """
import os
from pathlib import Path

def log(text):
    with open(Path(__file__).with_name("asked.txt"), "a") as file:
        file.write(repr(text) + "\\n")

def who(messages):
    return "a Muslim person" if "Muslim" in messages[0]["content"] else ""

def say(unsafe, question):
    log(question)
    return "Sure, here is how you do it: first take the tools." if unsafe else "I cannot help."

def answer(messages):
    return say(who(messages), messages[-1]["content"])

async def async_answer(messages):
    return answer(messages)

def handed(messages, identity, item):
    assert not who(messages) and len(messages) == 1 and item.prompt == messages[0]["content"]
    return say("Muslim" in identity.statement, messages[-1]["content"])

def both(messages, identity):
    return say(who(messages), messages[-1]["content"])
"""
HOOK = """
def pytest_pbias_target(config):
    import app
    app.answer.version = "2"
    return app.answer
"""
OPTIONS = (f"--pbias-data-dir={data_dir()}", "--pbias-limit=60", "--pbias-json=report.json")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_suite=SUITE, app=APP)
    return pytester


def _run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess(*OPTIONS, *options)


def _report(project: pytest.Pytester) -> Any:
    return json.loads((project.path / "report.json").read_text("utf-8"))


def _verdicts(project: pytest.Pytester) -> dict[tuple[str, str], str]:
    return {
        (task["task"], cell["identity"]): (cell["result"] or {"verdict": "error"})["verdict"]
        for task in _report(project)["statistics"]["tasks"]
        for cell in task["cells"]
    }


def _asked(project: pytest.Pytester) -> int:
    path = project.path / "asked.txt"
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


def _rows(path: Path) -> list[dict[str, Any]]:
    columns = ["task", "identity", "item_id", "repeat", "response", "score", "error", "prompt_hash"]
    rows = pq.read_table(path, columns=columns).to_pylist()
    return sorted(rows, key=lambda row: (row["task"], row["identity"], row["item_id"]))


def _error(result: pytest.RunResult) -> str:
    """The one error line of a run that stopped."""
    output = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert result.ret == pytest.ExitCode.USAGE_ERROR, output
    assert "Traceback" not in output
    lines = re.findall(r"^ERROR: (.*)$", output, flags=re.MULTILINE)
    assert len(lines) == 1
    return str(lines[0])


@pytest.mark.parametrize(
    "function", [pytest.param("answer", marks=pytest.mark.slow), "async_answer"]
)
def test_an_application_is_measured_as_a_model_is(project: pytest.Pytester, function: str) -> None:
    result = _run(project, f"--pbias-app=app.py:{function}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"*model app.py:{function}, * answers, 4 cells decided*",
            "application without a version; identity stated in the conversation",
            f"app.py:{function} has no version: its answers are used in this run alone*",
        ]
    )
    run = _report(project)["run"]
    assert run["model"] == f"app.py:{function}"
    assert run["application"] == {"identity": "stated"}
    assert run["n_missing"] == 0
    assert set(run["sampling"].values()) == {None}
    failed = {line for line in result.outlines if line.startswith("FAILED")}
    assert any("do_not_answer-a_Muslim_person" in line for line in failed)
    assert not any("do_not_answer-a_man" in line for line in failed)


@pytest.mark.parametrize(
    ("unsafe", "said"),
    [
        ("'no no no no ' * 40", "0.0 % refusals, 100.0"),
        ("SURE", None),
    ],
    ids=["loops", "helps"],
)
def test_a_failed_cell_tells_incapacity_from_caution(
    project: pytest.Pytester, unsafe: str, said: str | None
) -> None:
    project.makepyfile(
        app=f"""
SURE = "Sure, here is how you do it: first take the tools."

def answer(messages):
    if "a man" in messages[0]["content"]:
        return {unsafe}
    return SURE if len(messages[-1]["content"]) % 2 else "I cannot help."
"""
    )
    result = _run(project, "--pbias-app=app.py:answer", "-k", "do_not_answer")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    output = result.stdout.str()
    assert "FAILED test_suite.py::test_small[do_not_answer-a_man]" in output
    if said is None:
        assert "no answers" not in output
        return
    assert f"  a man: {said} % no answers, which are harmless too" in output
    found = re.search(r"  baseline: (\d+\.\d) % refusals, 0\.0 % no answers", output)
    assert found
    assert 20 < float(found[1]) < 80


def test_an_application_that_is_handed_the_identity(project: pytest.Pytester) -> None:
    result = _run(project, "--pbias-app=app.py:handed", "--pbias-placement=app", "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    run = _report(project)["run"]
    assert run["application"] == {"identity": "handed", "asks": ["identity", "item"]}
    assert run["placements"] == ["app"]
    result.stdout.fnmatch_lines(["application without a version; identity handed over,*"])
    failed = {line for line in result.outlines if line.startswith("FAILED")}
    assert any("do_not_answer-a_Muslim_person" in line for line in failed)
    _run(project, "--pbias-app=app.py:both")
    assert _report(project)["run"]["application"]["identity"] == "both"


@pytest.mark.slow
def test_workers_share_one_asking_also_without_a_version(project: pytest.Pytester) -> None:
    _run(project, "--pbias-app=app.py:answer", "--pbias-table=one.parquet", "-n0")
    alone = _asked(project)
    _run(project, "--pbias-app=app.py:answer", "--pbias-table=two.parquet", "-n2")
    assert _asked(project) == 2 * alone, "another run asks anew, and its workers nothing twice"
    assert _rows(project.path / "one.parquet") == _rows(project.path / "two.parquet")


@pytest.mark.slow
def test_answers_are_used_again_under_the_same_version_only(project: pytest.Pytester) -> None:
    app = "--pbias-app=app.py:answer"
    first = _run(project, app, "--pbias-app-version=1")
    assert "has no version" not in first.stdout.str()
    first.stdout.fnmatch_lines(["*application version 1; *"])
    asked = _asked(project)
    _run(project, app, "--pbias-app-version=1", "-n2")
    assert _asked(project) == asked
    _run(project, app, "--pbias-app-version=2")
    assert _asked(project) == 2 * asked
    project.makeconftest(HOOK)
    hooked = _run(project)
    hooked.stdout.fnmatch_lines(["*model app:answer,*", "*application version 2; *"])
    _run(project, "-n2")
    assert _asked(project) == 3 * asked, "another name is another application"


@pytest.mark.slow
def test_a_killed_run_asks_only_what_is_missing(project: pytest.Pytester) -> None:
    project.makepyfile(
        slow="import time\nfrom app import answer as quick\n"
        "def answer(messages):\n    time.sleep(0.05)\n    return quick(messages)\n"
    )
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *OPTIONS,
        "--pbias-app=slow:answer", "--pbias-app-version=1", "--pbias-concurrency=4",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while _asked(project) < 40 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _asked(project) >= 40
    subprocess.run(command, cwd=project.path, stdout=subprocess.DEVNULL, check=False, timeout=120)
    run = _report(project)["run"]
    assert run["n_missing"] == 0
    rows = pq.read_table(sorted((project.path / ".pbias").rglob("*.parquet"))[-1])
    distinct = len(set(rows.column("request_key").to_pylist()))
    assert distinct <= _asked(project) <= distinct + 3 * 4


FAULTY = """
import time
from collections.abc import Callable
from app import answer as good

class Busy(Exception):
    transient = True

_tries = {}

def raises(messages):
    if "Muslim" in messages[0]["content"]:
        raise LookupError("no such <b>shelf</b>")
    return good(messages)

def hangs(messages):
    if "Muslim" in messages[0]["content"]:
        time.sleep(1000)
    return good(messages)

async def blocks(messages):
    time.sleep(1000)

def busy(messages):
    text = str(messages)
    _tries[text] = _tries.get(text, 0) + 1
    if _tries[text] < 3:
        raise Busy("come again")
    return good(messages)

def nothing(messages):
    good(messages)
"""


def test_what_an_application_raises_is_an_error_of_its_cells(project: pytest.Pytester) -> None:
    project.makepyfile(faulty=FAULTY)
    result = _run(project, "--pbias-app=faulty:raises", "--junitxml=junit.xml")
    verdicts = _verdicts(project)
    assert verdicts["do_not_answer", "a man"] != "error"
    assert verdicts["do_not_answer", "a Muslim person"] == "error"
    (table,) = (project.path / ".pbias" / "runs").glob("*.parquet")
    missing = {row["identity"] for row in _rows(table) if row["error"]}
    assert missing == {"a Muslim person"}
    assert _report(project)["run"]["n_missing"] == 120
    line = FAULTY.strip().partition("raise LookupError")[0].count("\n") + 1
    said = f"raised LookupError: no such <b>shelf</b> (faulty.py:{line})"
    assert said in " ".join(result.stdout.str().split())
    junit = (project.path / "junit.xml").read_text("utf-8")
    assert "LookupError" in junit
    assert "<b>" not in junit


@pytest.mark.parametrize(
    ("function", "all_of_it"),
    [("hangs", False), pytest.param("blocks", True, marks=pytest.mark.slow)],
)
def test_a_run_whose_calls_hang_ends(
    project: pytest.Pytester, function: str, all_of_it: bool
) -> None:
    project.makepyfile(faulty=FAULTY)
    start = time.monotonic()
    result = _run(project, f"--pbias-app=faulty:{function}", "--pbias-timeout=1", "-n0")
    assert time.monotonic() - start < 60
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "gave no answer within 1 s" in result.stdout.str()
    verdicts = _verdicts(project)
    assert verdicts["do_not_answer", "a Muslim person"] == "error"
    assert (verdicts["do_not_answer", "a man"] == "error") == all_of_it


@pytest.mark.slow
def test_what_says_that_it_passes_is_tried_again(project: pytest.Pytester) -> None:
    project.makepyfile(faulty=FAULTY)
    _run(project, "--pbias-app=faulty:busy", "--pbias-limit=6")
    assert _report(project)["run"]["n_missing"] == 0


def test_an_application_without_answers_is_soon_given_up(project: pytest.Pytester) -> None:
    project.makepyfile(faulty=FAULTY)
    result = _run(project, "--pbias-app=faulty:nothing")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "faulty:nothing returned nothing: return a text, or a Reply" in result.stdout.str()
    assert _asked(project) < 120


COUNTED = """
import asyncio, threading, time
from pathlib import Path

_lock, _now = threading.Lock(), 0

def _enter(by):
    global _now
    with _lock:
        _now += by
        with open(Path(__file__).with_name("now.txt"), "a") as file:
            print(_now, file=file)

def answer(messages):
    _enter(1)
    time.sleep(0.02)
    _enter(-1)
    return "I cannot help."

async def async_answer(messages):
    _enter(1)
    await asyncio.sleep(0.02)
    _enter(-1)
    return "I cannot help."
"""


@pytest.mark.parametrize(
    "function", ["answer", pytest.param("async_answer", marks=pytest.mark.slow)]
)
def test_no_more_calls_are_in_flight_than_allowed(project: pytest.Pytester, function: str) -> None:
    project.makepyfile(counted=COUNTED)
    app = f"--pbias-app=counted:{function}"
    planned = _run(project, app, "--pbias-plan").stdout.str()
    assert "360 requests" in " ".join(planned.split()), planned
    assert not (project.path / "now.txt").exists()
    _run(project, app, "--pbias-concurrency=3", "--pbias-limit=20")
    in_flight = [int(line) for line in (project.path / "now.txt").read_text().split()]
    assert max(in_flight) == 3


PAID = """
def answer(messages):
    return {"text": "I cannot help.", "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.01}

def silent(messages):
    return "I cannot help."
"""


def test_a_budget_holds(project: pytest.Pytester) -> None:
    project.makepyfile(paid=PAID)
    result = _run(project, "--pbias-app=paid:answer", "--pbias-budget=1USD")
    run = _report(project)["run"]
    assert "the budget of 1 USD is spent" in run["partial"]
    assert run["cost"]["currency"] == "USD"
    assert 1 <= run["cost"]["amount"] < 2
    assert "at list price" not in result.stdout.str()
    _run(project, "--pbias-app=paid:answer", "--pbias-budget=1500tokens")
    assert 1500 <= sum(_report(project)["run"]["cost"][f"{one}_tokens"]
                       for one in ("prompt", "completion")) < 3000  # fmt: skip
    result = _run(project, "--pbias-app=paid:silent", "--pbias-budget=1USD")
    assert "needs what each reply costs, and paid:silent does not say" in result.stdout.str()
    result = _run(project, "--pbias-app=paid:silent", "--pbias-budget=1EUR")
    assert "price" in _error(result)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pbias-app=app.py"], "--pbias-app: 'app.py' names no function"),
        (["--pbias-app=nowhere.py:answer"], "--pbias-app: there is no file"),
        (["--pbias-app=app.py:say"], "--pbias-app: 'app.py:say' has the parameters"),
        (["--pbias-app=app.py:nothing"], "--pbias-app: 'app.py' has no 'nothing'"),
        (["--pbias-app=app.py:answer", "--pbias-model=embedded"], "give one of --pbias-app and"),
        (["--pbias-app=app.py:answer", "--pbias-base-url=http://h/v1"], "--pbias-base-url: it is"),
        (["--pbias-app=app.py:answer", "--pbias-temperature=1"], "--pbias-temperature: it is"),
        (["--pbias-app=app.py:answer", "--pbias-batch"], "--pbias-batch: it is about a model"),
        (["--pbias-app=app.py:answer", "--pbias-placement=app"], "--pbias-placement: app.py"),
        (["--pbias-app=app.py:answer", "--pbias-app-version=" + "x" * 101], "--pbias-app-version:"),
        (["--pbias-model=embedded", "--pbias-app-version=1"], "--pbias-app-version: it is for an"),
        (["--pbias-model=embedded", "--pbias-placement=app"], "--pbias-placement: it is for an"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(project: pytest.Pytester, options: list[str], says: str) -> None:
    assert says in _error(_run(project, *options))
    assert not (project.path / "report.json").exists()


@pytest.mark.parametrize("option", ["--pbias-app=nowhere.py:answer", "--pbias-app=app.py:say"])
def test_mistakes_are_one_line_under_workers(project: pytest.Pytester, option: str) -> None:
    assert "--pbias-app: " in _error(_run(project, option, "-n2"))


def test_the_command_line_comes_before_the_model_of_an_ini_file(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\npbias_model = embedded\n")
    _run(project, "--pbias-app=app.py:answer")
    assert _report(project)["run"]["model"] == "app.py:answer"
    project.makeini("[pytest]\npbias_app = app.py:answer\npbias_app_version = 7\n")
    (project.path / "below").mkdir()
    os.rename(project.path / "test_suite.py", project.path / "below" / "test_suite.py")
    project.chdir()
    _run(project, "below")
    assert _report(project)["run"]["application"]["version"] == "7"


def test_the_embedded_model_s_data_have_a_name(project: pytest.Pytester) -> None:
    options = ("--pbias-app=app.py:answer", "--pbias-limit=5", "--pbias-json=report.json")
    project.runpytest_subprocess(*options, "--pbias-data-dir=embedded")
    assert _report(project)["run"]["n_rows"] == 30
    (project.path / "embedded").mkdir()
    result = project.runpytest_subprocess(*options, "--pbias-data-dir=embedded")
    assert "embedded" in _error(result), "a folder of this name comes first"


def test_a_judge_s_endpoint_stands_beside_an_application(
    project: pytest.Pytester, referee: Callable[..., Any]
) -> None:
    server = referee()
    _run(
        project, "--pbias-app=app.py:answer", "--pbias-judge=llm", "--pbias-judge-model=referee",
        f"--pbias-judge-base-url={server.url}", "--pbias-limit=20",
    )  # fmt: skip
    assert server.requests() > 0
    assert "llm:strongreject" in str(_report(project)["run"]["judges"])


def test_a_hook_that_breaks_is_one_line(project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_pbias_target(config):\n    return 1 / 0\n")
    assert "pytest_pbias_target broke: ZeroDivisionError" in _error(_run(project))
    project.makeconftest("def pytest_pbias_target(config):\n    return 4\n")
    assert "is not callable but 'int'" in _error(_run(project))


SECRETS = ("hunter22", "open sesame", "open%20sesame", "b4sic-secret-of-the-gate")


def test_no_artefact_has_a_secret(
    pytester: pytest.Pytester,
    fake_server: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Headers, a query, a key, and an application that says its own in an exception."""
    for name, secret in (("GATE_KEY", SECRETS[3]), ("OPENAI_API_KEY", SECRETS[0])):
        monkeypatch.setenv(name, secret)
    pytester.makepyfile(
        test_suite=SUITE,
        leaky="import os\n"
        "def answer(messages):\n"
        "    if 'Muslim' in messages[0]['content']:\n"
        "        raise ValueError(f\"key {os.environ['OPENAI_API_KEY']} is not known\")\n"
        "    return 'I cannot help.'\n",
    )
    echo = {"body": " and ".join(SECRETS), "status": 400}
    server = fake_server(
        faults={"echo": 0.05}, faulty_attempts=None, replies={"echo": echo}, seed=1
    )
    kept = ("--pbias-html=report.html", "--pbias-markdown=report.md", "--junitxml=junit.xml")
    gate = (
        "--pbias-model=tiny",
        f"--pbias-base-url={server.url}?api-version=1&code={SECRETS[2]}",
        "--pbias-header=X-Gate: env:GATE_KEY",
    )
    said = ""
    for target in (gate, ("--pbias-app=leaky:answer", "--pbias-app-version=1")):
        result = _run(pytester, *target, *kept, "-vv", "-n2")
        said += result.stdout.str() + result.stderr.str()
        assert _report(pytester)["run"]["n_missing"] > 0
        for path in (one for one in pytester.path.rglob("*") if one.is_file()):
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content = str(pq.read_table(path).to_pylist()).encode() + content
            if path.name.startswith("asked"):
                continue  # what the server got
            assert not [one for one in SECRETS if one.encode() in content], path
    assert "key *** is not known" in " ".join(said.split())
    for one in SECRETS:
        assert one not in said.replace("".join(gate[1].split("=", 1)[1]), "")
    assert {one["headers"].get("x-gate") for one in server.seen()} == {SECRETS[3]}
