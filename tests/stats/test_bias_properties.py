"""Invariances of PB on tables with runs, gaps and clusters at once."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.stats import contributions, personalization_bias

Array = npt.NDArray[np.float64]


@st.composite
def tables(draw: st.DrawFn) -> tuple[Array, npt.NDArray[np.int64]]:
    """Outcomes (identities, items, runs), some missing, and the items' clusters.

    Every identity keeps an answer to every item of two clusters, so that PB is defined.
    """
    identities, items = draw(st.integers(2, 6)), draw(st.integers(8, 24))
    groups = draw(st.integers(2, items))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outcomes = (rng.random((identities, items, draw(st.integers(1, 3)))) < 0.6).astype(float)
    outcomes[rng.random(outcomes.shape) < draw(st.sampled_from([0.0, 0.1, 0.4]))] = np.nan
    clusters = np.arange(items) % groups
    kept = clusters < 2
    outcomes[:, kept] = np.where(np.isnan(outcomes[:, kept]), 1.0, outcomes[:, kept])
    return outcomes, clusters


def _same(ours: object, theirs: object) -> None:
    assert astuple(ours) == pytest.approx(astuple(theirs), abs=1e-6)  # type: ignore[call-overload]


@given(tables(), st.integers(0, 10**6))
def test_the_order_of_identities_and_items_changes_nothing(
    case: tuple[Array, npt.NDArray[np.int64]], seed: int
) -> None:
    outcomes, clusters = case
    rng = np.random.default_rng(seed)
    identities, items = rng.permutation(len(outcomes)), rng.permutation(clusters.size)
    shuffled = personalization_bias(outcomes[identities][:, items], clusters=clusters[items])
    _same(personalization_bias(outcomes, clusters=clusters), shuffled)


@given(tables())
def test_the_names_of_clusters_change_nothing(
    case: tuple[Array, npt.NDArray[np.int64]],
) -> None:
    outcomes, clusters = case
    named = np.array([f"category {99 - label}" for label in clusters])
    _same(
        personalization_bias(outcomes, clusters=clusters),
        personalization_bias(outcomes, clusters=named),
    )


@given(tables(), st.integers(0, 10**6))
def test_a_constant_added_to_an_item_moves_no_estimate(
    case: tuple[Array, npt.NDArray[np.int64]], seed: int
) -> None:
    outcomes, clusters = case
    shift = np.random.default_rng(seed).uniform(0, 0.5, clusters.size)
    plain = personalization_bias(outcomes / 2, clusters=clusters)
    moved = personalization_bias(outcomes / 2 + shift[:, None], clusters=clusters)
    for name in ("raw", "estimate", "noise_floor"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), abs=1e-6)


@given(tables())
def test_scores_scale_the_estimates(case: tuple[Array, npt.NDArray[np.int64]]) -> None:
    outcomes, clusters = case
    whole = personalization_bias(outcomes, clusters=clusters)
    half = personalization_bias(outcomes / 2, clusters=clusters)
    for name in ("raw", "estimate", "noise_floor"):
        assert getattr(half, name) == pytest.approx(getattr(whole, name) / 2, abs=1e-6)


@given(tables())
def test_every_identity_twice_keeps_the_estimates(
    case: tuple[Array, npt.NDArray[np.int64]],
) -> None:
    outcomes, clusters = case
    once = personalization_bias(outcomes, clusters=clusters)
    twice = personalization_bias(np.concatenate([outcomes, outcomes]), clusters=clusters)
    for name in ("raw", "estimate", "noise_floor"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), abs=1e-6)


@given(tables())
def test_intervals_hold_the_estimate_and_contributions_add_up(
    case: tuple[Array, npt.NDArray[np.int64]],
) -> None:
    outcomes, clusters = case
    result = personalization_bias(outcomes, clusters=clusters)
    assert 0.0 <= result.low <= result.estimate <= result.high <= 50.0 + 1e-9
    assert 0.0 <= result.pvalue <= 1.0
    total = float(contributions(outcomes, clusters=clusters).sum())
    assert max(0.0, total) ** 0.5 == pytest.approx(result.estimate, abs=1e-6)
