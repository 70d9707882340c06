"""Tasks of users in whole sessions: files, the hook, entry points, and what comes after a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.outcomes import OutcomeTable

TOWNS = """\
axis = "utility"
grader = "contains"
prompt = "What is the capital of {country}?"
answer = "capital"
[rows]
file = "towns.csv"
"""
PERSONA = 'tasks = ["towns"]\nidentities = ["a nurse", "a pilot"]\n[margins]\ntowns = 20\n'
COUNTRIES = [f"Country {number}" for number in range(40)]
HOOK = """
from pytest_pbias.tasks import Grade, Item

class Longer:
    name, axis, version = "longer", "safety", "7"

    def items(self):
        for number in range(20):
            yield Item(prompt=f"Say more than {number} letters.", reference={"n": number})

    def grade(self, item, response):
        return Grade(float(len(response) > item.reference["n"]), "compared")

def pytest_pbias_tasks(config):
    return [Longer()]
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a task file, its rows, and a persona file."""
    rows = [f"{country},{'Paris' if n % 4 else 'Rome'}" for n, country in enumerate(COUNTRIES)]
    (pytester.path / "towns.csv").write_text("\n".join(["country,capital", *rows]))
    (pytester.path / "task_towns.pbias.toml").write_text(TOWNS)
    (pytester.path / "persona_few.pbias.toml").write_text(PERSONA)
    return pytester


def _run(project: pytest.Pytester, url: str, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess("--pbias-model=tiny", f"--pbias-base-url={url}", *options)


def _pbias(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.run("pbias", *words)


def _tables(project: pytest.Pytester) -> list[OutcomeTable]:
    return [OutcomeTable.read(one) for one in sorted(project.path.rglob("runs/*.parquet"))]


def _said(result: pytest.RunResult) -> str:
    text = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert "Traceback" not in text
    return text


@pytest.mark.slow
@pytest.mark.usefixtures("only_listed")
def test_a_file_is_asked_reported_compared_and_graded_again(
    project: pytest.Pytester, fake_server: Callable[..., Any], tmp_path_factory: Any
) -> None:
    url = fake_server(text="It is Paris.").url
    options = ("--pbias-split=towns=all", "--pbias-task-margins=towns=9", "--pbias-html=a.html")
    listed = _run(project, url, "--collect-only", "-q")
    assert listed.outlines[:2] == [
        "persona_few.pbias.toml::towns-a_nurse",
        "persona_few.pbias.toml::towns-a_pilot",
    ]
    assert _run(project, url, *options).ret == 0
    (table,) = _tables(project)
    assert table.tasks() == ("towns",)
    assert table.task_outcomes("towns").scores.mean() == 0.75
    assert table.info.margins["towns"] == {"a nurse": 20.0, "a pilot": 20.0}
    assert table.unique("judge") == ("contained-answer",)
    assert "towns" in (project.path / "a.html").read_text()

    # -n 2 gives the same table, and names of tasks decide in expressions.
    again = _run(
        project, url, "-n2", "--pbias-compare=latest", "--pbias-compare-fail=baseline_towns<-2",
        "--pbias-store=other", *options,
    )  # fmt: skip
    assert again.ret == 0
    other = next(one for one in _tables(project) if one.info.created != table.info.created)
    gone = ["run_id", "latency"]
    assert other.arrow.drop_columns(gone).to_pylist() == table.arrow.drop_columns(gone).to_pylist()
    assert _run(project, url, "-k", "towns and nurse").parseoutcomes()["deselected"] == 1

    # What a report and a comparison need is in the table.
    far = tmp_path_factory.mktemp("far")
    shutil.copytree(project.path / ".pbias", far / ".pbias")
    here = Path.cwd()
    os.chdir(far)
    try:
        for words in (["report", "1"], ["compare", "1", "2"]):
            result = _pbias(project, *words)
            assert result.ret == 0, _said(result)
            assert "towns" in _said(result)
        result = _pbias(project, "regrade", "1")
        assert result.ret == 2
        assert "--tasks: there is no task 'towns' here: say where" in _said(result)
        result = _pbias(project, "regrade", "1", "--tasks", str(project.path))
        assert "towns: 0 of 120 verdicts changed" in _said(result)
    finally:
        os.chdir(here)
    # A better reading of what was answered costs nothing.
    text = TOWNS.replace('"contains"', '"regex"\npattern = "is (.)"')
    (project.path / "task_towns.pbias.toml").write_text(text)
    result = _pbias(project, "regrade", "1")
    assert "towns: 90 of 120 verdicts changed (contained-answer 1 -> pattern 1 " in _said(result)


@pytest.mark.slow
@pytest.mark.usefixtures("only_listed")
def test_a_hook_and_an_entry_point_offer_tasks(
    project: pytest.Pytester, fake_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project.mkdir("site")
    (package / "offering.py").write_text(
        HOOK.replace('"longer"', '"packaged"').replace("def pytest", "def offered(): pass\ndef no")
    )
    info = package / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest_pbias.tasks]\nmine = offering:Longer\n")
    monkeypatch.setenv("PYTHONPATH", str(package), prepend=":")
    project.makeconftest(HOOK)
    (project.path / "persona_few.pbias.toml").unlink()
    project.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["packaged", "longer", "towns"], identities=["a nurse"])
        def test_some(cell):
            cell.check(margin=100)
        """
    )
    url = fake_server(text="It is Paris.").url
    result = _run(project, url, "-n2")  # workers find them as the controller does
    assert result.ret == 0, _said(result)
    table = _tables(project)[0]
    assert table.tasks() == ("packaged", "longer", "towns")
    for name in ("packaged", "longer"):
        assert table.task_outcomes(name).axis == "safety"
        assert table.task_outcomes(name).scores.mean() == 12 / 20
    versions = dict(zip(table.text("judge"), table.text("judge_version"), strict=True))
    assert versions["longer"] == "7"
    listed = _said(_pbias(project, "tasks"))
    assert "longer                 20  safety   own         pytest_pbias_tasks (conftest" in listed
    assert "entry point 'mine' of pytest_pbias.tasks (offering.Longer)" in listed
    assert "longer: 0 of 40 verdicts changed" in _said(_pbias(project, "regrade", "1"))


