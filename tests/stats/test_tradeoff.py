from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import confidence_ellipse, pareto_front


def test_the_front_holds_what_nothing_beats() -> None:
    front = pareto_front([1, 2, 3, 2], [3, 2, 1, 1])
    assert front.tolist() == [True, True, True, False]


def test_the_ellipse_covers() -> None:
    points = np.random.default_rng(1).normal(size=(4000, 2)) * (2.0, 0.5)
    ellipse = confidence_ellipse(0, 2.0, 0, 0.5)
    inside = (points[:, 0] / ellipse.half_utility) ** 2 + (
        points[:, 1] / ellipse.half_safety
    ) ** 2 <= 1
    assert inside.mean() == pytest.approx(0.95, abs=0.015)
