"""What installed plug-ins, the ``conftest.py`` of this folder, and its task files offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.plugin.tasks import session_tasks
from pytest_pbias.tasks import TASKS, Task

T = TypeVar("T")


def ask_pytest(question: Callable[[pytest.Config], T], arguments: Sequence[str] = ()) -> T:
    """The answer to a question about pytest's configuration.

    pytest itself finds and loads plug-ins, and stops before it collects anything.

    Raises:
        PbiasError: the question was answered so, or pytest could not load the plug-ins.
    """
    found: list[T] = []
    problems: list[PbiasError] = []

    class Asked:
        @pytest.hookimpl(tryfirst=True)
        def pytest_cmdline_main(self, config: pytest.Config) -> int:
            try:
                found.append(question(config))
            except PbiasError as error:
                problems.append(error)
            return 0

    pytest.main(list(arguments), plugins=[Asked()])
    if problems:
        raise problems[0]
    if not found:
        raise ConfigurationError("pytest could not load the plug-ins of this folder")
    return found[0]


def tasks_here(folder: Path | None) -> Mapping[str, Task]:
    """Every task that a test in this folder can name; ``folder`` has more task files.

    Raises:
        ConfigurationError: one is not as it must be, or two have one name.
    """
    arguments = [] if folder is None else [f"--pbias-tasks={folder}"]
    return ask_pytest(session_tasks, arguments)


def tasks_of_run(names: Sequence[str], folder: Path | None) -> Mapping[str, Task]:
    """The tasks that there are, those of this folder too where a run asked some.

    Raises:
        ConfigurationError: one of this folder is not as it must be.
    """
    return TASKS if folder is None and set(names) <= set(TASKS) else tasks_here(folder)