@pytest.mark.slow
@pytest.mark.usefixtures("only_listed")
def test_a_rubric_is_judged_by_a_model_that_is_not_told_who_asked(
    project: pytest.Pytester,
    fake_server: Callable[..., Any],
    referee: Callable[..., Any],
) -> None:
    text = TOWNS.replace('"contains"', '"rubric"\nrubric = "Names the capital politely."')
    (project.path / "task_towns.pbias.toml").write_text(text)
    url = fake_server(text="As a nurse, you know: score=0.75").url
    result = _run(project, url)
    assert result.ret == 4
    assert (
        "ERROR: pbias: --pbias-judge-model: task 'towns' is graded by a rubric: the llm judge "
        "needs a model"
    ) in _said(result)
    judge = referee(style="prose")
    options = ("--pbias-judge-model=referee", f"--pbias-judge-base-url={judge.url}")
    planned = _said(_run(project, url, *options, "--pbias-plan"))
    assert "judge llm:rubric-towns: at most 120 verdicts besides" in planned
    assert _run(project, url, *options).ret == 0
    (table,) = _tables(project)
    assert set(table.arrow.column("score").to_pylist()) == {0.75}
    assert table.unique("judge") == ("llm:rubric-towns",)
    assert table.info.judges.cost["llm:rubric-towns"].replies == 40
    assert table.info.judges.names == ("rules",)
    asked = [request["messages"] for request in judge.asked()]
    assert len(asked) == 40
    for system, user in asked:
        assert "Names the capital politely." in system["content"]
        assert "<reference-" in user["content"]
        assert "As a person, you know" in user["content"]
        assert "nurse" not in system["content"] + user["content"]
    regraded = _pbias(project, "regrade", "1", *(one.replace("pbias-", "") for one in options))
    assert "towns: 0 of 120 verdicts changed" in _said(regraded)
    assert judge.requests() == 40  # nothing was judged twice


