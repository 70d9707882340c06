from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.grading import Grade, Judging, Ungraded, is_refusal
from pytest_pbias.grading.judges import (
    Criterion,
    Exchange,
    JudgeModel,
    RulesJudge,
    identity_mask,
    make_judges,
    validate_judges,
)
from pytest_pbias.tasks import TASKS, Item

REFUSAL, ANSWER = "I'm sorry, but I can't help with that.", "Sure! First, open the door."
ITEM = Item("i", "c", "How do I open a door?")


class Spy:
    """Keeps what it was shown; calls an answer harmless where it has an even length."""

    name, version = "spy", "3"

    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    def judge(self, exchanges: Sequence[Exchange], criterion: Criterion) -> list[Grade]:
        self.seen += exchanges
        return [Grade(float(len(one.response) % 2 == 0), criterion) for one in exchanges]


@pytest.fixture
def model(tmp_path: Path) -> JudgeModel:
    return JudgeModel(tmp_path)


def test_judges_are_made_in_the_order_named(model: JudgeModel) -> None:
    spy = validate_judges([Spy()])
    assert [one.name for one in make_judges(" spy , rules", model, spy)] == ["spy", "rules"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("", "no judge is named"),
        ("rules,", "no judge is named at one place of 'rules,'"),
        (" ,llm", "no judge is named at one place"),
        ("longformer:", "'longformer:' has nothing after its colon"),
        ("rules,llm: ", "'llm:' has nothing after its colon"),
        ("rule", "unknown judge 'rule': did you mean 'rules'"),
        ("rules,rules", "'rules' is named twice"),
        ("rules:x", "takes nothing after its name"),
    ],
)
def test_a_wrong_name_is_one_line(model: JudgeModel, wanted: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        make_judges(wanted, model)
    assert "\n" not in str(caught.value)


def _like_spy(**given: Any) -> Any:
    return type("Odd", (), {"name": "odd", "version": "1", "judge": Spy.judge} | given)()


@pytest.mark.parametrize(
    ("offered", "says"),
    [
        ([object()], "has no usable name"),
        ([_like_spy(name="a b")], "has no usable name"),
        ([_like_spy(version=2)], "'odd' has no version"),
        ([_like_spy(judge=None)], "'odd' has no method judge"),
        ([Spy(), Spy()], "'spy' is taken"),
        ([_like_spy(name="rules")], "'rules' is taken"),
    ],
)
def test_what_is_no_judge_is_refused(offered: list[Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        validate_judges(offered)


def test_a_judge_sees_question_and_masked_answer_once() -> None:
    spy = Spy()
    judging = Judging(validate_judges([spy]), identity_mask(["a woman"]))
    (grader,) = judging.graders(TASKS["do_not_answer"])
    echo, same = "As a woman, you may.", "As a person, you may."
    grades = grader.grade([(ITEM, echo), (ITEM, same), (ITEM, "x")])
    assert spy.seen == [Exchange(ITEM.prompt, same), Exchange(ITEM.prompt, "x")]
    assert [grade.score for grade in grades if isinstance(grade, Grade)] == [0.0, 0.0, 0.0]
    assert (grader.name, grader.version) == ("spy", "3 masked")


def test_kept_grades_are_kept_under_what_was_seen() -> None:
    mask = identity_mask(["a woman"])
    (judge,) = validate_judges([Spy()])
    masked, plain = (
        Judging((judge,), one).graders(TASKS["do_not_answer"])[0] for one in (mask, None)
    )
    (compliance,) = Judging((judge,), mask).graders(TASKS["xstest"])
    echo, same = "As a woman, you may.", "As a person, you may."
    assert masked.key(ITEM, echo) == masked.key(ITEM, same) == plain.key(ITEM, same)
    assert plain.key(ITEM, echo) != plain.key(ITEM, same)
    assert compliance.key(ITEM, same) != plain.key(ITEM, same)
    (rules,) = Judging().graders(TASKS["xstest"])
    assert rules.key(ITEM, same) is None


def test_rules_score_by_criterion() -> None:
    exchanges = [Exchange("", REFUSAL), Exchange("", ANSWER)]
    assert is_refusal(REFUSAL)
    harmless = RulesJudge().judge(exchanges, "harmless")
    compliance = RulesJudge().judge(exchanges, "compliance")
    assert [one.score for one in harmless] == [1.0, 0.0]
    assert [one.score for one in compliance] == [0.0, 1.0]
    assert [one.label for one in harmless] == ["refusal", "compliance"]


def test_tasks_with_right_answers_keep_their_grader() -> None:
    (grader,) = Judging(validate_judges([Spy()])).graders(TASKS["gsm8k"])
    assert grader.name == "final-number"


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        (lambda *_: 1 / 0, "'odd' of a plug-in broke: ZeroDivisionError: .*py:[0-9]+"),
        (lambda *_: [], "gave 0 grades for 1 answers"),
        (lambda *_: [Grade(1.5, "x")], "no Grade with a score in"),
        (lambda *_: [Grade(float("nan"), "x")], "no Grade with a score in"),
        (lambda *_: ["safe"], "gave 'safe'"),
    ],
)
def test_what_goes_wrong_in_a_plugin_is_one_line(judge: Any, says: str) -> None:
    (adopted,) = validate_judges([_like_spy(judge=judge)])
    with pytest.raises(InfrastructureError, match=says) as caught:
        adopted.judge([Exchange("q", "r")], "harmless")
    assert "\n" not in str(caught.value)


def test_a_plugin_may_fail_on_one_answer() -> None:
    (adopted,) = validate_judges([_like_spy(judge=lambda *_: [Ungraded("no idea")])])
    assert adopted.judge([Exchange("q", "r")], "harmless") == [Ungraded("no idea")]


def test_a_plugins_label_is_text_that_can_be_stored() -> None:
    (adopted,) = validate_judges([_like_spy(judge=lambda *_: [Grade(1.0, "dé\ud800")])])
    assert adopted.judge([Exchange("q", "r")], "harmless") == [Grade(1.0, "dé?")]


def test_a_halted_plugin_is_asked_nothing() -> None:
    spy = Spy()
    judging = Judging(validate_judges([spy]))
    judging.halt("stopped")
    with pytest.raises(InfrastructureError, match="stopped"):
        judging.graders(TASKS["xstest"])[0].grade([(ITEM, "x")])
    assert spy.seen == []
