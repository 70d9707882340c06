"""Tasks of users: what a hook or an entry point offers, and which names are known in a session."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

from pytest_pbias.errors import ConfigurationError, DataError, PbiasError, quoted, without_controls
from pytest_pbias.tasks.base import (
    AXES,
    Axis,
    Content,
    GraderName,
    Item,
    PromptProtocol,
    Row,
    Split,
    Task,
    character_fault,
)

ENTRY_POINTS = "pytest_pbias.tasks"
TASK_FILE = "task_*.pbias.toml"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}")
_MOST_OPTIONS = 18  # letters that are read as options, A to R
_ITEM = "item"  # the one column of what a task in Python asks

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
    return f"{quoted(name)} is an axis, not a task's name" if name in AXES else None


def as_task(thing: Any, where: str) -> Task:
    """What a hook or an entry point offers as a task; ``where`` begins errors.

    Raises:
        ConfigurationError: it is none; the line says what is missing.
    """
    if isinstance(thing, Task):
        return thing
    kind = thing if isinstance(thing, type) else type(thing)
    source = f"{where} ({kind.__module__}.{kind.__qualname__})"
    try:
        return _as_task(thing() if isinstance(thing, type) else thing, source)
    except PbiasError:
        raise
    except Exception as error:  # of a property, say
        raise ConfigurationError(f"{source}: broke: {_raised(error)}") from error


def _as_task(thing: Any, source: str) -> Task:
    name: Any = getattr(thing, "name", None)
    axis: Any = getattr(thing, "axis", None)
    if fault := name_fault(name):
        raise ConfigurationError(f"{source}: {fault}")
    floor, title = getattr(thing, "floor", 0.0), getattr(thing, "title", name)
    grader, licence = getattr(thing, "grader", "own"), getattr(thing, "licence", "not stated")
    version, splits = getattr(thing, "version", "1"), getattr(thing, "splits", ("all",))
    solve: Any = getattr(thing, "solve", None)
    problem = None
    if axis not in get_args(Axis):
        problem = f"axis is {quoted(axis)}: choose from {', '.join(get_args(Axis))}"
    elif isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor <= 1:
        problem = f"floor is {quoted(floor)}, not a number from 0 to 1"
    elif not all(map(_is_text, (title, licence, version))):
        problem = "title, licence and version must be texts"
    elif not callable(getattr(thing, "items", None)):
        problem = "has no method items()"
    elif grader == "own" and not callable(getattr(thing, "grade", None)):
        problem = "has no method grade(item, response), and names no grader"
    elif grader != "own" and grader not in (*REFERENCES, "refusal", "compliance"):
        known = ", ".join((*REFERENCES, "refusal", "compliance"))
        problem = f"unknown grader {quoted(grader)}: choose from {known}"
    else:
        problem = _splits_fault(thing, splits)
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
        build=_content,
        splits={split: Split(split) for split in splits},
        solve=None if solve is None else lambda row: _solved(solve, row[_ITEM]),
        examples="" if solve is None else getattr(thing, "examples", splits[0]),
        source=source,
        options={"version": version},
        own=thing,
    )


def _splits_fault(thing: Any, splits: Any) -> str | None:
    """Why the items of a task in Python, or solved examples, cannot be had by split, or None."""
    good = isinstance(splits, list | tuple) and splits and all(map(_is_text, splits))
    if not good or len(set(splits)) < len(splits):
        return f"splits is {quoted(splits)}, not a list of names"
    solve: Any = getattr(thing, "solve", None)
    examples = getattr(thing, "examples", splits[0])
    if solve is not None and not callable(solve):
        return f"solve is {quoted(solve)}, not a method solve(item)"
    if solve is None and hasattr(thing, "examples"):
        return "names a split of examples, and has no method solve(item)"
    if examples not in splits:
        return f"examples is {quoted(examples)}, no split: choose from {', '.join(splits)}"
    signature, asked = _signature(thing.items), _asked(thing, "", "default")
    try:
        signature.bind(**asked)
    except TypeError as error:
        return (
            f"items has the parameters {signature}, and is called with split and protocol where it "
            f"has parameters of these names: {error}"
        )
    if len(splits) > 1 and "split" not in asked:
        return "has several splits: give items a parameter named split"
    return None


def _asked(thing: Any, split: str, protocol: PromptProtocol) -> dict[str, str]:
    """What ``items`` is called with: of the two, what it has parameters for."""
    given: dict[str, str] = {"protocol": protocol}
    if hasattr(thing, "splits"):
        given["split"] = split
    taken = _signature(thing.items).parameters
    return {name: value for name, value in given.items() if name in taken}


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # of a function in C that does not tell
        return inspect.Signature()


def _solved(solve: Callable[[Item], Any], item: Item) -> str:
    try:
        text = solve(item)
    except Exception as error:
        raise DataError(f"solve broke: {_raised(error)}") from error
    if not _is_text(text):
        raise DataError(f"solve gives {quoted(text)}, not a text")
    return str(text)


def _raised(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _axis(axis: Any) -> Axis:
    return "safety" if axis == "safety" else "utility"


def _grader(name: str) -> GraderName:
    known: tuple[GraderName, ...] = get_args(GraderName)
    return next(one for one in known if one == name)


def _content(row: Row, protocol: PromptProtocol) -> Content:
    item: Item = row[_ITEM]
    return Content(item.cluster, item.prompt, item.reference)


def own_rows(task: Task, split: str, protocol: PromptProtocol) -> Iterator[tuple[str, Row]]:
    """The items of a task in Python as rows of one column, each with its place.

    Raises:
        DataError: one is not as it must be, or ``items`` broke.
    """
    assert task.own is not None
    for number, item in enumerate(_items(task, split, protocol), start=1):
        place = f"{task.source}: item {number} of task {task.name!r}"
        problem = _item_fault(task, item)
        if problem is not None:
            raise DataError(f"{place}: {problem}")
        yield place, {_ITEM: item}


def own_key(row: Row) -> str:
    """The text of what makes an item of a task in Python another item."""
    item: Item = row[_ITEM]
    return item.id or item.prompt


def _items(task: Task, split: str, protocol: PromptProtocol) -> Iterator[Item]:
    own: Any = task.own
    try:
        yield from own.items(**_asked(own, split, protocol))
    except PbiasError:
        raise
    except Exception as error:
        said = f"items() of task {task.name!r} broke: {_raised(error)}"
        raise DataError(f"{task.source}: {said}") from error


def _item_fault(task: Task, item: Item) -> str | None:
    given: object = item  # which nothing has type-checked
    if not isinstance(given, Item):
        return f"{quoted(given)} is no Item"
    if not all(isinstance(text, str) for text in (item.id, item.cluster, item.prompt)):
        return "its id, cluster and prompt must be texts"
    if not without_controls(item.prompt).strip():
        return "its prompt is empty"
    for name in ("id", "cluster", "prompt"):
        if fault := character_fault(getattr(item, name)):
            return f"its {name} {fault}"
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
        if not all(map(_is_text, choices)):
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
    return (
        isinstance(value, str)
        and bool(without_controls(value).strip())
        and character_fault(value) is None
    )


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
            raise ConfigurationError(f"{where} broke: {_raised(error)}") from error
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
