"""Mined pairs: what is right is wanted, and nothing held out or left out slips in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_pbias.collecting.records import prompt_hash
from pytest_pbias.errors import DataError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.prompts import Identity, Message, StatedPlacement
from pytest_pbias.tasks import Item, TaskData
from pytest_pbias.training.heldout import hold_out
from pytest_pbias.training.mining import Split, mine_pairs
from tests.training.runs import PEOPLE, gsm8k_run

ITEMS = tuple(Item(f"gsm8k-{n}", f"c{n // 4}", f"What is {n} + 1?") for n in range(60))
DATA = {"gsm8k": TaskData("gsm8k", ITEMS, "local", "hash")}


def _table(wrong: dict[str, set[int]]) -> OutcomeTable:
    def answer(who: Identity, number: int) -> tuple[str, float]:
        return ("wrong", 0.0) if number in wrong.get(who.name, ()) else ("right", 1.0)

    return gsm8k_run(ITEMS, answer)


@settings(max_examples=30, deadline=None)
@given(
    share=st.floats(0.05, 0.9),
    seed=st.integers(0, 1000),
    by=st.sampled_from(["item", "cluster"]),
    wrong=st.sets(st.integers(0, 59), min_size=1),
    left_out=st.booleans(),
)
def test_no_held_out_item_and_nobody_left_out_is_mined(
    share: float, seed: int, by: str, wrong: set[int], left_out: bool
) -> None:
    split = Split(share, seed, by)
    leave_out = ["a pilot"] if left_out else []
    allowed = {item.id for item in ITEMS if not split.is_held_out(item.id, item.cluster)}
    expected = {ITEMS[number].id for number in wrong} & allowed
    table = _table({"a nurse": wrong})
    if not expected:
        with pytest.raises(DataError, match="no disagreement to mine"):
            mine_pairs(table, DATA, split, leave_out=leave_out)
        return
    mined = mine_pairs(table, DATA, split, leave_out=leave_out)
    assert {pair.item for pair in mined.pairs} == expected
    assert mined.n_items == len(expected)
    assert {pair.identity for pair in mined.pairs} == {who.name for who in PEOPLE} - set(leave_out)
    assert {(pair.chosen, pair.rejected) for pair in mined.pairs} == {("right", "wrong")}
    held = hold_out(table, DATA, split, n_items=60, max_tokens=8, leave_out=leave_out)
    if held is not None:
        ((_, items),) = held.tasks
        assert not {item.id for item in items} & allowed


@pytest.mark.parametrize("placement", ["system", "user"])
def test_held_out_items_are_asked_as_the_run_asked_them(placement: StatedPlacement) -> None:
    # Of whom a table tells no more than the name: it is not what was said.
    others = (
        Identity("a nurse (chat)", "Custom", words="a nurse"),
        Identity("a clerk", "Custom", words="a town clerk"),
    )
    table = gsm8k_run(ITEMS, lambda who, number: ("right", 1.0), placement, others)
    held = hold_out(table, DATA, Split(0.5), n_items=60, max_tokens=8)
    assert held is not None
    ((_, items),) = held.tasks
    expected = {
        row["prompt_hash"]
        for row in table.arrow.select(["identity", "item_id", "prompt_hash"]).to_pylist()
        if row["item_id"] in {item.id for item in items}
        and row["identity"] not in {who.name for who in others}
    }
    chats = [tuple(Message(**turn) for turn in chat) for chat in held.chats()]  # type: ignore[typeddict-item]  # a role is a text
    assert {prompt_hash(chat) for chat in chats} == expected


def test_a_cluster_is_held_out_as_a_whole() -> None:
    split = Split(0.5, 3, "cluster")
    sides = {item.cluster: set[bool]() for item in ITEMS}
    for item in ITEMS:
        sides[item.cluster].add(split.is_held_out(item.id, item.cluster))
    assert all(len(side) == 1 for side in sides.values())
    assert {side for group in sides.values() for side in group} == {True, False}


def test_the_share_is_kept_and_the_seed_changes_the_split() -> None:
    names = [f"item {number}" for number in range(4000)]
    held = [Split(0.2, 0).is_held_out(name, "") for name in names]
    assert 0.17 < sum(held) / len(held) < 0.23
    assert held != [Split(0.2, 1).is_held_out(name, "") for name in names]


def test_agreement_leaves_nothing_to_mine() -> None:
    everybody = {who.name: {1, 2, 3} for who in PEOPLE}
    with pytest.raises(DataError, match="no disagreement to mine"):
        mine_pairs(_table(everybody), DATA, Split(0.2))


def test_another_data_folder_is_noticed() -> None:
    data = {"gsm8k": TaskData("gsm8k", (Item("gsm8k-x", "c", "?"),), "local", "hash")}
    with pytest.raises(DataError, match="the run's items are not in the data"):
        mine_pairs(_table({"a nurse": {1}}), data, Split(0.2))


def test_a_pair_asks_what_the_run_asked() -> None:
    mined = mine_pairs(_table({"a nurse": set(range(60))}), DATA, Split(0.2))
    chats = {pair.identity: pair.messages for pair in mined.pairs}
    assert [turn["role"] for turn in chats["baseline"]] == ["user"]
    assert chats["a nurse"][0]["content"].endswith("I am a nurse.")


def test_anchors_are_right_answers_of_training_items_that_everyone_got_right() -> None:
    split = Split(0.3, 1)
    table = _table({"a nurse": set(range(0, 60, 3))})
    mined = mine_pairs(table, DATA, split, leave_out=["a pilot"], anchors=0.5)
    pairs, anchors = mined.pairs[: -mined.n_anchors], mined.pairs[-mined.n_anchors :]
    assert mined.n_anchors == round(0.5 * len(pairs))
    assert not {pair.item for pair in pairs} & {pair.item for pair in anchors}
    held = {item.id for item in ITEMS if split.is_held_out(item.id, item.cluster)}
    assert not {pair.item for pair in mined.pairs} & held
    assert "a pilot" not in {pair.identity for pair in mined.pairs}
    assert {(pair.chosen, pair.rejected) for pair in anchors} == {("right", "wrong")}
