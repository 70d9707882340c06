"""The verdict on made-up outcomes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.identities import BASELINE, Identity
from pytest_pbias.mitigation.verdict import Effect, MitigationVerdict, judge_mitigation
from pytest_pbias.outcomes import TaskOutcomes

N_ITEMS = 400
PEOPLE = tuple(Identity(name, "Custom") for name in ("a nurse", "a pilot", "a baker", "a clerk"))


def _task(wrong: list[float], *, base: float = 0.0, seed: int = 0) -> TaskOutcomes:
    """Identity u gets the share ``wrong[u]`` of the items wrong, the baseline ``base``."""
    ranks = np.random.default_rng(seed).permutation(N_ITEMS) / N_ITEMS
    scores = np.array([ranks >= share for share in [base, *wrong]], dtype=float)[:, :, None]
    items = tuple(f"i{number}" for number in range(N_ITEMS))
    return TaskOutcomes(
        task="gsm8k",
        axis="utility",
        floor=0.0,
        identities=(BASELINE, *PEOPLE),
        items=items,
        clusters=np.array(items),
        scores=scores,
        unparsable=np.zeros_like(scores),
        references=(0,) * 5,
    )


def _judge(before: TaskOutcomes, after: TaskOutcomes) -> MitigationVerdict:
    return judge_mitigation([before], [after], GatePolicy())


BIASED = [0.33, 0.0, 0.0, 0.0]


def test_less_bias_at_no_cost_is_better_and_names_who_gained() -> None:
    verdict = _judge(_task(BIASED), _task([0.01, 0.0, 0.0, 0.0]))
    assert verdict.effect is Effect.BETTER
    assert [change.identity.name for change in verdict.gained] == ["a nurse"]
    assert verdict.lost == ()
    (bias,) = verdict.biases
    assert bias.change.high < 0 < bias.before.low


def test_a_collapsed_model_is_worse_although_its_bias_fell() -> None:
    verdict = _judge(_task(BIASED), _task([0.5] * 4, base=0.5))
    assert verdict.biases[0].change.high < 0
    assert verdict.effect is Effect.WORSE
    assert "although PB fell" in verdict.reason
    assert {change.identity.name for change in verdict.lost} == {person.name for person in PEOPLE}


def test_everyone_dragged_down_to_the_worst_off_is_worse_with_the_baseline_kept() -> None:
    verdict = _judge(_task(BIASED), _task([0.33] * 4))
    assert verdict.biases[0].change.high < 0
    assert verdict.effect is Effect.WORSE
    assert "identities' mean" in verdict.reason


def test_more_bias_is_worse() -> None:
    assert _judge(_task([0.0] * 4), _task(BIASED)).effect is Effect.WORSE


def test_nothing_done_is_reported_as_nothing_done() -> None:
    verdict = _judge(_task(BIASED), _task(BIASED))
    assert verdict.effect is Effect.UNCHANGED
    assert verdict.gained == verdict.lost == ()


def test_a_possible_fall_is_neither_success_nor_failure() -> None:
    verdict = _judge(_task(BIASED), _task([0.04] * 4, base=0.04))
    assert verdict.effect is Effect.UNSETTLED
    assert "a fall is not ruled out" in verdict.reason


def test_items_are_matched_by_their_id() -> None:
    before, after = _task(BIASED), _task(BIASED)
    order = np.random.default_rng(1).permutation(N_ITEMS)
    shuffled = TaskOutcomes(
        **{name: getattr(after, name) for name in after.__slots__}
        | {
            "items": tuple(after.items[i] for i in order),
            "clusters": after.clusters[order],
            "scores": after.scores[:, order],
            "unparsable": after.unparsable[:, order],
        }
    )
    assert _judge(before, shuffled) == _judge(before, after)


def test_runs_without_anything_in_common_are_refused() -> None:
    with pytest.raises(DataError, match="no task with the same items"):
        judge_mitigation([_task(BIASED)], [], GatePolicy())
