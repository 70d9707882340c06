"""What installed plug-ins, the ``conftest.py`` of this folder, and its task files offer.

That are tasks, and judges for ``pbias regrade``: those named, or those of the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from pytest_pbias.errors import ConfigurationError, PbiasError, near_matches, quoted
from pytest_pbias.grading.judges import (
    BUILT_IN,
    DEFAULT_JUDGE,
    Judge,
    JudgeModel,
    Judging,
    make_judges,
    validate_judges,
)
from pytest_pbias.plugin.offered import session_tasks
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


def tasks_for(names: Iterable[str], folder: Path | None) -> Mapping[str, Task]:
    """The tasks that there are, those of this folder too where one of ``names`` is none of ours.

    Raises:
        ConfigurationError: one of this folder is not as it must be, or one of the run is not here.
    """
    wanted = tuple(names)
    if folder is None and set(wanted) <= set(TASKS):
        return TASKS
    known = tasks_here(folder)
    for name in wanted:
        if name not in known:
            raise ConfigurationError(
                f"there is no task {quoted(name)} here: say where its task file is "
                f"({near_matches(name, known)})",
                setting="tasks",
            )
    return known


def chosen_judging(
    options: argparse.Namespace,
    noted: Iterable[str],
    hidden: Iterable[str],
    tasks: Iterable[Task],
) -> Judging:
    """The judges that are named, else those ``noted`` in the run; ``hidden`` is masked for them.

    ``tasks`` are those of the run, of which some may have a rubric.

    Raises:
        ConfigurationError: a judge is unknown or lacks what it needs, or a plug-in failed.
    """
    wanted = options.judge or ",".join(noted) or DEFAULT_JUDGE
    model = JudgeModel(
        store_dir=options.store,
        model=options.judge_model,
        base_url=options.judge_base_url,
        key_env=options.judge_api_key_env,
        headers=options.judge_header,
        aliases=options.aliases,
        concurrency=max(1, options.judge_concurrency),
        max_tokens=options.judge_max_tokens,
        prices=options.prices,
        offline=options.offline,
    )
    kinds = {name.strip().partition(":")[0] for name in wanted.split(",")}
    judges = make_judges(wanted, model, _judges_of_plugins() if kinds - BUILT_IN else ())
    judging = Judging(judges, provider_refusals=options.provider_refusals, model=model)
    return judging.for_run(tasks, () if options.judge_mask == "off" else hidden)


def _judges_of_plugins() -> tuple[Judge, ...]:
    """What installed plug-ins and the ``conftest.py`` of this folder offer.

    Raises:
        ConfigurationError: one could not be loaded, or its judges are none.
    """

    def offered(config: pytest.Config) -> tuple[Judge, ...]:
        try:
            found = config.hook.pytest_pbias_judges(config=config)
            return validate_judges(judge for judges in found for judge in judges or ())
        except PbiasError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ConfigurationError(f"the hook pytest_pbias_judges broke: {said}") from None

    return ask_pytest(offered)
