"""The tasks of a session: the package's, those of plug-ins, and those of task files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.grading.base import fault_line
from pytest_pbias.plugin.options import read_option
from pytest_pbias.tasks import TASKS, Task
from pytest_pbias.tasks.own import as_task, find_task_files, installed_tasks, known_tasks
from pytest_pbias.tasks.task_file import read_task

_TASKS = pytest.StashKey[Mapping[str, Task]]()


def session_tasks(config: pytest.Config) -> Mapping[str, Task]:
    """Every task that a test can name, by name; the same in each process of a session.

    Raises:
        ConfigurationError: one is not as it must be, or two have one name.
    """
    if _TASKS not in config.stash:
        files = [read_task(path, shown_path(config, path)) for path in _files(config)]
        config.stash[_TASKS] = known_tasks(TASKS, (*installed_tasks(), *_offered(config), *files))
    return config.stash[_TASKS]


def shown_path(config: pytest.Config, path: Path) -> str:
    """A file as errors name it: from where pytest was called, if it is below."""
    invoked = config.invocation_params.dir
    return str(path.relative_to(invoked) if path.is_relative_to(invoked) else path)


def _files(config: pytest.Config) -> list[Path]:
    """The task files beside the tests that this run collects, and in the folder of the option."""
    folder: Path | None = read_option(config, "tasks")
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}", setting="tasks")
    start = config.invocation_params.dir
    named = [os.path.realpath(start / argument.partition("::")[0]) for argument in config.args]
    # A folder that may not be looked into has no tests either.
    places = [Path(place) for place in named if os.path.exists(place)]
    skipped: list[str] = config.getini("norecursedirs")
    found = find_task_files(places, config.rootpath.resolve(), skipped)
    if folder is not None:
        found += [one for one in find_task_files([folder], folder, ()) if one not in found]
    return found


def _offered(config: pytest.Config) -> list[Task]:
    """What the hook ``pytest_pbias_tasks`` of plug-ins and ``conftest.py`` returns."""
    try:
        given = config.hook.pytest_pbias_tasks(config=config)
        return [as_task(one, "pytest_pbias_tasks") for tasks in given for one in tasks or ()]
    except PbiasError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the hook pytest_pbias_tasks broke: {fault_line(error)}"
        ) from error
