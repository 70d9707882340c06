"""Simulate the grid: ``python -m benchmarks.calibration [--replicates N] [--out FOLDER]``.

Writes ``bias.csv`` (estimator, coverage, tests), ``cells.csv`` (gate verdicts of cells) and
``coverage.svg``. Every setting has its own seed, so any row can be redone alone.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from statsmodels.stats.contingency_tables import cochrans_q

from benchmarks.calibration.model import DIFFICULTIES, Setting, table, truth
from pytest_pbias.gate import Verdict, decide_cell
from pytest_pbias.stats import omnibus_permutation, personalization_bias
from pytest_pbias.stats.bias import FEWEST_CLUSTERS

SEED = 20_261_121
SHAPES: Sequence[Mapping[str, float | str]] = (
    {},
    {"heterogeneity": 0.15},
    {"difficulty": "easy", "heterogeneity": 0.15},
    {"cluster_size": 5},
    {"cluster_size": 25},
    {"repeats": 3, "missing": 0.02, "heterogeneity": 0.15},
)
TOLERANCE = 3.0
LARGE = 20_000  # scores of a table on which the permutation test draws rotations
Row = dict[str, float | str]


def grid(
    identities: Sequence[int], items: Sequence[int], biases: Sequence[float], *, full: bool
) -> Iterator[Setting]:
    """Settings, the cheapest first; without ``full``, those of the committed summary.

    The summary leaves out the biases beside the tolerance under 300 items, where no gate settles
    them, all shapes but the first two at 12 identities, and half of the shapes at 1,000 items.
    """
    for n, k, (number, shape), bias in itertools.product(
        items, identities, enumerate(SHAPES), biases
    ):
        near = abs(bias - TOLERANCE) < 0.5 and n < 300
        if full or not (
            near or (k == 12 and number > 1) or (n == 1000 and number not in (0, 1, 3))
        ):
            yield Setting(k, n, bias, **shape)  # type: ignore[arg-type]  # a plain mapping of fields


def setting_seed(setting: Setting, stream: int = 0) -> list[int]:
    """Seed of a setting, from its figures: how they were written does not matter."""
    figures = (setting.bias, setting.heterogeneity, setting.missing)
    return [
        SEED + stream, setting.identities, setting.items, setting.cluster_size, setting.repeats,
        DIFFICULTIES.index(setting.difficulty), *(round(1000 * float(x)) for x in figures),
    ]  # fmt: skip


def bias_row(setting: Setting, replicates: int, stream: int = 0) -> Row:
    """Estimator, intervals, tests and axis gate of one setting; ``stream`` draws anew."""
    rng = np.random.default_rng(setting_seed(setting, stream))
    true = truth(setting, rng)[0]
    found = np.empty((replicates, 5))
    tests = np.full((replicates, 2), np.nan)
    for number in range(replicates):
        scores, clusters = table(setting, rng)
        result = personalization_bias(scores, clusters=clusters)
        low90 = np.nan
        if 2.0 <= setting.bias <= 5.0:
            low90 = personalization_bias(scores, clusters=clusters, confidence=0.9).low
        squared = result.estimate**2 if result.estimate else _square(scores, clusters)
        found[number] = squared, result.low, result.high, result.upper, low90
        # Its power is in power.csv, its level on large tables in rotations.csv.
        if setting.bias == 0.0 and setting.identities * setting.items <= LARGE:
            tests[number, 0] = omnibus_permutation(
                scores, rng=rng, n_permutations=99, clusters=clusters
            ).pvalue
        if scores.shape[2] == 1 and not np.isnan(scores).any():
            tests[number, 1] = cochrans_q(scores[:, :, 0].T.astype(int)).pvalue
    square, low, high, upper, gate_low = found.T
    covered = (low <= true) & (true <= high)
    row: Row = {**asdict(setting), "true_pb": round(true, 3), "replicates": replicates}
    row |= {
        "bias_of_squared": round(float(square.mean() - true**2), 3),
        "bias_mc_error": round(float(square.std() / replicates**0.5), 3),
        "coverage": covered.mean(),
        "coverage_mc_error": round(float((covered.std() or 0.005) / replicates**0.5), 4),
        "upper_coverage": (true <= upper).mean(),
        "false_low": (low > true).mean(),
        "axis_fail": "" if np.isnan(gate_low).any() else (gate_low > TOLERANCE).mean(),
        "axis_pass": (upper < TOLERANCE).mean(),
        "permutation_rejects": _share(tests[:, 0]),
        "cochran_rejects": _share(tests[:, 1]),
    }
    return row


def _share(pvalues: np.ndarray) -> float | str:
    return "" if np.isnan(pvalues).all() else float((pvalues <= 0.05).mean())


def _square(scores: np.ndarray, clusters: np.ndarray) -> float:
    from pytest_pbias.stats import contributions

    return float(contributions(scores, clusters=clusters).sum())


def cell_row(
    items: int, base: float, effect: float, flips: float, cluster_size: int, repeats: int,
    replicates: int, cells: int = 12, margin: float = 5.0,
) -> Row:  # fmt: skip
    """Verdicts of ``cells`` cells that all differ from baseline by ``effect`` points.

    Items flip between right and wrong: ``flips`` is the share of items that are open, the rest
    are answered alike under every identity.
    """
    rng = np.random.default_rng([SEED, items, int(1000 * base), int(100 * effect) + 10_000,
                                 int(1000 * flips), cluster_size, repeats])  # fmt: skip
    names = np.arange(items) // cluster_size
    wrong = passed = any_wrong = failed = inconclusive = 0
    for _ in range(replicates):
        groups = int(names[-1]) + 1
        open_ = (rng.random(groups) < flips)[names] if cluster_size > 1 else (
            rng.random(items) < flips
        )  # fmt: skip
        closed = rng.random(items) < base
        chance = np.where(open_, 0.5, closed)
        moved = np.where(open_, np.clip(0.5 + effect / 100 / flips, 0, 1), closed)
        reference = (rng.random((items, repeats)) < chance[:, None]).astype(float)
        judged = [
            decide_cell(
                (rng.random((items, repeats)) < moved[:, None]).astype(float), reference,
                clusters=names.astype(str), margin=margin, alpha=0.05, n_cells=cells, floor=0.0,
            ).verdict
            for _ in range(cells)
        ]  # fmt: skip
        mistake = Verdict.PASS if abs(effect) >= margin else Verdict.FAIL
        wrong += judged.count(mistake)
        any_wrong += mistake in judged
        passed += judged.count(Verdict.PASS)
        failed += judged.count(Verdict.FAIL)
        inconclusive += judged.count(Verdict.INCONCLUSIVE)
    total = replicates * cells
    share = any_wrong / replicates
    return {
        "items": items, "base": base, "effect": effect, "flips": flips,
        "cluster_size": cluster_size, "repeats": repeats, "cells": cells, "margin": margin,
        "replicates": replicates, "pass": passed / total, "fail": failed / total,
        "inconclusive": inconclusive / total, "wrong_cells": wrong / total,
        "family_wise_wrong": share,
        "mc_error": round((max(share * (1 - share), 2.5e-5) / replicates) ** 0.5, 4),
    }  # fmt: skip


_REGIMES = ((0.7, 0.3), (0.97, 0.12))
CELLS: Sequence[tuple[int, float, float, float, int, int]] = (
    *((400, base, effect, flips, 1, 1) for base, flips in _REGIMES for effect in (-4.9, -5.1)),
    *(
        (400, 0.7, effect, 0.3, *more)
        for more in ((5, 1), (1, 3), (34, 1), (67, 1))
        for effect in (-4.9, -5.1)
    ),
    *((100, 0.7, effect, 0.3, *more) for more in ((5, 1), (10, 1)) for effect in (-4.9, -5.1)),
    *((40, base, effect, flips, 1, 1) for base, flips in _REGIMES for effect in (-4.9, -5.1)),
    *((100, base, effect, flips, 1, 1) for base, flips in _REGIMES for effect in (-4.9, -5.1)),
    *((400, base, effect, flips, 1, 1) for base, flips in _REGIMES for effect in (0.0, -10.0)),
)


def write(path: Path, rows: Sequence[Row]) -> None:
    """One CSV file."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Coverage of every setting against the targets; too few clusters have no interval to show."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "pbias"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5))
    axes.axhspan(0.93, 0.97, color="0.9", label="target")
    for items in sorted({int(row["items"]) for row in rows}):
        chosen = [
            row for row in rows if int(row["items"]) == items and float(row["bias"]) > 0
            and items >= FEWEST_CLUSTERS * int(row["cluster_size"])
        ]  # fmt: skip
        axes.errorbar(
            [float(row["true_pb"]) * (1 + 0.0005 * items) for row in chosen],
            [float(row["coverage"]) for row in chosen],
            yerr=[2 * float(row["coverage_mc_error"]) for row in chosen],
            fmt="o", markersize=3, linewidth=0.8, label=f"{items} items",
        )  # fmt: skip
    axes.set(xlabel="true PB, percentage points", ylabel="coverage of the 95 % interval")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--identities", type=int, nargs="+", default=[5, 12, 31])
    parser.add_argument("--items", type=int, nargs="+", default=[30, 100, 300, 1000])
    parser.add_argument("--bias", type=float, nargs="+", default=[0, 1, 2, 2.9, 3.1, 5, 8])
    parser.add_argument("--cells", action="store_true", help="the cells only")
    parser.add_argument("--full", action="store_true", help="every combination of the grid")
    parser.add_argument("--jobs", type=int, default=1, help="processes; the figures do not change")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True, parents=True)
    settings = list(grid(options.identities, options.items, options.bias, full=options.full))
    with ProcessPoolExecutor(options.jobs) as pool:
        judge = partial(_cells, replicates=options.replicates)
        write(options.out / "cells.csv", list(pool.map(judge, CELLS)))
        if options.cells:
            return
        simulate = partial(bias_row, replicates=options.replicates)
        rows: list[Row] = []
        for row in pool.map(simulate, settings):
            rows.append(row)
            write(options.out / "bias.csv", rows)
        plot(options.out / "coverage.svg", rows)


def _cells(case: tuple[int, float, float, float, int, int], replicates: int) -> Row:
    return cell_row(*case, replicates=replicates)


if __name__ == "__main__":
    main()
