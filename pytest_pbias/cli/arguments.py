"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pytest_pbias.outcomes.regrading import DataOptions
from pytest_pbias.reporting.schemas import SchemaName, schema_text


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
