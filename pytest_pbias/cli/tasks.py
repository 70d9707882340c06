"""List the tasks that there are, or check a task file without asking anything."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from pytest_pbias.cli.arguments import add_option
from pytest_pbias.cli.plugins import tasks_here
from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.grading import cannot_grade
from pytest_pbias.reporting.text import plain
from pytest_pbias.tasks import TASKS, Task, load_task
from pytest_pbias.tasks.own import known_tasks
from pytest_pbias.tasks.task_file import read_task

_SHOWN = 6_000  # characters of a prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_option(parser, "tasks")
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", parser_class=argparse.ArgumentParser
    )
    check = actions.add_parser("check", help="read a task file and its rows; show the first prompt")
    check.add_argument("file", type=Path, metavar="FILE", help="task_NAME.pbias.toml")
    add_option(check, "offline")


def run(options: argparse.Namespace) -> int:
    """Print the list; or what a run would ask of the file, in the file's order.

    Raises:
        PbiasError: a task is not as it must be; the line names its file and the place.
    """
    if options.action == "check":
        _check(options.file, offline=options.offline)
        return 0
    print(f"{'task':<18} {'rows':>6}  {'axis':<8} {'grader':<11} source")
    for task in tasks_here(options.tasks).values():
        print("\n".join(_lines(task)))
    return 0


def _lines(task: Task) -> Iterator[str]:
    """A task as the list has it, at most 80 columns unless its source is longer."""
    rows, problem = _rows(task)
    head = f"{plain(task.name, 18):<18} {rows:>6}  {task.axis:<8} {task.grader:<11} "
    yield head + plain(task.source or _published(task))
    if problem:
        yield plain(f"{'':<18} {problem}")


def _rows(task: Task) -> tuple[str, str]:
    """How many rows it has, as far as is known without a network, and why it is not known."""
    if not task.source:
        count = task.splits[task.usual_split].rows
        return "" if count is None else f"{count:,}", ""
    if task.hub is not None:
        return "?", ""
    try:
        return f"{len(load_task(task).items):,}", ""
    except DataError as error:
        return "!", str(error)


def _published(task: Task) -> str:
    local = "" if task.local is None else task.local.pattern.replace("{split}", "SPLIT")
    return local if task.hub is None else f"{task.hub.path}@{task.hub.revision[:8]}"


def _check(path: Path, *, offline: bool) -> None:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    task = read_task(path)
    known_tasks(TASKS, [task])
    data = load_task(task, offline=offline, in_file_order=True)
    clusters = {item.cluster for item in data.items}
    print(f"{task.name}: {len(data.items):,} items in {len(clusters):,} clusters, {task.axis}")
    print(f"grader {task.grader}, floor {100 * task.floor:.4g} %, licence {plain(task.licence)}")
    if reason := cannot_grade(task):
        print(f"cannot be graded on this machine: {plain(reason)}")
    item = data.items[0]
    text = item.prompt if len(item.prompt) <= _SHOWN else item.prompt[:_SHOWN] + " [...]"
    print(f"\nthe first prompt ({item.id}):\n")
    for line in text.split("\n"):
        print(f"  {plain(line)}".rstrip())
    if item.reference:
        print("\nwhat its grader reads:\n")
        for key, value in item.reference.items():
            print(f"  {key}: {plain(str(value), 400)}")
