"""Settings of an independent audit: ``python -m benchmarks.calibration.audit [--replicates N]``.

What the grid leaves out: two identities, one identity that carries all of PB, rates of 0.98,
clusters of unequal size whose effect grows with it or sits in few of them, and changes that all go
one way. Writes ``audit.csv``, one row a setting, each with its own seed; beside each share stands
its Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.calibration.__main__ import SEED, Row, write
from benchmarks.calibration.model import Array, with_errors
from benchmarks.calibration.recheck import RESULTS
from pytest_pbias.gate import Verdict, decide_cell
from pytest_pbias.stats import contributions, paired_difference, personalization_bias

TOLERANCE = 3.0
MARGIN = 5.0


@dataclass(frozen=True)
class Axis:
    """PB of ``bias`` points that one of ``identities`` carries alone, at ``rate``."""

    identities: int
    items: int
    rate: float
    bias: float


@dataclass(frozen=True)
class Clustered:
    """A cell, or an axis of 8 identities, whose ``effect`` is spread over clusters by ``spread``.

    ``sizes`` of the clusters; ``spread`` is even, half or quarter (of the clusters), or size (grows
    with it).
    """

    sizes: tuple[int, ...]
    spread: str
    effect: float


_UNEVEN = (20, 22, 25, 30, 36, 44, 54, 68, 86, 110, 150, 200)
AXES = tuple(
    Axis(*setting, bias)
    for setting in (
        *((2, items, 0.98) for items in (60, 120, 285, 939)),
        (3, 120, 0.98), (8, 60, 0.98), (8, 120, 0.98), (8, 285, 0.98), (8, 120, 0.6),
        (17, 120, 0.98), (31, 120, 0.98), (31, 285, 0.98), (31, 285, 0.6),
    )
    for bias in (0.0, 2.9, 3.1)
)  # fmt: skip
CELLS = tuple(
    Clustered(sizes, spread, effect)
    for sizes, spread in (
        *(
            ((size,) * groups, spread)
            for size, groups in ((240, 27), (35, 27), (9, 27), (52, 6), (25, 10), (78, 12),
                                 (48, 20), (24, 40), (5, 57), (10, 100))
            for spread in ("even", "half", "quarter")
        ),
        (_UNEVEN, "even"), (_UNEVEN, "size"),
    )
    for effect in (0.0, -5.1)
)  # fmt: skip
_SPREADS = {"even": 1.0, "half": 0.5, "quarter": 0.25}  # share of the clusters with the effect
ONE_WAY = tuple((items, cells) for cells in (231, 3000) for items in (250, 400, 600))


def axis_row(setting: Axis, replicates: int) -> Row:
    """Upper limit, lower limit and verdicts of an axis with one hit identity."""
    k = setting.identities
    rng = np.random.default_rng([SEED, k, setting.items, *_figures(setting.rate, setting.bias)])
    chance = np.full((k, 1), setting.rate)
    chance[0] -= setting.bias / 100 * k / math.sqrt(k - 1)
    found = [
        personalization_bias((rng.random((k, setting.items)) < chance) * 1.0, confidence=0.9)
        for _ in range(replicates)
    ]
    return {
        "kind": "one identity carries all", "identities": k, "items": setting.items,
        "clusters": setting.items, "rate": setting.rate, "truth": setting.bias,
        "replicates": replicates,
        "upper_coverage": _mean(result.high >= setting.bias for result in found),
        "pass": _mean(result.high < TOLERANCE for result in found),
        "fail": _mean(result.low > TOLERANCE for result in found), "pass_unskewed": "",
    }  # fmt: skip


def _shares(setting: Clustered, rng: np.random.Generator) -> Array:
    """Each cluster's part of the effect; its mean over the items of the population is 1."""
    sizes = np.array(setting.sizes, dtype=np.float64)
    if setting.spread in _SPREADS:  # each cluster is drawn from those with or without it
        share = _SPREADS[setting.spread]
        return np.asarray((rng.random(sizes.size) < share) / share)
    drawn = np.array(rng.choice(sizes, sizes.size))  # sizes are drawn anew with the clusters
    return np.asarray(drawn / ((sizes**2).sum() / sizes.sum()))


