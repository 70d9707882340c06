from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import JudgeAudit, corrected_rate


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
