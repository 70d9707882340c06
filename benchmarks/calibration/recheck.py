"""Draw the settings that missed a target again, ten times as often.

``python -m benchmarks.calibration.recheck [--replicates N]`` reads ``bias.csv`` and writes
``recheck.csv``. Of 274 settings at 1,000 replicates some miss a target by chance alone; a fresh
stream of random numbers with a third of the error tells those from the others.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.calibration.__main__ import Row, bias_row, write
from benchmarks.calibration.model import Setting
from pytest_pbias.stats.bias import FEWEST_CLUSTERS

RESULTS = Path(__file__).parent / "results"


def setting_of(row: Mapping[str, str]) -> Setting:
    """The setting a row of ``bias.csv`` reports."""
    return Setting(
        int(row["identities"]), int(row["items"]), float(row["bias"]), row["difficulty"],
        float(row["heterogeneity"]), int(row["cluster_size"]), int(row["repeats"]),
        float(row["missing"]),
    )  # fmt: skip


def missed(row: Mapping[str, str]) -> list[str]:
    """The targets of the calibration that a row misses, coverage above 0.97 apart."""
    bias, items = float(row["bias"]), int(row["items"])
    if items < FEWEST_CLUSTERS * int(row["cluster_size"]):
        return []
    figure = {name: float(value) for name, value in row.items() if value and name != "difficulty"}
    rejects = figure.get("permutation_rejects", 0.0) if bias == 0.0 else 0.0
    checks = {
        "one-sided coverage": figure["upper_coverage"] < 0.94,
        "two-sided coverage": bias >= 1 and items >= 100 and figure["coverage"] < 0.94,
        "permutation test": rejects > 0.06,
        "axis fails": bias < 3 and figure.get("axis_fail", 0.0) > 0.05,
        "axis passes": bias > 3 and figure["axis_pass"] > 0.05,
    }
    return [name for name, is_missed in checks.items() if is_missed]


def main() -> None:
    """Draw again what missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    with (RESULTS / "bias.csv").open() as stream:
        found = [(missed(row), row) for row in csv.DictReader(stream)]
    again = [(why, row) for why, row in found if why]
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        simulate = partial(bias_row, replicates=options.replicates, stream=1)
        fresh = pool.map(simulate, [setting_of(row) for _, row in again])
        for (why, _), row in zip(again, fresh, strict=True):
            rows.append({"missed": "; ".join(why), **row})
            write(RESULTS / "recheck.csv", rows)


if __name__ == "__main__":
    main()
