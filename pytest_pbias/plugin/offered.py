"""What a session can choose from: tasks, judges and traits of the package, plug-ins and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError, PbiasError, near_matches
from pytest_pbias.grading.base import fault_line
from pytest_pbias.grading.judges import Judge, validate_judges
from pytest_pbias.grading.traits import Traits, choose_traits
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
    with _hook("pytest_pbias_tasks"):
        given = config.hook.pytest_pbias_tasks(config=config)
        return [as_task(one, "pytest_pbias_tasks") for tasks in given for one in tasks or ()]


def offered_judges(config: pytest.Config) -> tuple[Judge, ...]:
    """What the hook ``pytest_pbias_judges`` of plug-ins and ``conftest.py`` returns.

    Raises:
        ConfigurationError: a plug-in failed, or one of them is no judge.
    """
    with _hook("pytest_pbias_judges"):
        offered = config.hook.pytest_pbias_judges(config=config)
        return validate_judges(judge for judges in offered for judge in judges or ())


def session_traits(config: pytest.Config, wanted: Iterable[str]) -> Traits:
    """The traits of this package and of plug-ins; ``wanted`` are those with a margin.

    Raises:
        ConfigurationError: a plug-in failed, or a trait that is wanted is unknown or left out.
    """
    with _hook("pytest_pbias_traits"):
        offered = config.hook.pytest_pbias_traits(config=config)
        traits = choose_traits(one for several in offered for one in several or ())
    known = [trait.name for trait in traits.chosen]
    for name in wanted:
        if name in traits.skipped:
            raise ConfigurationError(f"{name}: {traits.skipped[name]}", setting="trait-margin")
        if name not in known:
            hint = near_matches(name, known)
            raise ConfigurationError(f"no trait is called {name!r}: {hint}", setting="trait-margin")
    return traits


@contextmanager
def _hook(name: str) -> Iterator[None]:
    """Whatever a hook of someone else raises is one line."""
    try:
        yield
    except PbiasError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the hook {name} broke: {fault_line(error)}") from error
