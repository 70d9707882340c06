"""Drift over many runs: contrasts, their shared level, and error rates by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_pbias.stats import (
    DriftResult,
    bias_drift,
    contrast_level,
    contrasts,
    difference_in_differences,
    paired_bias_change,
)
from pytest_pbias.stats import cell_drift as drift_of

Array = npt.NDArray[np.float64]


def cell_drift(cells: Array, references: Array, **options: Any) -> DriftResult | None:
    """The drift of runs in one array (runs, items)."""
    return drift_of(list(cells), list(references), **options)


def draw(
    rng: np.random.Generator, runs: int, identities: int, items: int, *, effect: Array | float = 0.0
) -> Array:
    """Scores (runs, identities, items) at 0.9: an item is as hard in every run, a fifth is noise.

    ``effect`` is added to the rate, of a shape that broadcasts to (runs, identities, 1).
    """
    hardness = rng.random((1, identities, items))
    drawn = rng.random((runs, identities, items))
    taken = np.where(rng.random(drawn.shape) < 0.2, drawn, hardness)
    return np.asarray((taken < 0.9 + effect).astype(float))


def test_contrasts_add_up_to_nothing_and_give_back_what_they_stand_for() -> None:
    for runs in (2, 3, 7, 40):
        found = contrasts(runs)
        assert len(found) == (1 if runs == 2 else runs)
        assert all(sum(one.weights) == pytest.approx(0) for one in found)
        # A mean against a mean: what a contrast finds, two runs differ by at least.
        assert all(sum(np.abs(one.weights)) == pytest.approx(2) for one in found)
        assert 0 < np.dot(found[0].weights, np.linspace(3, 8, runs)) <= 5 + 1e-9
        for one in found[1:]:
            assert np.dot(one.weights, np.arange(runs) >= one.at) == pytest.approx(1)
    with pytest.raises(ValueError, match="two runs"):
        contrasts(1)


@pytest.mark.parametrize("runs", [3, 10, 25])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_shared_level_holds_for_correlated_contrasts(runs: int, level: float) -> None:
    """Against 400,000 draws: never above, and no more than a fifth below it."""
    vectors = np.array([one.weights for one in contrasts(runs)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = np.abs(np.random.default_rng(3).standard_normal((400_000, runs)) @ unit.T).max(axis=1)
    from scipy.stats import norm

    each = contrast_level(runs, level)
    assert level / len(vectors) < each < level
    err = (drawn > norm.isf(each / 2)).mean()
    assert 0.75 * level < err < level + 3 * np.sqrt(level / 400_000)


def test_two_runs_are_a_comparison() -> None:
    runs = draw(np.random.default_rng(1), 2, 5, 200, effect=np.array([[[0]] * 5, [[-0.2]] * 5]))
    found = cell_drift(runs[:, 1], runs[:, 0], level=0.05)
    assert found is not None
    other = difference_in_differences(runs[1, 1], runs[1, 0], runs[0, 1], runs[0, 0])
    assert found.changes[0] == other
    biases = bias_drift([[run] for run in runs], clusters=[None], weights=[1.0])
    other = paired_bias_change([runs[1]], [runs[0]])
    for name in ("estimate", "low", "high"):
        assert getattr(biases.changes[0], name) == pytest.approx(getattr(other, name))


def test_without_drift_it_is_shown_at_the_level() -> None:
    """Shared noise of items cancels, also where there is bias all along (600 histories of 6)."""
    rng = np.random.default_rng(5)
    constant = np.array([-0.25, -0.1, 0.0, 0.05, 0.05])[None, :, None]
    for effect in (0.0, constant):
        cells, biases = 0, 0
        for _ in range(300):
            runs = draw(rng, 6, 5, 150, effect=effect)
            found = cell_drift(runs[:, 0], runs[:, 1])
            assert found is not None
            cells += found.shown
            biases += bias_drift([[run] for run in runs], clusters=[None], weights=[1.0]).shown
        assert cells <= 25  # of 300: 0.05, and three errors of 0.0126
        assert biases <= 25


def test_items_in_clusters_count_once() -> None:
    """30 clusters of 10 equal items: without the clusters 10 times the items would be believed."""
    rng = np.random.default_rng(11)
    labels = np.repeat(np.arange(30), 10)
    shown = {True: 0, False: 0}
    for _ in range(200):
        runs = np.repeat(draw(rng, 5, 2, 30), 10, axis=2)
        for known in shown:
            found = cell_drift(runs[:, 0], runs[:, 1], clusters=labels if known else None)
            assert found is not None
            shown[known] += found.shown
    assert shown[True] <= 20
    assert shown[False] > 60


@pytest.mark.parametrize("slow", [True, False])
def test_a_regression_that_pairs_do_not_show_is_seen_over_ten_runs(slow: bool) -> None:
    """Two points a release, or ten at once: neighbours hardly differ, the history does."""
    rng = np.random.default_rng(8)
    size = np.linspace(0, -0.18, 10) if slow else np.repeat([0, -0.15], 5)
    effect = np.zeros((10, 6, 1))
    effect[:, 0, 0] = size
    shown = pairs = 0
    places = []
    for _ in range(40):
        runs = draw(rng, 10, 6, 200, effect=effect)
        found = cell_drift(runs[:, 0], runs[:, 1])
        assert found is not None
        bias = bias_drift([[run] for run in runs], clusters=[None], weights=[1.0])
        shown += found.shown and bias.shown
        last = difference_in_differences(runs[-1, 0], runs[-1, 1], runs[-2, 0], runs[-2, 1])
        pairs += last.high < 0 or last.low > 0
        if found.shown:
            assert found.clearest[1].estimate < -5
            assert bias.clearest[1].estimate > 2
            if not slow:
                places.append(found.clearest[0].at)
    assert shown >= 38
    assert pairs <= 8
    assert slow or np.median(places) == 5


def test_nothing_changing_is_not_certain_that_nothing_changes() -> None:
    run = draw(np.random.default_rng(2), 1, 3, 50)[0]
    found = drift_of([run[0]] * 6, [run[1]] * 6)
    assert found is not None
    assert not found.shown
    assert all(change.low < -1 < 1 < change.high for change in found.changes)
    still = bias_drift([[run]] * 6, clusters=[None], weights=[1.0])
    assert not still.shown


def test_missing_items_are_left_out_of_all_runs() -> None:
    runs = draw(np.random.default_rng(2), 4, 2, 100)
    runs[1, 0, :20] = np.nan
    found = cell_drift(runs[:, 0], runs[:, 1])
    other = cell_drift(runs[:, 0, 20:], runs[:, 1, 20:])
    assert found is not None
    assert found == other
    runs[2, 1, :] = np.nan
    assert cell_drift(runs[:, 0], runs[:, 1]) is None
