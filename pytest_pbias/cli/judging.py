"""The judges that ``pbias regrade`` grades by: those named, or those of the run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError
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


def chosen_judging(
    options: argparse.Namespace, noted: Iterable[str], hidden: Iterable[str]
) -> Judging:
    """The judges that are named, else those ``noted`` in the run; ``hidden`` is masked for them.

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
    if options.judge_mask == "off" or not any(judge.masks_identity for judge in judges):
        return Judging(judges, provider_refusals=options.provider_refusals)
    words = tuple(hidden)
    return Judging(judges, identity_mask(words), words, options.provider_refusals)


def _judges_of_plugins() -> tuple[Judge, ...]:
    """What installed plug-ins and the ``conftest.py`` of this folder offer.

    pytest itself finds and loads them, and stops before it collects anything.

    Raises:
        ConfigurationError: one could not be loaded, or its judges are none.
    """
    found: list[Any] = []
    problems: list[str] = []

    class Offered:
        @pytest.hookimpl(tryfirst=True)
        def pytest_cmdline_main(self, config: pytest.Config) -> int:
            try:
                for judges in config.hook.pytest_pbias_judges(config=config):
                    found.extend(judges or ())
            except Exception as error:
                problems.append(" ".join(f"{type(error).__name__}: {error}".split())[:200])
            return 0

    status = pytest.main([], plugins=[Offered()])
    if problems or status != 0:
        reason = problems[0] if problems else "pytest could not load the plug-ins of this folder"
        raise ConfigurationError(f"the hook pytest_pbias_judges broke: {reason}")
    return validate_judges(found)
