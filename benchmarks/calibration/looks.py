"""Cells that stopped at a look: ``python -m benchmarks.calibration.looks``.

Draws cells of independent items with a true difference, asks them look by look as a run does (pass,
fail, futility at 5 %), and writes ``looks.csv``: how often the interval reported at the stop misses
the truth, that of a pass (nominal: at most 0.10 on both sides together, 0.05 on each) and that of a
fail (at most 0.05 / 231), how often the cell passes and fails, and the share of items it took.

What futility costs: ``futile`` of the cells are dropped, and the same answers asked to the end
would have decided ``undone`` of all cells nevertheless, ``undone_of_futile`` of those dropped.
``share_without`` is the share of items if none was dropped. Every figure has its Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration.__main__ import Row
from benchmarks.calibration.model import mc_error
from pytest_pbias.gate import CellVerdict, Verdict, decide_cell, is_settled
from pytest_pbias.stats import paired_difference
from pytest_pbias.stats.looks import cell_looks, is_futile

SEED = 20_261_128
MARGIN, ALPHA, CELLS = 5.0, 0.05, 231
ITEMS = (285, 939, 1319)
CHANGED = (0.05, 0.1, 0.2)  # share of answers that differ
DIFFERENCES = (0.0, -2.5, -5.0, -10.0)  # points
RATE = 0.8


def stop(cell: np.ndarray, baseline: np.ndarray) -> tuple[CellVerdict, CellVerdict]:
    """The verdict at the look at which asking stops, and that of asking on where it was futile."""
    n_items = len(cell)
    stopped: CellVerdict | None = None
    for look in cell_looks(n_items, margin=MARGIN, n_cells=CELLS, alpha=ALPHA):
        n = look.items
        verdict = decide_cell(
            cell[:n], baseline[:n], clusters=np.arange(n), margin=MARGIN, alpha=ALPHA,
            n_cells=CELLS, floor=0.0, look=look,
        )  # fmt: skip
        if is_settled(verdict):
            break
        plain = paired_difference(cell[:n], baseline[:n], confidence=1 - 2 * ALPHA)
        if stopped is None and is_futile(
            plain, of_items=n_items, margin=MARGIN, fail_level=ALPHA / CELLS,
            alpha=ALPHA,
        ):  # fmt: skip
            stopped = verdict
    return stopped or verdict, verdict


def draw(
    n_items: int, difference: float, changed: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A cell and its baseline: ``changed`` of the answers differ, by ``difference`` points net."""
    gains = (changed + difference / 100) / 2
    baseline = rng.random(n_items) < RATE
    turn = rng.random(n_items)
    # Of right answers that become wrong and the other way round, at the rates that make these sums.
    lost = baseline & (turn < (changed - gains) / RATE)
    won = ~baseline & (turn < gains / (1 - RATE))
    return (np.where(lost, 0.0, np.where(won, 1.0, baseline)), baseline.astype(float))


def _figure(name: str, values: Sequence[float]) -> Row:
    """The mean of independent values and its error; empty where there are none."""
    if not values:
        return {name: "", f"{name}_error": ""}
    mean, n = float(np.mean(values)), len(values)
    spread = float(np.std(values)) / n**0.5
    return {name: mean, f"{name}_error": spread or mc_error(mean, n)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "looks.csv")
    options = parser.parse_args()
    rows = []
    for number, (n_items, changed, difference) in enumerate(
        itertools.product(ITEMS, CHANGED, DIFFERENCES)
    ):
        if changed < abs(difference) / 100:
            continue
        rng = np.random.default_rng([SEED, number])
        both = [stop(*draw(n_items, difference, changed, rng)) for _ in range(options.replicates)]
        found = [one for one, _ in both]
        futile = [one.difference.n_items < end.difference.n_items for one, end in both]
        undone = [
            is_settled(end) for (_, end), dropped in zip(both, futile, strict=True) if dropped
        ]
        passing = [(one.passing.low, one.passing.high) for one in found]
        failing = [(one.difference.low, one.difference.high) for one in found]
        row: Row = {"items": n_items, "changed": changed, "difference": difference}
        row["replicates"] = options.replicates
        figures: dict[str, Sequence[float]] = {
            "below_pass_interval": [difference < low for low, _ in passing],
            "above_pass_interval": [difference > high for _, high in passing],
            "outside_fail_interval": [not low <= difference <= high for low, high in failing],
            "passes": [one.verdict is Verdict.PASS for one in found],
            "fails": [one.verdict is Verdict.FAIL for one in found],
            "share_of_items": [one.difference.n_items / n_items for one in found],
            "mean_estimate": [one.difference.estimate for one in found],
            "futile": futile,
            "undone": [False] * (len(both) - len(undone)) + undone,
            "undone_of_futile": undone,
            "share_without": [end.difference.n_items / n_items for _, end in both],
        }
        for name, values in figures.items():
            row |= _figure(name, values)
        rows.append(row)
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({
                name: f"{value:.4g}" if isinstance(value, float) else value
                for name, value in row.items()
            })  # fmt: skip


if __name__ == "__main__":
    main()
