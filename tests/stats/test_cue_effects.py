"""Effects of cues: intervals over items and wordings, contrasts, correlation across identities."""

import numpy as np
import pytest

from pytest_pbias.stats import (
    cue_contrast,
    cue_effect,
    effect_correlation,
    heterogeneity_pvalue,
    paired_difference,
)


def answers(n: int, effects: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A cell and its reference, most answers shared; ``effects`` has each item's shift."""
    rate, luck = np.clip(rng.normal(0.55, 0.15, n), 0.25, 0.75), rng.random(n)
    reference = (luck < rate).astype(float)
    again = np.where(rng.random(n) < 0.7, luck, rng.random(n))
    return (again < rate + effects).astype(float), reference


def test_without_wordings_it_is_the_paired_difference():
    cell, reference = answers(200, np.full(200, -0.1), np.random.default_rng(1))
    found = cue_effect(cell, reference)
    paired = paired_difference(cell, reference)
    assert (found.estimate, found.low, found.high) == (paired.estimate, paired.low, paired.high)
    assert (found.pvalue, found.n_wordings) == (paired.pvalue, (1,))


def test_one_wording_that_all_items_share_adds_nothing():
    cell, reference = answers(200, np.full(200, -0.1), np.random.default_rng(1))
    one = cue_effect(cell, reference, wordings=np.zeros(200, dtype=int))
    assert one == cue_effect(cell, reference)


def test_an_effect_of_one_wording_only_is_not_an_effect_of_the_cue():
    n = 400
    wording = np.arange(n) % 4
    cell, reference = answers(n, np.where(wording == 0, -0.5, 0.0), np.random.default_rng(2))
    assert paired_difference(cell, reference).high < 0  # over items alone it would be one
    found = cue_effect(cell, reference, wordings=wording)
    assert found.low < 0 < found.high
    assert found.pvalue > 0.05
    assert found.n_wordings == (4,)


def test_an_effect_of_all_wordings_is():
    n = 400
    cell, reference = answers(n, np.full(n, -0.2), np.random.default_rng(3))
    assert cue_effect(cell, reference, wordings=np.arange(n) % 4).high < 0


def test_the_oracle_of_balanced_wordings_is_the_t_test_of_their_means():
    from scipy import stats as sps

    n, wording = 400, np.arange(400) % 5
    shifts = np.array([-0.2, 0.1, 0.2, -0.1, 0.15])
    cell, reference = answers(n, shifts[wording], np.random.default_rng(4))
    means = [100 * float((cell - reference)[wording == k].mean()) for k in range(5)]
    low, high = sps.t.interval(0.95, 4, loc=np.mean(means), scale=sps.sem(means))
    found = cue_effect(cell, reference, wordings=wording)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.pvalue == pytest.approx(sps.ttest_1samp(means, 0.0).pvalue)


@pytest.mark.parametrize(("wordings", "spread"), [(4, 0.0), (4, 0.1), (8, 0.1)])
def test_the_interval_covers_wordings_that_were_not_asked(wordings, spread):
    rng, n, trials = np.random.default_rng(5), 200, 300
    covered = naive = 0
    for _ in range(trials):
        label = rng.integers(0, wordings, n)
        shift = np.clip(rng.normal(0, spread, wordings), -0.25, 0.25)
        cell, reference = answers(n, shift[label], rng)
        found = cue_effect(cell, reference, wordings=label)
        covered += found.low <= 0 <= found.high
        alone = paired_difference(cell, reference)
        naive += alone.low <= 0 <= alone.high
    assert covered / trials >= 0.92
    if spread:
        assert naive / trials < 0.9  # which is why


def test_contrasts_of_equal_effects_are_rarely_told_apart():
    rng, n, trials = np.random.default_rng(6), 200, 200
    rejected = 0
    for _ in range(trials):
        one, two = rng.integers(0, 4, n), rng.integers(0, 6, n)
        first = answers(n, -0.1 + np.clip(rng.normal(0, 0.06, 4), -0.1, 0.1)[one], rng)
        second = answers(n, -0.1 + np.clip(rng.normal(0, 0.06, 6), -0.1, 0.1)[two], rng)
        rejected += cue_contrast(first, second, wordings=(one, two)).pvalue <= 0.05
    assert rejected / trials <= 0.08


def test_a_direction_that_turns_is_told():
    rng, n = np.random.default_rng(7), 400
    stated = answers(n, np.full(n, -0.2), rng)
    profile = answers(n, np.full(n, 0.2), rng)
    found = cue_contrast(stated, profile, wordings=(None, np.arange(n) % 4))
    assert found.low > 20
    assert found.pvalue < 0.01
    assert found.n_wordings == (1, 4)


def test_a_contrast_without_any_change_is_not_of_zero_width():
    right = np.ones(50)
    found = cue_contrast((right, right), (right, right))
    assert found.estimate == 0
    assert found.low < -5
    assert found.high > 5
    opposite = cue_contrast((right, 0 * right), (0 * right, right))
    assert (opposite.estimate, opposite.low) == (-200, -200)
    assert -200 < opposite.high < -150


def test_clusters_widen_a_contrast():
    rng, n = np.random.default_rng(8), 200
    group = np.arange(n) // 20
    shift = rng.normal(0, 0.2, 10)[group]
    first, second = answers(n, np.zeros(n), rng), answers(n, np.clip(shift, -0.25, 0.25), rng)
    alone = cue_contrast(first, second)
    clustered = cue_contrast(first, second, clusters=group)
    assert clustered.high - clustered.low > alone.high - alone.low


def test_heterogeneity_counts_the_pairs():
    rng, n = np.random.default_rng(9), 300
    cues = [answers(n, np.full(n, effect), rng) for effect in (-0.25, 0.0, 0.0)]
    pairs = [cue_contrast(cues[a], cues[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    smallest = min(pair.pvalue for pair in pairs)
    assert heterogeneity_pvalue(pairs) == pytest.approx(3 * smallest)
    assert heterogeneity_pvalue([]) == 1.0


def test_correlation_of_effects_with_fishers_interval():
    x = np.arange(31.0)
    found = effect_correlation(x, x + 10 * np.sin(x))
    assert found is not None
    assert found.estimate == pytest.approx(np.corrcoef(x, x + 10 * np.sin(x))[0, 1])
    assert -1 < found.low < found.estimate < found.high < 1
    perfect = effect_correlation(x, -x)
    assert perfect is not None
    assert perfect.estimate == pytest.approx(-1)
    assert effect_correlation(x, np.zeros(31)) is None
    assert effect_correlation(x[:3], x[:3]) is None


def test_what_is_no_effect_is_refused():
    with pytest.raises(ValueError, match="same items"):
        cue_contrast((np.ones(3), np.ones(3)), (np.ones(4), np.ones(4)))
    with pytest.raises(ValueError, match="one wording an item"):
        cue_effect(np.ones(3), np.ones(3), wordings=[1, 2])
    with pytest.raises(ValueError, match="no item"):
        cue_contrast((np.ones(1), np.ones(1)), (np.ones(1), np.full(1, np.nan)))
    with pytest.raises(ValueError, match="both cues"):
        effect_correlation([1.0, 2.0], [1.0])
