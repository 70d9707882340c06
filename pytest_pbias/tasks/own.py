"""Tasks of users: what a hook or an entry point offers, and which names are known in a session."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

from pytest_pbias.errors import ConfigurationError, DataError, PbiasError, quoted
from pytest_pbias.tasks.base import (
    Axis,
    Content,
    GraderName,
    Item,
    OwnTask,
    PromptProtocol,
    Row,
    Split,
    Task,
)

ENTRY_POINTS = "pytest_pbias.tasks"
TASK_FILE = "task_*.pbias.toml"
RESERVED = ("utility", "safety")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}")
_MOST_OPTIONS = 18  # letters that are read as options, A to R

REFERENCES: Mapping[str, tuple[str, ...]] = {
    "choice": ("answer", "choices"),
    "number": ("answer",),
    "freeform": ("target",),
    "exact": ("answers",),
    "contains": ("answers",),
    "code": ("tests", "setup"),
}
"""What a grader reads of an item's reference."""


def name_fault(name: object) -> str | None:
    """Why a task cannot be called so, or None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return (
            f"{quoted(name)} cannot be a task's name: begin with a letter; then letters, digits, "
            "'_', '.' and '-', 60 at most"
        )
    return f"{quoted(name)} is an axis, not a task's name" if name in RESERVED else None


def as_task(thing: Any, where: str) -> Task:
    """What a hook or an entry point offers as a task; ``where`` begins errors.

    Raises:
        ConfigurationError: it is none; the line says what is missing.
    """
    if isinstance(thing, Task):
        return thing
    thing = thing() if isinstance(thing, type) else thing
    source = f"{where} ({type(thing).__module__}.{type(thing).__qualname__})"
    name: Any = getattr(thing, "name", None)
    axis: Any = getattr(thing, "axis", None)
    if fault := name_fault(name):
        raise ConfigurationError(f"{source}: {fault}")
    floor, title = getattr(thing, "floor", 0.0), getattr(thing, "title", name)
    grader, licence = getattr(thing, "grader", "own"), getattr(thing, "licence", "not stated")
    version = getattr(thing, "version", "1")
    problem = None
    if axis not in get_args(Axis):
        problem = f"axis is {quoted(axis)}: choose from {', '.join(get_args(Axis))}"
    elif isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor <= 1:
        problem = f"floor is {quoted(floor)}, not a number from 0 to 1"
    elif not all(isinstance(one, str) and one.strip() for one in (title, licence, version)):
        problem = "title, licence and version must be texts"
    elif not callable(getattr(thing, "items", None)):
        problem = "has no method items()"
    elif grader == "own" and not callable(getattr(thing, "grade", None)):
        problem = "has no method grade(item, response), and names no grader"
    elif grader != "own" and grader not in (*REFERENCES, "refusal", "compliance"):
        known = ", ".join((*REFERENCES, "refusal", "compliance"))
        problem = f"unknown grader {quoted(grader)}: choose from {known}"
    if problem is not None:
        raise ConfigurationError(f"{source}: task {name!r}: {problem}")
    return Task(
        name=str(name),
        title=title,
        axis=_axis(axis),
        grader=_grader(grader),
        floor=float(floor),
        licence=licence,
        columns=(),
        local=None,
        hub=None,
        build=_no_rows,
        splits={"all": Split("")},
        source=source,
        options={"version": version},
        own=thing,
    )


def _axis(axis: Any) -> Axis:
    return "safety" if axis == "safety" else "utility"


def _grader(name: str) -> GraderName:
    known: tuple[GraderName, ...] = get_args(GraderName)
    return next(one for one in known if one == name)


def _no_rows(row: Row, protocol: PromptProtocol) -> Content:
    raise AssertionError("a task in Python gives items, not rows")


def own_contents(task: Task) -> Iterator[tuple[str, Content]]:
    """The items of a task in Python, each with the text of what makes it another item.

    Raises:
        DataError: one is not as it must be, or ``items()`` broke.
    """
    assert task.own is not None
    for number, item in enumerate(_items(task, task.own), start=1):
        problem = _item_fault(task, item)
        if problem is not None:
            raise DataError(f"{task.source}: item {number} of task {task.name!r}: {problem}")
        yield item.id or item.prompt, Content(item.cluster, item.prompt, item.reference)


def _items(task: Task, own: OwnTask) -> Iterator[Item]:
    try:
        yield from own.items()
    except PbiasError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(f"{task.source}: items() of task {task.name!r} broke: {said}") from error


def _item_fault(task: Task, item: Item) -> str | None:
    given: object = item  # which nothing has type-checked
    if not isinstance(given, Item):
        return f"{quoted(given)} is no Item"
    if not all(isinstance(text, str) for text in (item.id, item.cluster, item.prompt)):
        return "its id, cluster and prompt must be texts"
    if not item.prompt.strip() or "\0" in item.prompt:
        return "its prompt is empty, or has a null character"
    try:
        json.dumps(dict(item.reference), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return "its reference holds what JSON cannot: give texts, numbers, lists and mappings"
    lacking = [key for key in REFERENCES.get(task.grader, ()) if key not in item.reference]
    if lacking:
        return f"its reference lacks {', '.join(lacking)}, which the grader {task.grader} reads"
    return reference_fault(task.grader, item.reference)


def reference_fault(grader: str, reference: Mapping[str, Any]) -> str | None:
    """What a grader could not read of a reference, or None."""
    answer = reference.get("answer")
    if grader == "choice":
        choices = reference["choices"]
        if not isinstance(choices, list | tuple) or not 2 <= len(choices) <= _MOST_OPTIONS:
            return f"choices must be a list of 2 to {_MOST_OPTIONS} texts"
        if not all(isinstance(one, str) and one.strip() for one in choices):
            return "choices has an option that is no text, or is empty"
        letters = [chr(ord("A") + number) for number in range(len(choices))]
        if answer not in letters:
            return f"answer: {quoted(answer)} is no option: {', '.join(letters)}"
    if grader == "number" and (
        isinstance(answer, bool)
        or not isinstance(answer, int | float)
        or not math.isfinite(float(answer))
    ):
        return f"answer: {quoted(answer)} is not a number"
    if grader == "freeform" and not _is_text(reference["target"]):
        return f"target: {quoted(reference['target'])} is not a text"
    for key in ("answers", "tests"):
        texts = reference.get(key)
        if key in REFERENCES.get(grader, ()) and not (
            isinstance(texts, list | tuple) and texts and all(map(_is_text, texts))
        ):
            return f"{key}: {quoted(texts)} is not a list of texts"
    if grader == "code" and not isinstance(reference["setup"], str):
        return f"setup: {quoted(reference['setup'])} is not a text"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def known_tasks(tasks: Mapping[str, Task], more: Iterable[Task]) -> dict[str, Task]:
    """The tasks that are there and more, by name.

    Raises:
        ConfigurationError: two have one name, or one has none that can be used.
    """
    known = dict(tasks)
    for task in more:
        if fault := name_fault(task.name):
            raise ConfigurationError(f"{task.source or 'a task'}: name: {fault}")
        first = known.setdefault(task.name, task)
        if first is not task:
            whose = f"that of {first.source}" if first.source else "one of pytest-pbias"
            raise ConfigurationError(
                f"{task.source or 'a task'}: name: the task {task.name!r} is there already, "
                f"{whose}; give it another name"
            )
    return known


def installed_tasks() -> list[Task]:
    """The tasks of installed packages: each entry point is a task, or a function that gives some.

    Raises:
        ConfigurationError: one cannot be loaded, or gives something else.
    """
    found: list[Task] = []
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        where = f"entry point {entry.name!r} of {ENTRY_POINTS}"
        try:
            thing = entry.load()
            is_task = isinstance(thing, type | Task) or hasattr(thing, "items")
            given = [thing] if is_task else list(thing())
        except PbiasError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ConfigurationError(f"{where} broke: {said}") from error
        found += [as_task(one, where) for one in given]
    return found


def find_task_files(places: Iterable[Path], root: Path, skip: Iterable[str]) -> list[Path]:
    """The task files in folders and below them, and in the folders above up to ``root``.

    Of a file its folder counts, without those below. Folders whose names match ``skip`` are left
    out, and virtual environments.
    """
    found: dict[Path, None] = {}
    patterns = tuple(skip)
    for place in places:
        folder = place if place.is_dir() else place.parent
        above = [one for one in folder.parents if one.is_relative_to(root)]
        for one in (*reversed(above), folder):
            found |= dict.fromkeys(_task_files(one))
        if place.is_dir():
            for path, folders, _ in os.walk(place):
                folders[:] = sorted(
                    name
                    for name in folders
                    if not any(fnmatch(name, pattern) for pattern in patterns)
                    and not os.path.exists(os.path.join(path, name, "pyvenv.cfg"))
                )
                found |= dict.fromkeys(_task_files(Path(path)))
    return list(found)


def _task_files(folder: Path) -> list[Path]:
    try:
        return sorted(path.resolve() for path in folder.glob(TASK_FILE) if path.is_file())
    except OSError:
        return []
