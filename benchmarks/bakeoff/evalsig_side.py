"""The other tool's decisions; runs in an environment that has it, and nothing of ours.

``python evalsig_side.py TABLES.npz OUT.json``: ``cells`` (settings, tables, cells, items),
``baselines`` (settings, tables, items) and ``clusters`` (items; all different: none) are decided
by its ``gate`` at a smallest difference of 5 points. Its question is whether a candidate ships, so
a cell is the baseline of it and the baseline is the candidate: *ALLOW* is an alarm, the candidate
being better by 5 points or more. What nearest means *pass* is *REJECT* both ways, powered silence.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np

evalsig = importlib.import_module("evalsig")  # which is not where our code is checked

MARGIN = 0.05
RESAMPLES = 2000


def frame(name: str, scores: np.ndarray, clusters: np.ndarray) -> Any:
    items = [
        evalsig.ItemResult(item_id=f"i{number}", score=float(score), cluster_id=str(cluster))
        for number, (score, cluster) in enumerate(zip(scores, clusters, strict=True))
    ]
    return evalsig.RunFrame(name, "model", "task", "accuracy", items)


def decide(cell: np.ndarray, baseline: np.ndarray, clusters: np.ndarray) -> str:
    few = len(set(clusters.tolist())) < len(clusters)
    how = {"cluster": "cluster_id"} if few else {}
    runs = frame("cell", cell, clusters), frame("baseline", baseline, clusters)
    said = []
    for old, new in (runs, runs[::-1]):
        found = evalsig.gate(old, new, min_delta=MARGIN, n_resamples=RESAMPLES, rng=0, **how)
        said.append(found.verdict.name)
    if "ALLOW" in said:
        return "alarm"
    return "silent" if said == ["REJECT", "REJECT"] else "open"


def main() -> None:
    tables = np.load(sys.argv[1])
    decided = [
        [
            [decide(cell, baseline, tables["clusters"]) for cell in cells]
            for cells, baseline in zip(of_setting, baselines, strict=True)
        ]
        for of_setting, baselines in zip(tables["cells"], tables["baselines"], strict=True)
    ]
    with open(sys.argv[2], "w", encoding="utf-8") as stream:
        json.dump(decided, stream)


main()
