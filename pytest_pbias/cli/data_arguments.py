"""Arguments of commands that need the questions of a stored run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_pbias.run_data import DataOptions


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
    from pytest_pbias.run_data import DataOptions

    return DataOptions(options.data_dir, options.shots, options.data_seed, options.offline)
