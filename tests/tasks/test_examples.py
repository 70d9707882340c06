"""The task files of the documentation, on the real sets; and its tutorial, line by line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.grading import cannot_grade, grader_for, require_grades
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.tasks import TASKS, Task, load_task
from pytest_pbias.tasks.own import as_task
from pytest_pbias.tasks.task_file import read_task

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    monkeypatch.setenv("PBIAS_DATA", str(REAL_DATA))
    return REAL_DATA


def _example(name: str) -> Task:
    return read_task(EXAMPLES / f"task_{name}.pbias.toml")


def test_a_subtask_alone_asks_what_the_suite_asks(real_data: Path) -> None:
    items = load_task(_example("dates")).items
    suite = load_task(TASKS["bbh"], data_dir=real_data).items
    wanted = {item.prompt: item.reference["target"] for item in suite
              if item.cluster == "date_understanding"}  # fmt: skip
    assert {item.prompt: item.reference["target"] for item in items} == wanted
    grader = grader_for(_example("dates"))
    right = [(item, f"Therefore, the answer is {wanted[item.prompt]}.") for item in items]
    assert [grade.score for grade in require_grades(grader.grade(right))] == [1.0] * len(items)
    chance = sum(1 / len(re.findall(r"(?m)^\([A-Z]\)", item.prompt)) for item in items) / len(items)
    assert abs(_example("dates").floor - chance) < 0.02


def test_challenge_tests_are_passed_by_the_reference_programs(real_data: Path) -> None:
    task = _example("challenges")
    if reason := cannot_grade(task):
        pytest.skip(reason)
    rows = map(json.loads, (real_data / "mbpp" / "mbpp.jsonl").read_text().splitlines())
    code = {row["text"]: row["code"] for row in rows if row["challenge_test_list"]}
    items = load_task(task).items
    assert len(items) == len(code)
    some = items[:20]
    programs = [f"```python\n{code[one.prompt.splitlines()[0]]}\n```" for one in some]
    grades = require_grades(grader_for(task).grade(list(zip(some, programs, strict=True))))
    assert [grade.label for grade in grades] == ["correct"] * len(some)
    wrong = grader_for(task).grade([(some[0], "```python\ndef f():\n    pass\n```")])
    assert require_grades(wrong)[0].score == 0.0
    shown = load_task(task, shots=1, limit=1).items[0].prompt
    assert shown.count("```python") == 1


def test_the_unsafe_prompts_of_xstest_are_a_safety_task(real_data: Path) -> None:
    task = _example("unsafe_prompts")
    items = load_task(task).items
    suite = {item.prompt for item in load_task(TASKS["xstest"], data_dir=real_data).items}
    assert (task.axis, len(items)) == ("safety", 200)
    assert not suite & {item.prompt for item in items}
    pairs = [(items[0], "I'm sorry, but I can't help with that."), (items[0], "Sure! First, ...")]
    assert [one.score for one in require_grades(grader_for(task).grade(pairs))] == [1.0, 0.0]


def test_the_task_in_python_of_the_docs_is_one() -> None:
    page = (DOCS / "tasks.md").read_text("utf-8")
    (block,) = re.findall(r"(?s)```python\n(.*?)```", page)
    names: dict[str, Any] = {}
    exec(block, names)
    (task,) = (as_task(one, "hook") for one in names["pytest_pbias_tasks"](None))
    items = load_task(task).items
    assert len({item.id for item in items}) == 100
    pairs = [(items[0], f"It is {items[0].reference['sum']}."), (items[0], "No idea.")]
    assert [one.score for one in require_grades(grader_for(task).grade(pairs))] == [1.0, 0.0]


PERSONA = """
tasks = ["dates", "challenges", "unsafe_prompts", "explaining"]
identities = ["a nurse"]
"""


def test_all_of_them_in_one_session(
    pytester: pytest.Pytester,
    real_data: Path,
    fake_server: Callable[..., Any],
    referee: Callable[..., Any],
) -> None:
    for path in (*EXAMPLES.glob("task_*.pbias.toml"), EXAMPLES / "explaining.csv"):
        shutil.copy(path, pytester.path)
    (pytester.path / "persona_nurse.pbias.toml").write_text(PERSONA)
    answers = fake_server(text="I'm sorry, but I can't help with that. score=0.25")
    result = pytester.runpytest_subprocess(
        *("--pbias-model=tiny", f"--pbias-base-url={answers.url}", "--pbias-limit=8"),
        *("--pbias-judge-model=referee", f"--pbias-judge-base-url={referee().url}"),
        "--pbias-shots=0",
    )
    assert "Traceback" not in result.stdout.str()
    (path,) = (pytester.path / ".pbias" / "runs").glob("*.parquet")
    table = OutcomeTable.read(path)
    means = {name: table.task_outcomes(name).scores.mean() for name in table.tasks()}
    asked = {"dates": 0.0, "unsafe_prompts": 1.0, "explaining": 0.25}
    if cannot_grade(_example("challenges")) is None:
        asked["challenges"] = 0.0
    assert means == asked


@pytest.mark.slow
def test_the_tutorial_is_true_line_by_line(pytester: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    page = (DOCS / "own-questions.md").read_text("utf-8")
    saved: dict[str, str] = {}
    for name in re.findall(r"\[(\w+\.csv)\]\(examples/", page):
        shutil.copy(EXAMPLES / name, pytester.path)
    said, ran = "", []
    for prose, language, block in re.findall(r"(?s)(.*?)```(\w+)\n(.*?)```", page):
        if included := re.fullmatch(r'--8<-- "(.*)"\n', block):
            block = (DOCS / included[1]).read_text("utf-8")
        match language:
            case "csv":
                text = (pytester.path / "questions.csv").read_text("utf-8")
                assert text.startswith(block)
                assert f"has {len(text.splitlines()) - 1} questions" in prose
            case "toml":
                name = re.findall(r"as `(\w+\.pbias\.toml)`", prose)[-1]
                (pytester.path / name).write_text(block, encoding="utf-8")
                saved[name] = block
            case "console":
                for line in block.splitlines():
                    words = shlex.split(line)
                    if words[0] != "pip":
                        result = pytester.run(*words)
                        said = result.stdout.str()
                        assert "Traceback" not in said + result.stderr.str()
                        ran.append(line)
            case "text" if "gpt" not in block:
                for line in block.splitlines():
                    assert line in said.splitlines(), (line, said)
    assert sorted(saved) == ["persona_users.pbias.toml", "task_goods.pbias.toml"]
    assert ran == [
        "pbias tasks check task_goods.pbias.toml",
        "pytest --pbias-model=embedded",
        "pytest --pbias-model=embedded -k nurse",
        "pbias report 1",
    ]
