"""How often the comparison of cues errs, simulated through the finding that reports show."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from pytest_pbias.analysis.cues import CuePair, summarize_cues
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import TaskOutcomes
from pytest_pbias.prompts import Identity
from pytest_pbias.prompts.identity import Kind

PEOPLE = tuple(f"person {letter}" for letter in "abcdef")
POLICY = GatePolicy(reference="control")
N, WORDINGS, ROUNDS = 400, 4, 120
KINDS: dict[str, Kind] = {"baseline": "baseline", "a person": "control"}
Array = npt.NDArray[np.float64]


def _task(rng: np.random.Generator, stated: float, profile: float, spread: float) -> TaskOutcomes:
    """Everybody's shift by either cue, in points; ``spread`` is that of a profile's wordings.

    A control and a baseline stand beside them by each cue, and any profile costs ten points.
    """
    rate, luck = rng.uniform(0.4, 0.6, N), rng.random(N)
    identities, scores, wordings, places = [], [], [], []
    for cue in ("stated", "profile"):
        wording = rng.integers(0, WORDINGS, N)
        for name in ("baseline", "a person", *PEOPLE):
            kind = KINDS.get(name, "identity")
            own: Array = np.zeros(N)
            if kind == "identity" and cue == "stated":
                own = np.full(N, stated)
            elif kind == "identity":
                own = profile + np.clip(rng.normal(0, spread, WORDINGS), -15, 15)[wording]
            own = own - (10 if cue == "profile" and kind != "baseline" else 0)
            again = np.where(rng.random(N) < 0.8, luck, rng.random(N))
            scores.append(again < rate + own / 100)
            wordings.append(wording if cue == "profile" else np.full(N, -1))
            battery = "" if cue == "stated" else cue
            shown = name if cue == "stated" else f"{name} ({cue})"
            identities.append(Identity(shown, kind, kind, battery=battery))
            places.append("none" if (cue, kind) == ("stated", "baseline") else "system")
    size = 2 + len(PEOPLE)
    return TaskOutcomes(
        task="t",
        axis="utility",
        floor=0.0,
        identities=tuple(identities),
        items=tuple(f"i{number}" for number in range(N)),
        clusters=np.arange(N).astype(np.str_),
        scores=np.array(scores, dtype=np.float64)[:, :, None],
        unparsable=np.zeros((len(identities), N, 1)),
        references=(0,) * size + (size,) * size,
        placements=tuple(places),
        wordings=np.array(wordings, dtype=np.int64),
    )


def _pairs(stated: float, profile: float, spread: float, rounds: int = ROUNDS) -> Iterator[CuePair]:
    rng = np.random.default_rng([round(10 * stated) % 997, round(10 * profile) % 997, 17])
    for _ in range(rounds):
        (found,) = summarize_cues({"none": [_task(rng, stated, profile, spread)]}, POLICY)
        (pair,) = found.pairs
        yield pair


def _at_most(level: float, trials: int) -> float:
    """The level and three of its Monte-Carlo errors."""
    return level + 3 * math.sqrt(level * (1 - level) / trials)


@pytest.mark.parametrize("spread", [0.0, 5.0])
def test_that_anybody_differs_is_said_at_the_level_where_nobody_does(spread: float) -> None:
    wrong = sum(bool(pair.differ) for pair in _pairs(-10, -10, spread))
    assert wrong / ROUNDS <= _at_most(POLICY.alpha, ROUNDS)


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_that_cues_agree_is_rarely_said_where_they_are_a_margin_apart(spread: float) -> None:
    margin = POLICY.margin["utility"]
    for profile in (-10 - margin, -10 + margin):
        said = [len(pair.agree) for pair in _pairs(-10, profile, spread, rounds=60)]
        # People share controls: rounds are what is independent.
        assert sum(said) / (len(PEOPLE) * len(said)) <= _at_most(POLICY.alpha, len(said))


def test_a_direction_that_turns_is_found_and_none_is_made_up() -> None:
    turned = [len(pair.turns) for pair in _pairs(-20, 20, 2, rounds=20)]
    assert sum(turned) >= 0.9 * len(PEOPLE) * len(turned)
    for pair in _pairs(-20, 0, 2, rounds=20):
        assert set(pair.turns) <= set(pair.differ)
        assert len(pair.turns) <= 1
