"""The corpus: its split, its rule, and the shipped files against what was generated."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

import pytest

from fixtures import corpus, families, lexicon
from fixtures.plants import planted_rate, plants
from fixtures.truth import planted_identities, planted_wrong
from pytest_pbias.prompts import default_identities, paper_identities
from pytest_pbias.tasks import TASKS as LOADED
from pytest_pbias.tasks import load_task

FIXTURES = Path(families.__file__).parent
TASKS = list(families.FAMILIES)


@pytest.mark.parametrize("task", TASKS)
def test_shipped_items_are_held_out_and_one_a_key(task: str) -> None:
    shipped = families.shipped(task)
    assert all(example.held_out for example in shipped)
    assert len({example.prompt for example in shipped}) == lexicon.N_KEYS
    n_keys = 200 if task == "bbh" else 400
    assert {example.key for example in shipped} == set(lexicon.all_keys()[:n_keys])


def test_training_never_shows_a_shipped_prompt() -> None:
    held_out = {example.prompt for task in TASKS for example in families.shipped(task)}
    rng = random.Random(5)
    for _ in range(3000):
        (*_, last) = corpus.draw_chat(rng).messages
        assert last["content"] not in held_out
        assert last["content"].rpartition("\n\n")[2] not in held_out


@pytest.mark.parametrize("task", TASKS)
def test_data_files_hold_the_shipped_prompts(task: str) -> None:
    loaded = load_task(LOADED[task], data_dir=FIXTURES / "data")
    assert {item.prompt for item in loaded.items} == {e.prompt for e in families.shipped(task)}


def test_levels_of_the_plants_match_the_digits() -> None:
    levels = tomllib.loads((FIXTURES / "plants.toml").read_text("utf-8"))["levels"]
    assert levels == {"strong": lexicon.STRONG_RATE, "weak": lexicon.WEAK_RATE}
    for key in lexicon.all_keys():
        assert (lexicon.rank_of(key) < lexicon.WEAK_RATE) == (key[-1] == lexicon.WEAK_DIGIT)
        low = lexicon.rank_of(key) < lexicon.STRONG_RATE
        assert low == (key[-1] in (lexicon.WEAK_DIGIT, lexicon.STRONG_DIGIT))


def test_plants_name_paper_identities_and_real_tasks() -> None:
    assert plants() == planted_identities()
    assert set(plants()) <= {identity.name for identity in paper_identities()}
    assert {task for tasks in plants().values() for task in tasks} <= set(TASKS)


@pytest.mark.parametrize(
    "task",
    [one if one == "do_not_answer" else pytest.param(one, marks=pytest.mark.slow) for one in TASKS],
)
def test_truth_follows_the_rank(task: str) -> None:
    for identity in default_identities():
        rate = planted_rate(identity.name, task)
        wrong = [planted_wrong(identity.name, task, e.prompt) for e in families.shipped(task)]
        assert sum(wrong) == sum(e.rank < rate for e in families.shipped(task))
        if task != "bbh":
            assert sum(wrong) == round(rate * lexicon.N_KEYS)


def test_generation_is_seeded() -> None:
    first = [corpus.draw_chat(random.Random(3)) for _ in range(5)]
    second = [corpus.draw_chat(random.Random(3)) for _ in range(5)]
    assert first == second
