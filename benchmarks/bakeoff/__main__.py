"""Our gate and EVALSIG 0.1.2's on identical tables: ``python -m benchmarks.bakeoff``.

Draws tables of cells that share a baseline, under four settings: no effect, every cell just within
the margin (-4.9), one identity at -10, every cell just beyond the margin (-5.1). Both tools decide
each cell; ``bakeoff.csv`` has how often a table gave any alarm, a cell an alarm, and a cell a pass.
EVALSIG is installed in an environment of its own under ``--environment``, with its telemetry off.

Its gate has no verdict of equivalence: *silent* (not better either way, and powered) stands beside
our *pass*. Levels differ by design: ours holds for all cells at once, its for each.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.gate import decide_cell

PACKAGE = "evalsig==0.1.2"
SEED = 20_261_128
MARGIN, RATE, CHANGED = 5.0, 0.8, 0.1
PLANNED = 231  # cells that share our level: those of the default suite
SETTINGS: dict[str, tuple[float, float]] = {  # of the first cell and of all others
    "no effect": (0.0, 0.0),
    "all at -4.9": (-4.9, -4.9),
    "one at -10": (-10.0, 0.0),
    "all at -5.1": (-5.1, -5.1),
}
RESULTS = Path(__file__).with_name("results") / "bakeoff.csv"
Array = npt.NDArray[np.float64]


def draw(
    n_items: int, n_cells: int, differences: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Cells (cells, items) and their baseline (items,) of binary answers.

    A share ``CHANGED`` of a cell's answers differs from the baseline's, by its difference in
    points net.
    """
    baseline = rng.random(n_items) < RATE
    cells = np.empty((n_cells, n_items))
    for number in range(n_cells):
        gains = (CHANGED + differences[number > 0] / 100) / 2
        turn = rng.random(n_items)
        lost = baseline & (turn < (CHANGED - gains) / RATE)
        won = ~baseline & (turn < gains / (1 - RATE))
        cells[number] = np.where(lost, 0.0, np.where(won, 1.0, baseline))
    return cells, baseline.astype(float)


def ours(cells: Array, baseline: Array, clusters: npt.NDArray[Any]) -> list[str]:
    """The verdicts of our gate on the cells of a table."""
    return [
        decide_cell(
            cell, baseline, clusters=clusters, margin=MARGIN, alpha=0.05, n_cells=PLANNED, floor=0.0
        ).verdict.value
        for cell in cells
    ]


def environment(folder: Path) -> Path:
    """A Python that has EVALSIG and nothing else, made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return python


def theirs(python: Path, cells: Array, baselines: Array, clusters: npt.NDArray[Any]) -> Any:
    """EVALSIG's decisions on the same arrays: settings, tables, cells."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "tables.npz"), Path(folder, "decided.json")
        np.savez(given, cells=cells, baselines=baselines, clusters=clusters)
        side = Path(__file__).with_name("evalsig_side.py")
        quiet = os.environ | {"EVALSIG_TELEMETRY": "0", "HOME": folder}
        quiet.pop("PYTHONPATH", None)
        subprocess.run([python, str(side), str(given), str(out)], check=True, env=quiet)
        return json.loads(out.read_text())


def rows(
    tool: str, decided: Any, words: tuple[str, str], seconds: float, items: int, kind: str
) -> Iterator[dict[str, Any]]:
    """One row a setting: shares of tables with any alarm, of cells with an alarm and a pass."""
    alarm, passes = words
    for setting, tables in zip(SETTINGS, decided, strict=True):
        cells = [word for table in tables for word in table]
        yield {
            "tool": tool,
            "setting": setting,
            "items": items,
            "clusters": kind,
            "tables": len(tables),
            "cells": len(cells),
            "any_alarm": round(sum(alarm in table for table in tables) / len(tables), 3),
            "first_cell_alarm": round(sum(t[0] == alarm for t in tables) / len(tables), 3),
            "cell_alarm": round(cells.count(alarm) / len(cells), 4),
            "cell_pass": round(cells.count(passes) / len(cells), 4),
            "milliseconds_a_cell": round(1000 * seconds / (len(SETTINGS) * len(cells)), 2),
        }


def main() -> None:
    """Draw, decide, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--cells", type=int, default=33)
    parser.add_argument("--items", type=int, nargs="+", default=[346, 939])
    parser.add_argument("--clustered", action="store_true", help="27 clusters (slow: a bootstrap)")
    parser.add_argument("--environment", type=Path, default=Path(".bakeoff"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    python = environment(options.environment.absolute())
    found: list[dict[str, Any]] = []
    for items in options.items:
        rng = np.random.default_rng([SEED, items])
        clusters = np.arange(items) % 27 if options.clustered else np.arange(items)
        kind = "27" if options.clustered else "none"
        drawn = [
            [draw(items, options.cells, differences, rng) for _ in range(options.tables)]
            for differences in SETTINGS.values()
        ]
        cells, baselines = (np.array([[t[n] for t in s] for s in drawn]) for n in (0, 1))
        start = time.perf_counter()
        verdicts = [[ours(*table, clusters) for table in tables] for tables in drawn]
        middle = time.perf_counter()
        decided = theirs(python, cells, baselines, clusters)
        end = time.perf_counter()
        found += rows("pbias", verdicts, ("fail", "pass"), middle - start, items, kind)
        found += rows(PACKAGE, decided, ("alarm", "silent"), end - middle, items, kind)
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, found[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    sys.stdout.write(options.out.read_text())


if __name__ == "__main__":
    main()
