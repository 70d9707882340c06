"""The judges that ``pbias regrade`` grades by: those named, or those of the run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace

import pytest

from pytest_pbias.cli.plugins import ask_pytest
from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.grading.judges import (
    BUILT_IN,
    DEFAULT_JUDGE,
    Judge,
    JudgeModel,
    Judging,
    identity_mask,
    make_judges,
    validate_judges,
)
from pytest_pbias.tasks import Task


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
        aliases=options.aliases,
        concurrency=max(1, options.judge_concurrency),
        max_tokens=options.judge_max_tokens,
        prices=options.prices,
        offline=options.offline,
    )
    kinds = {name.strip().partition(":")[0] for name in wanted.split(",")}
    judges = make_judges(wanted, model, _judges_of_plugins() if kinds - BUILT_IN else ())
    judging = Judging(judges, provider_refusals=options.provider_refusals, model=model)
    for task in tasks:
        judging.judges_of(task)
    if options.judge_mask == "off" or not any(one.masks_identity for one in judging.everyone):
        return judging
    words = tuple(hidden)
    return replace(judging, mask=identity_mask(words), hidden=words)


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
