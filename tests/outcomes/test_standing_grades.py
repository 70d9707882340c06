"""What a provider's filter stopped, and refusals in a field of their own: grades and rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, questions_of
from pytest_pbias.grading import Judging
from pytest_pbias.grading.standing import ProviderRefusals
from pytest_pbias.models.chat import BLOCKED, REFUSED, Response, Sampling
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes.regrading import DataOptions, regrade
from pytest_pbias.outcomes.scoring import ScoredCell, outcome_rows, score_cell
from pytest_pbias.prompts import default_identities
from pytest_pbias.tasks import load_task, resolve_task

WOMAN = next(one for one in default_identities() if one.name == "a woman")
PROTOCOL = RequestSettings("endpoint m", "system", Sampling(), repeats=1, seed=0)
HARMFUL = "Sure. Step 1: take the thing. Step 2: use it."


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def scored(
    store: Store, name: str, said: str, finish: str, rule: ProviderRefusals = "grade"
) -> ScoredCell:
    task = resolve_task(name)
    data, cell = load_task(task, data_dir=data_dir(), limit=3), Cell(task, WOMAN)
    keys = [one.request.key for one in questions_of(cell, data, PROTOCOL)]
    store.put_many(Response(key, said, finish, None, None, 0.1) for key in keys)
    return score_cell(cell, data, PROTOCOL, store, {}, provider_refusals=rule)


@pytest.mark.parametrize("said", ["", HARMFUL])
@pytest.mark.parametrize(
    ("task", "score", "parsable"),
    [
        ("do_not_answer", 1.0, True),
        ("strongreject", 1.0, True),
        ("xstest", 0.0, False),
        ("mmlu", 0.0, False),
        ("gsm8k", 0.0, False),
        ("mbpp", 0.0, False),
    ],
)
def test_what_the_provider_stops_is_its_refusal_or_no_answer(
    store: Store, task: str, score: float, parsable: bool, said: str
) -> None:
    cell = scored(store, task, said, BLOCKED)
    assert cell.missing == 0
    found = {(one.score, one.label, one.parsable) for one in cell.grades if one is not None}
    assert found == {(score, "provider refusal", parsable)}


@pytest.mark.parametrize("task", ["do_not_answer", "mmlu"])
def test_an_option_makes_it_an_error_and_the_answer_stays(store: Store, task: str) -> None:
    cell = scored(store, task, "", BLOCKED, "error")
    assert cell.missing == 3
    assert set(cell.errors) == {"the provider's content filter stopped the answer"}
    assert store.count() == 3  # it is never asked again


@pytest.mark.parametrize("said", ["Not this one.", HARMFUL])
@pytest.mark.parametrize(
    ("task", "score", "label"),
    [("do_not_answer", 1.0, "refusal"), ("xstest", 0.0, "refusal"), ("mmlu", 0.0, "unparsable")],
)
def test_a_refusal_in_its_field_is_one_whatever_its_words(
    store: Store, task: str, score: float, label: str, said: str
) -> None:
    cell = scored(store, task, said, REFUSED)
    assert {(one.score, one.label) for one in cell.grades if one is not None} == {(score, label)}


def test_other_judges_give_no_grade_where_there_is_nothing_to_judge(store: Store) -> None:
    from pytest_pbias.grading.judges import RulesJudge
    from pytest_pbias.grading.judges.judging import JudgedGrader

    task = resolve_task("do_not_answer")
    data, cell = load_task(task, data_dir=data_dir(), limit=3), Cell(task, WOMAN)
    keys = [one.request.key for one in questions_of(cell, data, PROTOCOL)]
    store.put_many(Response(key, "", BLOCKED, None, None, 0.1) for key in keys)
    judges = [JudgedGrader(RulesJudge(name=name), "harmless") for name in ("one", "two")]
    found = score_cell(cell, data, PROTOCOL, store, {}, judges)
    assert found.others[0].grades == (None,) * 3
    rows = outcome_rows(found, run_id="r", model="m")
    assert rows.text("other_grades") == [None] * 3


@pytest.mark.parametrize("task", ["do_not_answer", "mmlu"])
def test_grading_again_keeps_it_and_may_decide_otherwise(store: Store, task: str) -> None:
    table = outcome_rows(scored(store, task, "", BLOCKED), run_id="r", model="m")
    options = DataOptions(data_dir=data_dir())
    same, changes = regrade(table, options, Judging())
    assert same.text("label") == ["provider refusal"] * 3
    assert [one.changed for one in changes] == [0]
    errors, _ = regrade(table, options, Judging(provider_refusals="error"))
    assert errors.text("score") == [None] * 3
    assert set(errors.errors()) == {"the provider's content filter stopped the answer"}
    back, _ = regrade(errors, options, Judging())
    assert back.text("score") == table.text("score")
    assert back.errors() == ()
