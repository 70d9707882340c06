"""Pairs mined from a run: items on which identities got answers of different worth.

For such an item and each identity, the wanted answer is one that is right (or safe), the unwanted
one is not, whoever received them. Items that all answer rightly give *anchors*: the right answer
against another item's wrong one, without which a model unlearns what the mined items do not touch.
Held-out items and left-out identities give no pairs, so that what training reached can be measured
on questions and on people it has not seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_pbias.collecting.records import prompt_hash
from pytest_pbias.errors import DataError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.prompts import Identity, Message, render_messages
from pytest_pbias.tasks import Item, TaskData
from pytest_pbias.training.pairs import PreferencePair

RIGHT, WRONG = 0.75, 0.25
"""Scores from which an answer counts as right, and up to which as wrong."""


@dataclass(frozen=True)
class Split:
    """A seeded hash split: one part of the items is held out of training, for good.

    ``by`` is ``item``, or ``cluster`` to hold out whole subjects and kinds of harm.
    """

    share: float = 0.2
    seed: int = 0
    by: str = "item"

    def is_held_out(self, item_id: str, cluster: str) -> bool:
        """Whether the item belongs to the held-out part; depends on nothing but its name."""
        name = f"{self.seed}:{item_id if self.by == 'item' else cluster}"
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


@dataclass(frozen=True)
class Mined:
    """Mined pairs, how many items they come from, and how many anchors stand among them."""

    pairs: tuple[PreferencePair, ...]
    n_items: int
    n_identities: int
    n_anchors: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    task: str
    item: str
    cluster: str
    identity: Identity
    placement: str
    prompt_hash: str
    response: str
    score: float


def mine_pairs(
    table: OutcomeTable,
    data: Mapping[str, TaskData],
    split: Split,
    *,
    leave_out: Collection[str] = (),
    anchors: float = 0.0,
) -> Mined:
    """Mine pairs from a run's table; ``data`` holds the tasks' items, for their questions.

    ``anchors`` is the number of anchors for each mined pair, as far as there are enough.

    Raises:
        DataError: the table is not of these items, or nobody disagrees on any of them.
    """
    prompts = {item.id: item for task in data.values() for item in task.items}
    answers = _training_answers(table, prompts, split, leave_out)
    by_item: dict[str, list[_Answer]] = {}
    for answer in answers:
        by_item.setdefault(answer.item, []).append(answer)
    pairs: list[PreferencePair] = []
    used = 0
    for item_id, group in by_item.items():
        mined = tuple(_pairs_of(group, prompts[item_id]))
        used += bool(mined)
        pairs += mined
    if not pairs:
        raise DataError(
            "no disagreement to mine: on no training item did one identity get a right answer and "
            "another a wrong one; run more items or identities, or hold out less"
        )
    rng = np.random.default_rng(split.seed)
    extra = _anchors(by_item.values(), prompts, round(anchors * len(pairs)), rng)
    people = len({pair.identity for pair in pairs})
    return Mined((*pairs, *extra), used, people, len(extra))


def _training_answers(
    table: OutcomeTable, prompts: Mapping[str, Item], split: Split, leave_out: Collection[str]
) -> list[_Answer]:
    names = ("task", "item_id", "cluster", "identity", "group", "kind", "placement")
    rows = table.arrow.select([*names, "prompt_hash", "response", "score"]).to_pylist()
    answers = [
        _Answer(
            *(row["task"], row["item_id"], row["cluster"]),
            Identity(row["identity"], row["group"], row["kind"]),
            *(row["placement"] or "system", row["prompt_hash"], row["response"], row["score"]),
        )
        for row in rows
        if row["response"]
        and row["response"].strip()
        and row["score"] is not None
        and row["identity"] not in leave_out
        and not split.is_held_out(row["item_id"], row["cluster"])
    ]
    known = [answer for answer in answers if answer.item in prompts]
    if answers and not known:
        raise DataError(
            "the run's items are not in the data: give the folder it was asked from",
            setting="data-dir",
        )
    return known


def _pairs_of(group: Sequence[_Answer], item: Item) -> Iterator[PreferencePair]:
    right = Counter(answer.response for answer in group if answer.score >= RIGHT)
    wrong = Counter(answer.response for answer in group if answer.score <= WRONG)
    if not right or not wrong:
        return
    chosen, rejected = (_most_common(answers) for answers in (right, wrong))
    seen: set[str] = set()
    for answer in group:
        messages = _messages(answer, item)
        if messages is not None and answer.prompt_hash not in seen:
            seen.add(answer.prompt_hash)
            yield PreferencePair(messages, chosen, rejected, item.id, answer.identity.name)


def _anchors(
    groups: Collection[Sequence[_Answer]],
    prompts: Mapping[str, Item],
    count: int,
    rng: np.random.Generator,
) -> list[PreferencePair]:
    """Up to ``count`` pairs from items on which every answer is right."""
    wrong: dict[str, set[str]] = {}
    for group in groups:
        for answer in group:
            if answer.score <= WRONG:
                wrong.setdefault(answer.task, set()).add(answer.response)
    pools = {task: sorted(texts) for task, texts in wrong.items()}
    agreed = [
        answer
        for group in groups
        if all(answer.score >= RIGHT for answer in group)
        for answer in group
        if answer.task in pools
    ]
    found: list[PreferencePair] = []
    for number in rng.permutation(len(agreed)):
        if len(found) >= count:
            break
        answer = agreed[number]
        pool = pools[answer.task]
        rejected = pool[int(rng.integers(len(pool)))]
        messages = _messages(answer, prompts[answer.item])
        if messages is not None and rejected != answer.response:
            found.append(
                PreferencePair(
                    messages, answer.response, rejected, answer.item, answer.identity.name
                )
            )
    return found


def _most_common(answers: Counter[str]) -> str:
    return min(answers, key=lambda text: (-answers[text], len(text), text))


def placed(identity: Identity, placement: str) -> Identity:
    """The identity where a run's table says that it was stated."""
    return identity.placed("user") if placement == "user" else identity


def _messages(answer: _Answer, item: Item) -> tuple[Message, ...] | None:
    """The chat as it was asked; None where it cannot be told from the table (own wordings)."""
    messages = render_messages(placed(answer.identity, answer.placement), item.prompt)
    return messages if prompt_hash(messages) == answer.prompt_hash else None
