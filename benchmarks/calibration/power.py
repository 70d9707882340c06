"""Power of every test: ``python -m benchmarks.calibration.power [--replicates N]``.

Writes ``power.csv``: the share of simulated tables on which each test of the same question,
"do the identities differ?", rejects at 5 %, at PB 0 (its level) and above (its power).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from statsmodels.stats.contingency_tables import cochrans_q

from benchmarks.calibration.__main__ import Row, setting_seed, write
from benchmarks.calibration.model import Setting, table
from benchmarks.calibration.recheck import RESULTS
from pytest_pbias.stats import (
    gap,
    omnibus_permutation,
    paired_difference,
    personalization_bias,
)

LEVEL = 0.05
SHAPES: Sequence[Mapping[str, float]] = (
    {}, {"heterogeneity": 0.15}, {"cluster_size": 5}, {"repeats": 3, "missing": 0.02},
)  # fmt: skip


def power_row(setting: Setting, replicates: int) -> Row:
    """Share of tables each test rejects at 5 %."""
    rng = np.random.default_rng(setting_seed(setting, stream=2))
    k = setting.identities
    worst, best = 0, k - 1  # of the ladder of effects
    tests = ("pb_pvalue", "permutation", "cochran", "gap", "paired", "cells")
    rejected = {name: np.full(replicates, np.nan) for name in tests}
    for number in range(replicates):
        scores, clusters = table(setting, rng)
        names = clusters.astype(str)
        pb = personalization_bias(scores, clusters=clusters)
        rejected["pb_pvalue"][number] = pb.pvalue <= LEVEL
        permuted = omnibus_permutation(scores, rng=rng, n_permutations=199, clusters=clusters)
        rejected["permutation"][number] = permuted.pvalue <= LEVEL
        if setting.repeats == 1 and not setting.missing:
            rejected["cochran"][number] = cochrans_q(scores[:, :, 0].T.astype(int)).pvalue <= LEVEL
        whole = ~np.isnan(scores).any(axis=(0, 2))
        rejected["gap"][number] = gap(scores[:, whole], clusters=clusters[whole]).low > 0.0
        # The pair with the largest effect, named beforehand; then every cell at Bonferroni's level.
        rejected["paired"][number] = (
            paired_difference(scores[worst], scores[best], clusters=names).pvalue <= LEVEL
        )
        cells = [
            paired_difference(scores[u], scores[k // 2], clusters=names).pvalue
            for u in range(k) if u != k // 2
        ]  # fmt: skip
        rejected["cells"][number] = min(cells) <= LEVEL / (k - 1)
    row: Row = {
        "identities": k, "items": setting.items, "bias": setting.bias,
        "heterogeneity": setting.heterogeneity, "cluster_size": setting.cluster_size,
        "repeats": setting.repeats, "missing": setting.missing, "replicates": replicates,
    }  # fmt: skip
    for name, found in rejected.items():
        row[name] = "" if np.isnan(found).all() else float(found.mean())
    return row


def main() -> None:
    """Run the settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--items", type=int, nargs="+", default=[100])
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    settings = [
        Setting(k, items, bias, **shape)  # type: ignore[arg-type]  # a plain mapping of fields
        for items, k, shape, bias in itertools.product(
            options.items, (5, 12), SHAPES, (0.0, 2.0, 5.0, 8.0)
        )
    ]
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for row in pool.map(partial(power_row, replicates=options.replicates), settings):
            rows.append(row)
            write(RESULTS / "power.csv", rows)


if __name__ == "__main__":
    main()