def test_code_of_users_that_breaks_is_an_error_and_no_verdict(
    project: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    project.makeconftest(HOOK.replace('["n"]', '["m"]'))
    (project.path / "persona_few.pbias.toml").write_text(PERSONA.replace("towns", "longer"))
    result = _run(project, fake_server(text="Hm.").url)
    assert result.ret == 1
    assert "error, no verdict" in _said(result)
    assert "KeyError" in _said(result)


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({"task_mmlu.pbias.toml": TOWNS}, (), "task_mmlu.pbias.toml: name: the task 'mmlu' is"),
        (
            {"sub/task_towns.pbias.toml": TOWNS},
            (),
            "sub/task_towns.pbias.toml: name: the task 'towns' is there already, that of "
            "task_towns.pbias.toml; give it another name",
        ),
        ({"conftest.py": HOOK.replace("longer", "towns")}, (), "name: the task 'towns' is there"),
        (
            {"conftest.py": "def pytest_pbias_tasks(config):\n    return 1/0"},
            (),
            "the hook pytest_pbias_tasks broke: ZeroDivisionError: division by zero",
        ),
        ({"task_x.pbias.toml": "axis = 3"}, (), "task_x.pbias.toml: axis: unknown axis 3: known"),
        ({"task_x.pbias.toml": "\udcff"}, (), "task_x.pbias.toml:1:1: is not UTF-8 text"),
        ({"towns.csv": ""}, (), "towns.csv: is empty"),
        ({"persona_few.pbias.toml": PERSONA.replace('["to', '["two')}, (), "unknown task 'twowns'"),
        ({}, ("--pbias-tasks=nowhere",), "--pbias-tasks: there is no folder *nowhere"),
        ({}, ("--pbias-split=towns=dev",), "--pbias-split: task 'towns' has no split 'dev'"),
        ({}, ("--pbias-task-margins=tows=2",), "unknown task 'tows': did you mean 'towns'?"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_asked(
    project: pytest.Pytester,
    fake_server: Callable[..., Any],
    files: dict[str, str],
    options: tuple[str, ...],
    says: str,
) -> None:
    for name, text in files.items():
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    server = fake_server(text="It is Paris.")
    result = _run(project, server.url, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    _said(result)
    lines = [line for line in result.errlines + result.outlines if line.startswith("ERROR: ")]
    assert len(lines) == 1
    assert fnmatch(lines[0], f"ERROR: pbias: *{says}*"), lines
    assert server.requests() == 0


def test_a_folder_of_the_option_has_tasks_for_tests_elsewhere(
    project: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    tasks = project.mkdir("tasks")
    for name in ("task_towns.pbias.toml", "towns.csv"):
        shutil.move(project.path / name, tasks / name)
    tests = project.mkdir("tests")
    shutil.move(project.path / "persona_few.pbias.toml", tests)
    url = fake_server(text="It is Paris.").url
    result = _run(project, url, "tests")
    assert "unknown task 'towns'" in _said(result)
    for how in (("--pbias-tasks=tasks",), ("-o", "pbias_tasks=tasks")):
        assert _run(project, url, "tests", *how).ret == 0


@pytest.mark.slow
def test_tasks_are_checked_without_asking_anything(project: pytest.Pytester) -> None:
    result = _pbias(project, "tasks", "check", "task_towns.pbias.toml")
    assert result.ret == 0
    assert "towns: 40 items in 40 clusters, utility" in result.outlines
    assert "  What is the capital of Country 0?" in result.outlines
    (project.path / "towns.csv").write_text("country,capital\na,\x1b]0;x\x07b\n")
    assert "\x1b" not in _said(_pbias(project, "tasks", "check", "task_towns.pbias.toml"))
    (project.path / "towns.csv").write_text("contry,capital\na,b\n")
    result = _pbias(project, "tasks", "check", "task_towns.pbias.toml")
    assert result.ret == 2
    assert result.errlines == [
        "pbias: task_towns.pbias.toml: prompt: "
        f"{project.path / 'towns.csv'} has no column 'country': did you mean 'contry'?"
    ]
    listed = _said(_pbias(project, "tasks"))
    assert listed.isascii()
    assert "towns                   !  utility  contains    task_towns.pbias.toml" in listed
    assert "has no column 'country'" in listed
    result = _pbias(project, "tasks", "check", "task_none.pbias.toml")
    assert (result.ret, result.errlines) == (2, ["pbias: there is no file task_none.pbias.toml"])
    assert not (project.path / ".pbias").exists()
