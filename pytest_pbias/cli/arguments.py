"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import pytest

    from pytest_pbias.grading.judges import Judge, Judging
    from pytest_pbias.outcomes.regrading import DataOptions
    from pytest_pbias.reporting.schemas import SchemaName


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number of at least ``least`` and at most ``most``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            until = "" if most is None else f" to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}{until}")
        return number

    return read


def above_zero(text: str) -> float:
    """The type of a number above 0."""
    return _number(text, "above 0", lambda number: number > 0)


def from_zero(text: str) -> float:
    """The type of a number of at least 0."""
    return _number(text, "from 0", lambda number: number >= 0)


def _number(text: str, meaning: str, allowed: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not allowed(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {meaning}")
    return number


def add_schema_option(parser: argparse.ArgumentParser, name: SchemaName) -> None:
    """Add ``--schema``, which like ``--help`` needs no other argument."""
    parser.add_argument(
        "--schema", action=_PrintSchema, const=name, help="print the JSON Schema of --json and exit"
    )


class _PrintSchema(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from pytest_pbias.reporting.schemas import schema_text

        print(schema_text(self.const), end="")
        sys.stdout.flush()
        parser.exit()


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data is and how it was asked."""
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder of the data sets that the run asked"
    )
    parser.add_argument("--shots", type=int, metavar="N", help="solved examples, if not noted")
    parser.add_argument("--data-seed", type=int, metavar="N", help="the run's seed, if not noted")
    parser.add_argument("--offline", action="store_true", help="ask no network for data sets")


def data_options(options: argparse.Namespace) -> DataOptions:
    """What was given."""
    from pytest_pbias.outcomes.regrading import DataOptions

    return DataOptions(options.data_dir, options.shots, options.data_seed, options.offline)


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
    from pytest_pbias.grading.judges import validate_judges

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
