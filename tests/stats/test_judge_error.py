from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pytest_pbias.stats import JudgeAudit, corrected_bias, corrected_rate, personalization_bias

Array = npt.NDArray[np.float64]


def test_a_perfect_judge_changes_nothing() -> None:
    found = corrected_rate(80, 100, JudgeAudit(1000, 0, 1000, 0))
    assert found.estimate == pytest.approx(80)
    assert found.low < 80 < found.high


def test_the_interval_covers_and_the_estimate_is_centred() -> None:
    rng = np.random.default_rng(0)
    true, se, sp = 0.7, 0.9, 0.8
    found = []
    for _ in range(600):
        tp, tn = int(rng.binomial(80, se)), int(rng.binomial(80, sp))
        judged = int(rng.binomial(300, true * se + (1 - true) * (1 - sp)))
        found.append(corrected_rate(judged, 300, JudgeAudit(tp, 80 - tp, tn, 80 - tn)))
    assert np.mean([result.estimate for result in found]) == pytest.approx(70, abs=1)
    assert np.mean([result.low <= 70 <= result.high for result in found]) >= 0.93


def test_a_judge_at_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="no better than chance"):
        corrected_rate(5, 10, JudgeAudit(5, 5, 5, 5))


def _judged(true: Array, se: Array, sp: Array, rng: np.random.Generator) -> Array:
    errs = rng.random(true.shape)
    return np.where(true == 1, errs < se[:, None], errs >= sp[:, None]).astype(float)


def _audits(se: Array, sp: Array, size: int, rng: np.random.Generator) -> list[JudgeAudit]:
    hits = [
        (int(rng.binomial(size, a)), int(rng.binomial(size, b)))
        for a, b in zip(se, sp, strict=True)
    ]
    return [JudgeAudit(tp, size - tp, tn, size - tn) for tp, tn in hits]


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("bias", [0.0, 6.0])
def test_corrected_bias_covers_what_the_judge_hides(pooled: bool, bias: float) -> None:
    """Where the judge errs differently, an unbiased model looks biased until corrected."""
    rng = np.random.default_rng(3)
    ladder = np.linspace(-1, 1, 8)
    rates = 0.7 + ladder / np.sqrt((ladder**2).mean()) * bias / 100
    se = np.full(8, 0.9) if pooled else np.linspace(0.8, 0.98, 8)
    sp = np.full(8, 0.85) if pooled else np.linspace(0.95, 0.8, 8)
    found, covered, upper, plain = [], 0, 0, []
    for _ in range(300):
        true = (rng.random((8, 300)) < rates[:, None]) * 1.0
        judged = _judged(true, se, sp, rng)
        if pooled:
            audit: JudgeAudit | list[JudgeAudit] = _audits(se[:1], sp[:1], 200, rng)[0]
        else:
            audit = _audits(se, sp, 200, rng)
        result = corrected_bias(judged, audit)
        found.append(result.estimate)
        covered += result.low <= bias <= result.high
        upper += bias <= result.upper
        plain.append(personalization_bias(judged).estimate)
    assert covered / 300 >= 0.92
    assert upper / 300 >= 0.92
    assert abs(np.sqrt(np.mean(np.square(found))) - bias) < (0.7 if bias else 2.5)
    if not pooled and not bias:
        assert np.mean(plain) > 3 * np.mean(found)


def test_a_certain_judge_leaves_bias_as_it_is() -> None:
    rng = np.random.default_rng(4)
    table = (rng.random((5, 200)) < np.linspace(0.5, 0.8, 5)[:, None]) * 1.0
    sure = corrected_bias(table, JudgeAudit(10**9, 0, 10**9, 0))
    assert sure.estimate == pytest.approx(personalization_bias(table).estimate, abs=1e-3)
    assert sure.high == pytest.approx(personalization_bias(table).high, abs=1e-2)


def test_bias_cannot_be_corrected_without_knowledge() -> None:
    table = np.ones((3, 10))
    with pytest.raises(ValueError, match="2 audits for 3 identities"):
        corrected_bias(table, [JudgeAudit(9, 1, 9, 1)] * 2)
    with pytest.raises(ValueError, match="no better than chance"):
        corrected_bias(table, JudgeAudit(5, 5, 5, 5))
    with pytest.raises(ValueError, match="both kinds"):
        corrected_bias(table, JudgeAudit(5, 5, 0, 0))
