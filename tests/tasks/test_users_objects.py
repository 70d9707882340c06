"""What is good enough for users is good enough for us: the seven as objects that users write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.grading import Grade, grader_for, require_grades
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.tasks import TASKS, Item, PromptProtocol, Task, load_task
from pytest_pbias.tasks.local import read_local
from pytest_pbias.tasks.own import as_task

ROOT = Path(__file__).parents[2]
DATA = ROOT / "fixtures" / "data"


class Written:
    """A task of the package, in the form that the documentation shows to users."""

    def __init__(self, task: Task, name: str, data: Path = DATA) -> None:
        self.name, self.axis, self.grader = name, task.axis, task.grader
        self.title, self.floor, self.licence = task.title, task.floor, task.licence
        self.splits = tuple(task.splits)
        self._task, self._data = task, data

    def items(self, split: str, protocol: PromptProtocol) -> Iterator[Item]:
        for _, row in read_local(self._task, self._data, split):
            if self._task.keep(row):
                content = self._task.build(row, protocol)
                told = {name: row[name] for name in sorted(self._task.columns)
                        if row[name] is not None}  # fmt: skip
                item_id = json.dumps(told, sort_keys=True)
                yield Item(item_id, content.cluster, content.prompt, content.reference)


class WrittenWithExamples(Written):
    """One that can be asked with solved examples."""

    def __init__(self, task: Task, name: str, data: Path = DATA) -> None:
        super().__init__(task, name, data)
        self.examples = task.examples

    def solve(self, item: Item) -> str:
        assert self._task.solve is not None
        return self._task.solve(json.loads(item.id))


def written(task: Task, name: str, data: Path = DATA) -> Written:
    kind = Written if task.solve is None else WrittenWithExamples
    return kind(task, name, data)


def offered(config: pytest.Config) -> Sequence[Any]:
    """What the session below gets of its hook: the seven, as objects and as the package has them.

    Their data are the session's.
    """
    data = config.rootpath / "data"
    return [
        *(written(task, f"my_{name}", data) for name, task in TASKS.items()),
        *(replace(task, name=f"our_{name}") for name, task in TASKS.items()),
    ]


@pytest.mark.parametrize("protocol", ["default", "paper"])
@pytest.mark.parametrize("name", TASKS)
def test_an_object_asks_what_the_package_asks(name: str, protocol: PromptProtocol) -> None:
    task = TASKS[name]
    mine = as_task(written(task, name), "hook")
    ours = load_task(task, data_dir=DATA, protocol=protocol, seed=3)
    assert load_task(mine, protocol=protocol, seed=3) == ours
    for field in ("name", "title", "axis", "grader", "floor", "licence", "examples"):
        assert getattr(mine, field) == getattr(task, field)
    assert list(mine.splits) == list(task.splits)


def test_splits_and_solved_examples_are_those_of_the_package() -> None:
    for name in ("mmlu", "mbpp"):
        mine = as_task(written(TASKS[name], name), "hook")
        ours = load_task(TASKS[name], data_dir=DATA, shots=2, limit=40)
        assert load_task(mine, shots=2, limit=40) == ours
        assert ours.items[0].prompt != load_task(TASKS[name], data_dir=DATA).items[0].prompt
    mine = as_task(written(TASKS["mbpp"], "mbpp"), "hook")
    ours = load_task(TASKS["mbpp"], data_dir=DATA, split="test", shots=1)
    assert load_task(mine, split="test", shots=1) == ours
    assert 0 < len(ours.items) < len(load_task(mine).items)
    with pytest.raises(ConfigurationError, match="no split 'dev': choose from all, prompt, test"):
        load_task(mine, split="dev")


class GradesItself(Written):
    """One with a method ``grade``, which asks the package's grader for each answer."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, task.name)
        del self.grader

    def grade(self, item: Item, response: str) -> Grade:
        (grade,) = require_grades(grader_for(self._task).grade([(item, response)]))
        return grade


@pytest.mark.parametrize("name", ["mmlu", "gsm8k", "bbh"])
def test_a_method_grades_as_the_grader_that_it_names(name: str) -> None:
    mine, ours = as_task(GradesItself(TASKS[name]), "hook"), TASKS[name]
    items = load_task(mine, limit=20).items
    said = ["The answer is (A).", "So it is 12.", "I cannot say.", "<think>hm", "", "Yes."]
    said += [f"Therefore, the answer is {next(iter(items[0].reference.values()))}."]
    pairs = [(item, text) for item in items for text in said]
    grades = grader_for(mine).grade(pairs)
    assert grades == grader_for(ours).grade(pairs)
    assert len({grade.label for grade in require_grades(grades)}) > 2


def _few(folder: Path) -> None:
    """The first questions of every set."""
    for path in sorted(DATA.rglob("*.*")):
        target = folder / path.relative_to(DATA)
        if target.parent.is_dir() and len(list(target.parent.iterdir())) > 1:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            few = json.loads(text)
            target.write_text(json.dumps(few | {"examples": few["examples"][:5]}), "utf-8")
        else:
            target.write_text("".join(text.splitlines(keepends=True)[:9]), "utf-8")


SUITE = """
import pytest
from pytest_pbias.tasks import TASKS

NAMES = [kind + name for name in TASKS for kind in ("", "my_", "our_")]

@pytest.mark.pbias(tasks=NAMES, identities=["a Muslim person"])
def test_alike(cell):
    cell.check(margin=100)
"""


def test_a_session_cannot_tell_them_from_those_of_the_package(
    pytester: pytest.Pytester,
    fake_server: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    _few(pytester.path / "data")
    pytester.makeconftest(
        "from tests.tasks.test_users_objects import offered as pytest_pbias_tasks"
    )
    pytester.makepyfile(test_suite=SUITE)
    server = fake_server(data=str(pytester.path / "data"), wrong_for="Muslim")
    result = pytester.runpytest_subprocess(
        *("--pbias-model=tiny", f"--pbias-base-url={server.url}", "--pbias-data-dir=data"),
        *("--pbias-stop=never", "--pbias-reference=baseline", "-n0"),
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    (path,) = (pytester.path / ".pbias" / "runs").glob("*.parquet")
    table = OutcomeTable.read(path)
    columns = [
        "axis",
        "floor",
        "grader",
        "item_id",
        "cluster",
        "identity",
        "prompt_hash",
        "response",
    ]
    columns = [one for one in columns if one in table.arrow.column_names]
    columns += ["score", "label", "parsable", "judge", "judge_version", "error"]

    def rows(task: str) -> list[str]:
        found = table.arrow.select(["task", *columns]).to_pylist()
        return sorted(
            repr([row[one].replace(f"{task}-", "") if one in ("item_id", "cluster") else row[one]
                  for one in columns])
            for row in found
            if row["task"] == task
        )  # fmt: skip

    labels = set()
    for name in TASKS:
        assert rows(name) or name == "mbpp", name
        assert rows(f"my_{name}") == rows(f"our_{name}") == rows(name)
        labels |= {row["label"] for row in table.arrow.to_pylist() if row["task"] == name}
    assert {"correct", "incorrect", "refusal"} <= labels
    prompts = {json.dumps(one["messages"]) for one in server.asked()}
    assert len(prompts) == server.requests()  # each of them is asked once for all three
