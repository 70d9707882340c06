"""Differences of traits where there are none: ``python -m benchmarks.calibration.traits``.

Draws the values of traits under identities and their reference, compares them as a report does, and
writes ``traits.csv``: how often anything stands out where nothing differs (nominal: 0.05 of the
tables), what share of what stands out is false where a fifth differs (nominal: 0.05 of 0.8), how
often an interval covers the truth (0.95), and how often a gate fails, or one of its cells passes,
where all identities differ by exactly its margin (0.05 at most each).
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats import (
    MeanDifferenceResult,
    PairedDifferenceResult,
    benjamini_hochberg,
    mean_difference,
    net_change_pvalue,
    paired_difference,
)

SEED = 20_261_128
ALPHA, MARGIN, IDENTITIES = 0.05, 5.0, 12
ITEMS = (60, 300, 1000)
CLUSTERS = (1, 10)  # items in each
REFERENCES = (1, 2)  # the baseline, or the mean of two controls
KINDS = ("rare", "common", "amount", "skewed")
EFFECTS = {"rare": 10.0, "common": 15.0, "amount": 6.0, "skewed": 6.0}
Array = npt.NDArray[np.float64]
Found = PairedDifferenceResult | MeanDifferenceResult


def values(
    kind: str, who: int, items: int, size: int, shift: float, rng: np.random.Generator
) -> Array:
    """The values of ``who`` identities, shape (who, items): an item is alike for all of them.

    ``shift`` is in percentage points of a share, in the unit of an amount.
    """
    alike = np.repeat(rng.random(-(-items // size)), size)[:items]
    own = rng.random((who, items))
    if kind in ("rare", "common"):
        rate = (0.02 if kind == "rare" else 0.3) + shift / 100
        # Half of the answers are those that the item always gets.
        drawn = np.where(rng.random((who, items)) < 0.5, alike, own)
        return (drawn < rate).astype(np.float64)
    centre = 100 + 20 * (alike - 0.5)
    spread = (
        rng.normal(0, 20, (who, items)) if kind == "amount" else rng.lognormal(2, 1, (who, items))
    )
    return np.asarray(centre + spread + shift)


def compare(
    kind: str, own: Array, reference: Array, clusters: npt.NDArray[np.intp], level: float
) -> Found:
    """The difference as a report makes it."""
    difference = paired_difference if kind in ("rare", "common") else mean_difference
    return difference(own, reference, clusters=clusters.astype(np.str_), confidence=1 - level)


def beyond(found: Found, level: float) -> bool:
    """Whether a gate fails over it."""
    if not (found.low >= MARGIN or found.high <= -MARGIN):
        return False
    if isinstance(found, MeanDifferenceResult):
        return True
    return net_change_pvalue(found, margin=MARGIN) <= level / 2


def row(items: int, size: int, references: int, replicates: int) -> dict[str, float]:
    """Error rates of one setting, over all kinds of traits at once."""
    rng = np.random.default_rng([SEED, items, size, references])
    clusters = np.arange(items, dtype=np.intp) // size
    any_found, false_share, failed, passed = [], [], [], []
    covered = dict.fromkeys(KINDS, 0)
    for _ in range(replicates):
        for mixed in (False, True):
            pvalues, real = [], []
            for kind in KINDS:
                drawn = values(kind, IDENTITIES + references, items, size, 0.0, rng)
                reference = drawn[IDENTITIES:].mean(axis=0)
                for number in range(IDENTITIES):
                    own = drawn[number]
                    different = mixed and number % 5 == 0
                    if different:
                        own = values(kind, 1, items, size, EFFECTS[kind], rng)[0]
                    found = compare(kind, own, reference, clusters, ALPHA)
                    pvalues.append(found.pvalue)
                    real.append(different)
                    if not mixed:
                        covered[kind] += found.low <= 0 <= found.high
            chosen = benjamini_hochberg(pvalues) <= ALPHA
            false = chosen & ~np.asarray(real)
            if mixed:
                false_share.append(false.sum() / max(1, chosen.sum()))
            else:
                any_found.append(bool(chosen.any()))
        for kind in KINDS:
            level = ALPHA / IDENTITIES
            reference = values(kind, references, items, size, 0.0, rng).mean(axis=0)
            owns = values(kind, IDENTITIES, items, size, MARGIN, rng)
            failed.append(any(
                beyond(compare(kind, own, reference, clusters, level), level) for own in owns
            ))  # fmt: skip
            plain = compare(kind, owns[0], reference, clusters, 2 * ALPHA)
            passed.append(plain.low > -MARGIN and plain.high < MARGIN)
    made = replicates * IDENTITIES
    return {
        "items": items, "cluster_size": size, "references": references, "replicates": replicates,
        "anything_found": round(float(np.mean(any_found)), 4),
        "false_discoveries": round(float(np.mean(false_share)), 4),
        **{f"coverage_{kind}": round(count / made, 4) for kind, count in covered.items()},
        "gate_fails_at_margin": round(float(np.mean(failed)), 4),
        "cell_passes_at_margin": round(float(np.mean(passed)), 4),
    }  # fmt: skip


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    options = parser.parse_args()
    rows = []
    for items, size, references in itertools.product(ITEMS, CLUSTERS, REFERENCES):
        rows.append(row(items, size, references, options.replicates))
        print(rows[-1], flush=True)
    with (options.out / "traits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
