"""Any false fail among 231 cells: ``python -m benchmarks.calibration.family``.

Draws the default suite (seven tasks in their sizes and clusters, 31 identities, two controls, the
baseline) with every identity on its margin, so that each fail of an identity is false, and lets the
product's own rule decide all of its cells: with everything asked, and at all looks. Writes
``family.csv``: how often any of them fails, nominally in at most 0.05 of suites, with its
Monte-Carlo error. The cells of a task share what they are compared with, the mean of the controls
or the baseline.

``changed`` of the answers differ from the reference's; at 0.05 all of them for the worse, which is
the setting that the binomial guard is for; ``interaction`` is a part of an identity's effect that
is a cluster's own (standard deviation in points). ``guarded`` counts the suites in which an
interval lay beyond the margin, and the guard alone kept the cell from failing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.calibration.__main__ import Row, write
from benchmarks.calibration.model import Array, mc_error
from benchmarks.calibration.recheck import RESULTS
from benchmarks.calibration.suite import DEFAULT, Codes
from pytest_pbias.gate import Verdict, decide_cell
from pytest_pbias.stats.distributions import binomial_sf, normal_isf
from pytest_pbias.stats.looks import Look, cell_looks

SEED = 20_261_130
MARGIN, ALPHA, CELLS, PEOPLE, RATE = 5.0, 0.05, 231, 31, 0.8
SETTINGS = [
    ("control", 0.05, 0.0), ("control", 0.1, 0.0), ("control", 0.1, 5.0),
    ("baseline", 0.05, 0.0), ("baseline", 0.1, 0.0), ("baseline", 0.1, 5.0),
]  # fmt: skip


def draw(
    sizes: tuple[int, ...], reference: str, changed: float, own: float, rng: np.random.Generator
) -> tuple[Array, Array, Codes]:
    """Identities' scores (people, items), what they are compared with, and the clusters."""
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n_items = codes.size
    right = rng.random(n_items) < RATE
    gains = (changed - MARGIN / 100) / 2
    # Of right answers that become wrong and the other way round, at the rates that make these sums.
    extra = own / 100 * rng.standard_normal((PEOPLE, len(sizes)))[:, codes]
    turn = rng.random((PEOPLE, n_items))
    lost = right & (turn < (changed - gains + extra) / RATE)
    won = ~right & (turn < gains / (1 - RATE))
    scores = np.where(lost, 0.0, np.where(won, 1.0, right))
    against = right.astype(float)
    if reference == "control":  # two that change a few answers of their own, to either side
        flips = rng.random((2, n_items)) < np.where(right, gains / RATE, gains / (1 - RATE))
        against = (right ^ flips).mean(axis=0)
    return scores, against, codes


def beyond(cell: Array, against: Array, codes: Codes, look: Look) -> tuple[bool, bool]:
    """Whether a cell fails at a look, and whether its interval alone would say so.

    An interval of independent items that is not beyond the margin is not beyond it for any
    clusters, so that most cells need no more than a glance.
    """
    n = look.items
    difference = float((cell[:n] - against[:n]).mean())
    share = MARGIN / 100
    far = share + 0.5 * normal_isf(look.fail_level / 2) * (share * (1 - share) / n) ** 0.5
    guarded = binomial_sf(abs(difference) * n, n, share) <= look.fail_level / 2
    if abs(difference) <= far and not guarded:
        return False, False
    verdict = decide_cell(
        cell[:n], against[:n], clusters=codes[:n], margin=MARGIN, alpha=ALPHA, n_cells=CELLS,
        floor=0.0, look=look,
    )  # fmt: skip
    out = verdict.difference.high <= -MARGIN or verdict.difference.low >= MARGIN
    return verdict.verdict is Verdict.FAIL, out


def main() -> None:
    """Draw every setting; the file grows row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS / "family.csv")
    options = parser.parse_args()
    rows: list[Row] = []
    for number, (reference, changed, interaction) in enumerate(SETTINGS):
        start = time.process_time()
        rng = np.random.default_rng([SEED, number])
        found = {"at_once": [], "at_looks": []}  # type: dict[str, list[tuple[bool, bool]]]
        for _ in range(options.suites):
            tasks = [
                draw(sizes, reference, changed, interaction, rng) for sizes in DEFAULT.values()
            ]
            for name, results in found.items():
                fails = outs = False
                for scores, against, codes in tasks:
                    looks = [Look(codes.size, 1.0, ALPHA / CELLS, ALPHA)]
                    if name == "at_looks":
                        looks = list(cell_looks(codes.size, margin=MARGIN, n_cells=CELLS))
                    for look in looks:
                        for cell in scores:
                            one = beyond(cell, against, codes, look)
                            fails, outs = fails or one[0], outs or one[1]
                results.append((fails, outs))
        row: Row = {
            "reference": reference, "changed": changed, "interaction": interaction,
            "cells": CELLS, "points": -MARGIN, "suites": options.suites,
        }  # fmt: skip
        for name, results in found.items():
            share = float(np.mean([fails for fails, _ in results]))
            row[f"any_false_fail_{name}"] = round(share, 4)
            row[f"any_false_fail_{name}_error"] = round(mc_error(share, len(results)), 4)
            row[f"guarded_{name}"] = round(float(np.mean([o and not f for f, o in results])), 4)
        rows.append(row)
        write(options.out, rows)
        print(f"{row}: {time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
