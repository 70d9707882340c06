"""Which identities a task's PB comes from."""

from __future__ import annotations

from pytest_pbias.outcomes import TaskOutcomes
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import contributions


def shares_of_bias(task: TaskOutcomes) -> list[tuple[Identity, float]]:
    """Each identity's share of the task's PB squared, in [0, 1], the largest first.

    Empty where there is one cluster only, which tells no effect from noise, or no PB.
    """
    if len(set(task.clusters.tolist())) < 2:
        return []
    identities, scores = task.of_kind("identity")
    found = contributions(scores, clusters=task.clusters)
    total = float(found.sum())
    if total <= 0:
        return []
    ranked = sorted(zip(identities, found.tolist(), strict=True), key=lambda one: -one[1])
    return [(identity, share / total) for identity, share in ranked]
