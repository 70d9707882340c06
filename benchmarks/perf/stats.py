"""Time the statistics of a full report: ``python benchmarks/perf/stats.py``.

34 identities x 8 tasks x 3,800 items x 3 repeats, every cell decided, with permutation tests.
"""

from __future__ import annotations

import resource
import time

import numpy as np

from pytest_pbias.gate import AxisOutcomes, decide_axis, decide_cell
from pytest_pbias.stats import contributions, gap, omnibus_permutation, personalization_bias, rate


def main() -> None:
    """Generate, time, print."""
    rng = np.random.default_rng(0)
    tasks = [
        (rng.random((35, 3800, 3)) < rng.random(3800)[:, None]).astype(np.float64) for _ in range(8)
    ]
    clusters = np.repeat(np.arange(760), 5).astype(str)
    spent: dict[str, float] = {}

    def timed(name: str, start: float) -> None:
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    for scores in tasks:
        start = time.perf_counter()
        personalization_bias(scores[1:], clusters=clusters)
        contributions(scores[1:], clusters=clusters)
        gap(scores[1:], clusters=clusters)
        timed("bias", start)
        start = time.perf_counter()
        omnibus_permutation(scores[1:], rng=rng, clusters=clusters)
        timed("permutation", start)
        start = time.perf_counter()
        for cell in scores[1:]:
            rate(cell, clusters=clusters)
            decide_cell(
                cell, scores[0], clusters=clusters, margin=5, alpha=0.05, n_cells=272, floor=0.25
            )
        timed("cells", start)
    start = time.perf_counter()
    axis = [AxisOutcomes(str(n), t[1:], t[0], clusters, 0.25) for n, t in enumerate(tasks)]
    decide_axis("utility", axis, tolerance=3, alpha=0.05)
    timed("axis", start)
    for name, seconds in spent.items():
        print(f"{name:12} {seconds:6.2f} s")
    print(f"{'total':12} {sum(spent.values()):6.2f} s")
    print(f"peak memory  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:6.2f} GB")


if __name__ == "__main__":
    main()
