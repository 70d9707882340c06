"""How often a drift is shown: ``python -m benchmarks.calibration.drift``.

Draws histories of runs on the same items (an item is as hard in every run, a fifth of the answers
is drawn anew), without drift or with one identity that loses ``fall`` points a run, with or without
a bias that is there all along. Writes ``drift.csv``: how often a change is shown in the cell of
that identity, in any of the seven cells at the level that they share, and in PB; without drift,
nominal 0.05 each.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np

from pytest_pbias.stats import bias_drift, cell_drift

SEED = 20_261_128
RUNS, ITEMS = (3, 6, 10), (60, 250)
FALLS = (0.0, 2.0)  # points a run
IDENTITIES, RATE, NOISE, ALPHA = 8, 0.9, 0.2, 0.05  # the last identity is the reference
BIAS = np.array([-0.20, -0.10, -0.05, 0.0, 0.0, 0.02, 0.03, 0.0])


def draw(
    n_runs: int, n_items: int, fall: float, effects: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Scores of shape (runs, identities, items)."""
    rates = np.tile(RATE + effects, (n_runs, 1))
    rates[:, 0] -= fall / 100 * np.arange(n_runs)
    hardness = rng.random((1, IDENTITIES, n_items))
    drawn = rng.random((n_runs, IDENTITIES, n_items))
    anew = rng.random(drawn.shape) < NOISE
    return (np.where(anew, drawn, hardness) < rates[:, :, None]).astype(float)


def shown(runs: np.ndarray) -> tuple[bool, bool, bool]:
    """Whether the first cell, any cell at the shared level, and PB show a change."""
    reference = list(runs[:, -1])
    first = cell_drift(list(runs[:, 0]), reference, level=ALPHA)
    cells = [
        cell_drift(list(runs[:, number]), reference, level=ALPHA / (IDENTITIES - 1))
        for number in range(IDENTITIES - 1)
    ]
    bias = bias_drift([[run[:-1]] for run in runs], clusters=[None], weights=[1.0], level=ALPHA)
    return (
        first is not None and first.shown,
        any(cell is not None and cell.shown for cell in cells),
        bias.shown,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "drift.csv")
    options = parser.parse_args()
    settings = itertools.product(FALLS, RUNS, ITEMS, (False, True))
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["fall", "runs", "items", "bias", "cell", "any_cell", "pb", "replicates"])
        for number, (fall, n_runs, n_items, biased) in enumerate(settings):
            rng = np.random.default_rng([SEED, number])
            effects = BIAS if biased else np.zeros(IDENTITIES)
            # An error rate is to be known more exactly than a power.
            replicates = options.replicates // 5 if fall else options.replicates
            found = [shown(draw(n_runs, n_items, fall, effects, rng)) for _ in range(replicates)]
            rates = [f"{rate:.3f}" for rate in np.mean(found, axis=0)]
            writer.writerow([f"{fall:g}", n_runs, n_items, int(biased), *rates, replicates])
            stream.flush()


if __name__ == "__main__":
    main()
