"""The words of reasons: intervals, references, what would settle it, what few clusters mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_pbias.gate.verdict import Verdict
from pytest_pbias.stats import PairedDifferenceResult
from pytest_pbias.stats.arrays import Labels

# Under so many clusters their own variance is known badly (docs/statistics.md).
_FEW_CLUSTERS = 30


def strata_claim(tasks: Sequence[str]) -> str:
    """What verdicts on tasks with fixed strata speak of; empty where there are none such."""
    if not tasks:
        return ""
    return f"verdicts on {', '.join(tasks)} hold for the clusters asked, and say nothing of others"


def reference_words(reference: str, n_references: int) -> str:
    """What a cell is compared with, in words for its verdict's reason."""
    if reference == "control":
        return "the control" if n_references == 1 else f"the mean of {n_references} controls"
    if reference == "identities":
        return f"the mean of {n_references} identities"
    return reference


def bare(reference: str) -> str:
    """The reference's words without their article."""
    return reference.removeprefix("the ")


def difference_words(estimate: float, intervals: str, reference: str) -> str:
    """A cell's difference (percentage points), with its intervals in words, from its reference."""
    return f"{estimate:+.1f} ({intervals}) points from {reference}"


def at_once(found: PairedDifferenceResult, n_cells: int) -> str:
    """The interval of a fail, and for how many cells it holds."""
    where = f"all {n_cells:,} cells at once" if n_cells > 1 else f"{100 * found.confidence:.4g} %"
    return f"{found.low:+.1f} to {found.high:+.1f}, {where}"


def alone(found: PairedDifferenceResult) -> str:
    """The interval of a pass, which holds for its cell alone."""
    return f"{found.low:+.1f} to {found.high:+.1f} at {100 * found.confidence:.4g} %"


def wrong_passes(n_clusters: int) -> str:
    """How often few clusters let a cell pass that is just beyond its margin for others.

    Simulated, where the effect sits in a quarter of the clusters: 6 clusters at most 0.18, 10 and
    12 0.10, 20 and 27 0.06 (docs/statistics.md). Fewer than 6 were not simulated.
    """
    if n_clusters >= 20:
        return "up to 6 %"
    if n_clusters >= 10:
        return "up to 10 %"
    return "up to 18 %" if n_clusters >= 6 else "18 % or more"


def uneven(clusters: Labels) -> tuple[int, int] | None:
    """Items of the smallest and of the largest cluster, where few clusters differ twofold."""
    sizes = np.unique(np.asarray(clusters), return_counts=True)[1]
    few = 1 < sizes.size < _FEW_CLUSTERS
    least, most = int(sizes.min()), int(sizes.max())
    return (least, most) if few and most >= 2 * least else None


def cluster_notes(clusters: Labels) -> tuple[str, ...]:
    """What few clusters leave open about others: of a pass, and where their sizes differ."""
    number = len(np.unique(np.asarray(clusters)))
    if not 1 < number < _FEW_CLUSTERS:
        return ()
    notes = [f"about others a pass may be wrong {wrong_passes(number)} of the time"]
    sizes = uneven(clusters)
    if sizes is not None:
        notes.append(
            f"they hold {sizes[0]} to {sizes[1]} items: an effect that grows with size hides"
        )
    return tuple(notes)


def cluster_warning(clusters: Labels, found: PairedDifferenceResult, verdict: Verdict) -> str:
    """What a cell's verdict cannot claim because of its clusters; empty where nothing is open."""
    number = found.n_clusters
    if number >= min(_FEW_CLUSTERS, found.n_items):
        return ""
    if number == 1:
        return "its items are all of one cluster: this holds for that cluster only"
    if verdict is Verdict.INCONCLUSIVE:
        return f"its {number} clusters are few, which widens the interval"
    says = f"its {number} clusters are too few to speak of others"
    about_pass, *others = cluster_notes(clusters)
    said = [about_pass, *others] if verdict is Verdict.PASS else others
    return "; ".join([says, *said])


def advice_words(needed: int | None) -> str:
    """How many items would settle a cell, in words; None: no number would."""
    if needed is None or needed > 1_000_000:
        return "the estimate sits on the margin: no feasible number of items would settle it"
    return f"about {round_up(needed):,} items would settle it"


def round_up(number: int) -> int:
    """The next number of items that nobody takes to be exact."""
    step = 10 if number < 1000 else 100 if number < 100_000 else 1000
    return -(-number // step) * step


def interval_words(estimate: float, low: float, high: float, *, signed: bool = True) -> str:
    """An estimate with its interval, percentage points; ``signed`` where it is a difference."""
    sign = "+" if signed else ""
    return f"{estimate:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"
