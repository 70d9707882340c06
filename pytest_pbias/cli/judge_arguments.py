"""Arguments of commands that judge answers, and the judges that they name."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from pytest_pbias.grading.judges import Judge, Judging


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which judges, and whom they ask."""
    parser.add_argument(
        "--judge", metavar="NAMES", help="judges, the gating one first (default: those of the run)"
    )
    parser.add_argument("--judge-model", metavar="NAME", help="model that the llm judge asks")
    parser.add_argument("--judge-base-url", metavar="URL", help="endpoint of the llm judge")
    parser.add_argument("--judge-api-key-env", metavar="NAME", help="variable with its API key")
    parser.add_argument("--judge-concurrency", type=int, default=32, metavar="N")
    parser.add_argument(
        "--judge-mask", choices=("on", "off"), default="on", help="hide who asked from the judges"
    )
    parser.add_argument("--aliases", type=Path, metavar="FILE", help="model aliases of your own")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="prices of models of your own")


def chosen_judging(
    options: argparse.Namespace, noted: Iterable[str], hidden: Iterable[str]
) -> Judging:
    """The judges that are named, else those ``noted`` in the run; ``hidden`` is masked for them.

    Raises:
        ConfigurationError: a judge is unknown or lacks what it needs, or a plug-in failed.
    """
    from pytest_pbias.grading.judges import (
        BUILT_IN,
        DEFAULT_JUDGE,
        JudgeModel,
        Judging,
        identity_mask,
        make_judges,
    )

    wanted = options.judge or ",".join(noted) or DEFAULT_JUDGE
    model = JudgeModel(
        store_dir=options.store,
        model=options.judge_model,
        base_url=options.judge_base_url,
        key_env=options.judge_api_key_env,
        aliases=options.aliases,
        concurrency=max(1, options.judge_concurrency),
        prices=options.prices,
        offline=options.offline,
    )
    kinds = {name.strip().partition(":")[0] for name in wanted.split(",")}
    judges = make_judges(wanted, model, _judges_of_plugins() if kinds - BUILT_IN else ())
    if options.judge_mask == "off" or not any(judge.masks_identity for judge in judges):
        return Judging(judges)
    words = tuple(hidden)
    return Judging(judges, identity_mask(words), words)


def _judges_of_plugins() -> tuple[Judge, ...]:
    """What installed plug-ins and the ``conftest.py`` of this folder offer.

    pytest itself finds and loads them, and stops before it collects anything.

    Raises:
        ConfigurationError: one could not be loaded, or its judges are none.
    """
    import pytest

    from pytest_pbias.errors import ConfigurationError
    from pytest_pbias.grading.judges import adopt_judges

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
    return adopt_judges(found)