def cell_row(setting: Clustered, replicates: int, n_cells: int = 231) -> Row:
    """Verdicts of one cell whose effect is spread unevenly over clusters that are drawn anew.

    ``pass_unskewed`` is how often it would pass if the interval did not allow for clusters that
    stand apart.
    """
    groups = len(setting.sizes)
    spread = [*_SPREADS, "size"].index(setting.spread)
    rng = np.random.default_rng([SEED, groups, *setting.sizes, spread,
                                 *_figures(setting.effect)])  # fmt: skip
    verdicts, without = [], []
    for _ in range(replicates):
        parts = _shares(setting, rng)
        sizes = np.array(setting.sizes)
        if setting.spread == "size":
            mean = (sizes**2).sum() / sizes.sum()
            sizes = np.maximum(2, np.rint(parts * mean)).astype(np.int64)
        codes = np.repeat(np.arange(groups), sizes)
        moved = rng.random(codes.size)
        down = np.clip(0.03 - setting.effect / 100 * parts[codes], 0.0, 0.97)
        cell = np.where(moved < down, 0.0, 1.0)
        base = np.where(moved > 0.97, 0.0, 1.0)
        verdicts.append(
            decide_cell(cell, base, clusters=codes, margin=MARGIN, alpha=0.05,
                       n_cells=n_cells, floor=0.0).verdict
        )  # fmt: skip
        plain = paired_difference(cell, base, clusters=codes, confidence=0.9)
        without.append(plain.low > -MARGIN and plain.high < MARGIN)
    return {
        "kind": f"effect {setting.spread} over clusters", "identities": 1,
        "items": sum(setting.sizes), "clusters": groups, "rate": 0.97, "truth": setting.effect,
        "replicates": replicates, "upper_coverage": "",
        "pass": _mean(verdict is Verdict.PASS for verdict in verdicts),
        "fail": _mean(verdict is Verdict.FAIL for verdict in verdicts),
        "pass_unskewed": _mean(without),
    }  # fmt: skip


def one_way_row(setting: tuple[int, int]) -> Row:
    """Exact: some of so many cells fails, all changes to the worse and every cell on the margin."""
    from scipy.stats import binom

    items, n_cells = setting
    failed = 0.0
    for losses in range(items // 4):
        base = np.ones(items)
        cell = np.where(np.arange(items) < losses, 0.0, 1.0)
        verdict = decide_cell(cell, base, clusters=np.arange(items), margin=MARGIN,
                             alpha=0.05, n_cells=n_cells, floor=0.0).verdict  # fmt: skip
        if verdict is Verdict.FAIL:
            failed += float(binom.pmf(losses, items, MARGIN / 100))
    return {
        "kind": f"any of {n_cells} fails, changes one way (exact)", "identities": n_cells,
        "items": items, "clusters": items, "rate": 1.0, "truth": -MARGIN, "replicates": 0,
        "upper_coverage": "", "pass": "", "fail": 1 - (1 - failed) ** n_cells,
        "pass_unskewed": "",
    }  # fmt: skip


def uneven_row(bias: float, replicates: int) -> Row:
    """PB^2 where a ladder of effects grows with the size of 12 clusters."""
    rng = np.random.default_rng([SEED, 12, *_figures(bias)])
    ladder = np.linspace(-1.0, 1.0, 8)
    ladder *= bias / 100 / np.sqrt((ladder**2).mean())
    sizes = np.array(_UNEVEN)
    mean = (sizes**2).sum() / sizes.sum()
    squares, passes = [], []
    for _ in range(replicates):
        drawn = rng.choice(sizes, sizes.size)
        codes = np.repeat(np.arange(sizes.size), drawn)
        chance = np.clip(0.6 + ladder[:, None] * (drawn / mean)[codes], 0.0, 1.0)
        scores = (rng.random(chance.shape) < chance) * 1.0
        squares.append(float(contributions(scores, clusters=codes).sum()))
        high = personalization_bias(scores, clusters=codes, confidence=0.9).high
        passes.append(high < TOLERANCE)
    return {
        "kind": f"effect grows with size, PB^2 off by {np.mean(squares) - bias**2:+.2f}",
        "identities": 8, "items": int(sizes.sum()), "clusters": 12, "rate": 0.6, "truth": bias,
        "replicates": replicates, "upper_coverage": "", "pass": _mean(passes), "fail": "",
        "pass_unskewed": "",
    }  # fmt: skip


def _figures(*values: float) -> list[int]:
    return [round(1000 * abs(value)) for value in values]


def _mean(hits: Iterable[bool]) -> float:
    return round(float(np.mean([bool(hit) for hit in hits])), 4)


def main() -> None:
    """Run every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000, help="of an axis")
    parser.add_argument("--cells", type=int, default=2000, help="replicates of a cell")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(one_way_row, ONE_WAY))
        kinds: Mapping[Callable[..., Row], tuple[tuple[object, ...], int]] = {
            axis_row: (AXES, options.replicates),
            cell_row: (CELLS, options.cells),
            uneven_row: ((1.5, 3.1), options.replicates),
        }
        for simulate, (settings, replicates) in kinds.items():
            rows += pool.map(partial(simulate, replicates=replicates), settings)
    shares = ("upper_coverage", "pass", "fail", "pass_unskewed")
    write(
        RESULTS / "audit.csv",
        [with_errors(row, int(row["replicates"]), *shares) for row in rows],
    )


if __name__ == "__main__":
    main()
