"""Tables without variation or without answers: a defined answer or a clear error, never NaN."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_pbias.stats import (
    JudgeAudit,
    contributions,
    corrected_bias,
    difference_in_differences,
    gap,
    joint_personalization_bias,
    minimum_detectable_effect,
    omnibus_permutation,
    paired_bias_change,
    paired_difference,
    personalization_bias,
    rate,
)

Array = npt.NDArray[np.float64]
Clusters = list[str] | None
NAN = np.nan
TABLES = {
    "all right": np.ones((4, 10)),
    "all wrong": np.zeros((4, 10)),
    "one item, alike": np.ones((3, 1)),
    "one item, apart": np.array([[1.0], [0.0], [1.0]]),
    "one identity": np.array([[1.0, 0.0, 1.0, 0.0]]),
    "all missing": np.full((3, 5), NAN),
    "one identity missing": np.array([[1.0, 0.0, 1.0], [NAN] * 3, [0.0, 0.0, 1.0]]),
    "no items": np.ones((3, 0)),
    "equal fractions": np.full((3, 5), 0.3),
    "constant shift": np.repeat([[0.3], [0.5], [0.9]], 5, axis=1),
    "one item missing": np.array([[1.0, NAN, 0.0], [0.0, NAN, 1.0], [1.0, NAN, 1.0]]),
    "nothing in common": np.array([[1.0, NAN], [NAN, 0.0]]),
    "equal fractions over runs": np.repeat([[[1.0, 0.0, 0.0]]], 3, axis=0).repeat(4, axis=1),
}
AUDIT = JudgeAudit(90, 10, 85, 15)
STATISTICS: dict[str, Callable[[Array, Clusters], Any]] = {
    "bias": lambda t, c: personalization_bias(t, clusters=c),
    "joint": lambda t, c: joint_personalization_bias([t, t], clusters=[c, c]),
    "corrected": lambda t, c: corrected_bias(t, AUDIT, clusters=c),
    "corrected apart": lambda t, c: corrected_bias(t, [AUDIT] * len(t), clusters=c),
    "permutation": lambda t, c: omnibus_permutation(
        t, rng=np.random.default_rng(0), n_permutations=99, clusters=c
    ),
    "gap": lambda t, c: gap(t, clusters=c),
    "contributions": lambda t, c: contributions(t, clusters=c),
    "change": lambda t, c: paired_bias_change([t], [t[::-1]], clusters=[c]),
    "rate": lambda t, c: rate(t[0], clusters=c),
    "paired": lambda t, c: paired_difference(t[0], t[-1], clusters=c),
    "in differences": lambda t, c: difference_in_differences(t[0], t[-1], t[-1], t[0], clusters=c),
    "detectable": lambda t, c: minimum_detectable_effect(t[0], t[-1], clusters=c),
}
CLEAR = re.compile(
    r"need|at least one outcome|no outcome|no item was answered|binary|two identities"
)


def _flat(result: Any) -> Iterator[Any]:
    """The results in a result: one itself, or those of a tuple or a dict."""
    if isinstance(result, dict):
        result = tuple(result.values())
    yield from result if isinstance(result, tuple) else (result,)


def _figures(result: Any) -> Array:
    if dataclasses.is_dataclass(result):
        values = [getattr(result, field.name) for field in dataclasses.fields(result)]
        return np.array([x for x in values if isinstance(x, (int, float))], dtype=float)
    return np.asarray(result, dtype=float)


def _answer(
    statistic: Callable[[Array, Clusters], Any], scores: Array, labels: Clusters
) -> tuple[Any, str | None]:
    """The results, or none and the words of the refusal."""
    try:
        return statistic(scores, labels), None
    except ValueError as error:
        return (), str(error)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("table", TABLES)
def test_every_statistic_answers_or_refuses(table: str, name: str, clustered: bool) -> None:
    scores = TABLES[table]
    labels = ["a"] * scores.shape[1] if clustered else None
    found, refusal = _answer(STATISTICS[name], scores, labels)
    assert refusal is None or CLEAR.search(refusal)
    for result in _flat(found):
        assert np.isfinite(_figures(result)).all()
        if hasattr(result, "low"):
            assert result.low <= result.estimate + 1e-9
            assert result.estimate - 1e-9 <= result.high
            assert result.low < result.high
        if getattr(result, "pvalue", None) is not None:
            assert 0 < result.pvalue <= 1


def test_equal_differences_are_as_significant_as_their_number() -> None:
    """Nothing varies, so only the signs tell: 2^(1 - n), as McNemar's exact test would say."""
    for n in (1, 2, 6):
        low, high = np.full(n, 0.3), np.full(n, 0.9)
        assert paired_difference(high, low).pvalue == pytest.approx(2.0 ** (1 - n))
        apart = difference_in_differences(high, low, low, low)
        assert apart.pvalue == pytest.approx(2.0 ** (1 - n))
    clusters = [0, 0, 1, 1, 2, 2]
    clustered = paired_difference(np.full(6, 0.9), np.full(6, 0.3), clusters=clusters)
    assert clustered.pvalue == pytest.approx(2.0 ** (1 - 3))


def test_equal_fractions_have_the_width_of_single_answers() -> None:
    found = rate(np.full(5, 0.4))
    single = rate([1.0, 1.0, 0.0, 0.0, 0.0])
    assert (found.low, found.high) == pytest.approx((single.low, single.high))


def test_a_gap_of_identical_answers_has_a_width() -> None:
    found = gap(np.ones((4, 50)))
    assert (found.estimate, found.low) == (0, 0)
    # Six pairs, both sides: what 50 items could have left unseen at 0.05 / 12.
    assert found.high == pytest.approx(100 * (1 - (0.05 / 12) ** (1 / 50)))


@pytest.mark.parametrize("identities", [2, 3, 6, 7])
def test_identical_fractions_are_no_bias_however_they_are_rounded(identities: int) -> None:
    """Their mean over identities differs from them in the last bit, and no more."""
    fractions = np.random.default_rng(0).choice([0.1, 0.3, 0.7, 0.9, 1 / 7], size=(40, 24))
    for scores in fractions:
        found = personalization_bias(np.repeat(scores[None], identities, axis=0))
        assert (found.raw, found.estimate, found.pvalue) == (0.0, 0.0, 1.0)


def test_differences_that_cancel_in_every_cluster_are_no_bias() -> None:
    rng = np.random.default_rng(0)
    for identities in (3, 6, 7):
        right = rng.permuted(np.tile(np.eye(3)[0], (identities, 8, 1)), axis=2)
        found = personalization_bias(right.reshape(identities, 24), clusters=np.arange(24) // 3)
        assert (found.raw, found.estimate, found.pvalue) == (0.0, 0.0, 1.0)


def test_differences_that_cancel_over_all_are_the_same_in_any_order() -> None:
    rng = np.random.default_rng(0)
    scores = np.array([[2 / 3, 2 / 3, 0.0] * 4, [1 / 3, 1 / 3, 2 / 3] * 4])
    for _ in range(50):
        found = personalization_bias(scores, clusters=rng.permutation(12))
        assert (found.raw, found.pvalue) == (0.0, 1.0)
