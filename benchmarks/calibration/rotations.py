"""Level of the permutation test on tables so large that it draws rotations.

``python -m benchmarks.calibration.rotations [--replicates N]`` writes ``rotations.csv``: how often
the test rejects at 5 % where there is no bias. A quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from benchmarks.calibration.__main__ import LARGE, Row, grid, setting_seed, write
from benchmarks.calibration.model import Setting, table, truth
from benchmarks.calibration.recheck import RESULTS
from pytest_pbias.stats import omnibus_permutation


def rotation_row(setting: Setting, replicates: int) -> Row:
    """How often the test rejects at one setting without bias."""
    rng = np.random.default_rng(setting_seed(setting))
    truth(setting, rng)
    rejected = 0
    for _ in range(replicates):
        scores, clusters = table(setting, rng)
        found = omnibus_permutation(scores, rng=rng, n_permutations=999, clusters=clusters)
        rejected += found.pvalue <= 0.05
    share = rejected / replicates
    return {
        "identities": setting.identities, "items": setting.items,
        "heterogeneity": setting.heterogeneity, "cluster_size": setting.cluster_size,
        "replicates": replicates, "permutation_rejects": share,
        "mc_error": round((share * (1 - share) / replicates) ** 0.5, 4),
    }  # fmt: skip


def main() -> None:
    """Run the settings of the committed summary that are large enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    settings = [
        setting
        for setting in grid([5, 12, 31], [1000], [0], full=False)
        if setting.identities * setting.items > LARGE
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(partial(rotation_row, replicates=options.replicates), settings))
    write(RESULTS / "rotations.csv", rows)


if __name__ == "__main__":
    main()
