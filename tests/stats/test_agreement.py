from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa, to_table

from pytest_pbias.stats import cohen_kappa, krippendorff_alpha


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_kappa_is_that_of_statsmodels(n_labels: int) -> None:
    rng = np.random.default_rng(n_labels)
    first = rng.integers(0, n_labels, 300)
    second = np.where(rng.random(300) < 0.7, first, rng.integers(0, n_labels, 300))
    table = to_table(np.stack([first, second], axis=1))[0]
    theirs = cohens_kappa(table)
    ours = cohen_kappa(first, second, rng=_rng(), n_resamples=4000)
    assert ours.estimate == pytest.approx(theirs.kappa, abs=1e-12)
    assert ours.observed == pytest.approx((first == second).mean())
    # Independent units: the bootstrap finds what the asymptotic formula says.
    assert ours.low == pytest.approx(theirs.kappa_low, abs=0.015)
    assert ours.high == pytest.approx(theirs.kappa_upp, abs=0.015)


def test_alpha_of_a_table_worked_by_hand() -> None:
    # Coincidences: units aa, ab, bb, ab -> o_aa = 2, o_bb = 2, o_ab = o_ba = 2; n_a = n_b = 4.
    # alpha = 1 - (n - 1) * (o_ab + o_ba) / (n_a n_b + n_b n_a) = 1 - 7 * 4 / 32 = 1/8.
    ratings = [["a", "a"], ["a", "b"], ["b", "b"], ["b", "a"]]
    assert krippendorff_alpha(ratings, rng=_rng()).estimate == pytest.approx(1 / 8)


def test_alpha_with_three_judges_and_missing_labels_worked_by_hand() -> None:
    # aaa adds 3 to aa (6 ordered pairs, each / 2); aab adds 1 to aa, 1 to ab, 1 to ba; bb adds 2;
    # the unit with one label adds nothing. n_a = 5, n_b = 3, n = 8.
    # alpha = 1 - 7 * 2 / (2 * 5 * 3) = 8/15.
    ratings: Any = [["a", "a", "a"], ["a", "b", "a"], [None, "b", "b"], [None, None, "b"]]
    result = krippendorff_alpha(ratings, rng=_rng())
    assert result.estimate == pytest.approx(8 / 15)
    assert result.n == 3


def test_perfect_and_opposite_judges() -> None:
    labels = np.array(["safe", "unsafe"] * 20)
    same = cohen_kappa(labels, labels, rng=_rng())
    assert (same.estimate, same.low, same.high, same.observed) == (1.0, 1.0, 1.0, 1.0)
    assert cohen_kappa(labels, labels[::-1], rng=_rng()).estimate == pytest.approx(-1.0)


def test_one_label_only_has_no_coefficient() -> None:
    result = cohen_kappa(["safe"] * 5, ["safe"] * 5, rng=_rng())
    assert math.isnan(result.estimate)
    assert math.isnan(result.low)
    assert result.observed == 1.0
    assert math.isnan(krippendorff_alpha([["a", "a"]] * 5, rng=_rng()).estimate)


def test_the_interval_counts_items_not_answers() -> None:
    rng = np.random.default_rng(7)
    first = rng.integers(0, 2, 60)
    second = np.where(rng.random(60) < 0.8, first, 1 - first)
    once = cohen_kappa(first, second, rng=_rng())
    items = np.tile(np.arange(60), 20)
    repeated = cohen_kappa(np.tile(first, 20), np.tile(second, 20), items=items, rng=_rng())
    assert repeated.estimate == pytest.approx(once.estimate)
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low)
    naive = cohen_kappa(np.tile(first, 20), np.tile(second, 20), rng=_rng())
    assert naive.high - naive.low < 0.4 * (once.high - once.low)


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 2, (2, 50))
    assert cohen_kappa(first, second, rng=_rng()) == cohen_kappa(first, second, rng=_rng())


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        cohen_kappa(["a"], ["a", "b"], rng=_rng())
    with pytest.raises(ValueError, match="equally long"):
        cohen_kappa([], [], rng=_rng())
    with pytest.raises(ValueError, match=r"\(units, judges\)"):
        krippendorff_alpha(["a", "b"], rng=_rng())
    with pytest.raises(ValueError, match="two judges"):
        krippendorff_alpha(np.array([["a", None]], object), rng=_rng())
