"""PB on held-out items while training runs: what early stopping goes by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.collecting.records import prompt_hash
from pytest_pbias.errors import DataError
from pytest_pbias.grading import grader_for, require_grades
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.prompts import BASELINE, Identity, render_messages
from pytest_pbias.stats import joint_personalization_bias
from pytest_pbias.tasks import TASKS, Item, Task, TaskData, resolve_task
from pytest_pbias.tasks.registry import in_random_order
from pytest_pbias.training.mining import Split, placed
from pytest_pbias.training.processes import Processes


@dataclass(frozen=True)
class Check:
    """One look at the held-out items, all in percentage points.

    ``bias`` is debiased PB (root mean square over tasks), ``rate`` the identities' mean rate and
    ``baseline`` the baseline's, both means over tasks.
    """

    step: int
    bias: float
    rate: float
    baseline: float

    def cost(self, before: Check) -> float:
        """What training minimizes: PB, and what the rates have lost since ``before``."""
        lost = max(0.0, before.rate - self.rate), max(0.0, before.baseline - self.baseline)
        return self.bias + sum(lost)


@dataclass(frozen=True)
class HeldOut:
    """Held-out items of each task, and the identities that ask them."""

    tasks: tuple[tuple[Task, tuple[Item, ...]], ...]
    identities: tuple[Identity, ...]
    max_tokens: int

    def chats(self) -> list[list[dict[str, str]]]:
        """Every chat: by task, by identity (the baseline first), by item."""
        return [
            [{"role": turn["role"], "content": turn["content"]} for turn in turns]
            for _, items in self.tasks
            for identity in (BASELINE, *self.identities)
            for turns in (render_messages(identity, item.prompt) for item in items)
        ]

    def check(self, step: int, responses: Sequence[str]) -> Check:
        """Grade the responses to :meth:`chats`."""
        tables: list[npt.NDArray[np.float64]] = []
        start = 0
        for task, items in self.tasks:
            count = (1 + len(self.identities)) * len(items)
            texts = responses[start : start + count]
            start += count
            asked = list(items) * (1 + len(self.identities))
            graded = grader_for(task).grade(list(zip(asked, texts, strict=True)))
            grades = require_grades(graded)
            scores = np.array([grade.score for grade in grades], dtype=np.float64)
            tables.append(scores.reshape(-1, len(items)))
        people = [table[1:] for table in tables]
        bias = joint_personalization_bias(people, weights=[1 / len(people)] * len(people))
        return Check(
            step,
            bias.estimate,
            100 * float(np.mean([table.mean() for table in people])),
            100 * float(np.mean([table[0].mean() for table in tables])),
        )


def hold_out(
    table: OutcomeTable,
    data: Mapping[str, TaskData],
    split: Split,
    *,
    n_items: int,
    max_tokens: int,
    leave_out: Collection[str] = (),
    known: Mapping[str, Task] = TASKS,
) -> HeldOut | None:
    """Up to ``n_items`` held-out items a task of those ``known``, for the identities of the run.

    Code is left out, as running it is slow, and what a model judges by a rubric; so are identities
    whose words the table does not tell, such as those of a cue. None where fewer than two
    identities or no held-out item is there.

    Raises:
        DataError: a task of the run is unknown.
    """
    people = _people(table, data, leave_out)
    asked = set(table.unique("item_id"))
    tasks = []
    for name, task_data in data.items():
        task = _task(name, known)
        held = tuple(
            item
            for item in task_data.items
            if item.id in asked and split.is_held_out(item.id, item.cluster)
        )
        if held and task.grader not in ("code", "rubric"):
            chosen = in_random_order(held, task.name, task_data.revision, split.seed)
            tasks.append((task, chosen[:n_items]))
    if not tasks or len(people) < 2:
        return None
    return HeldOut(tuple(tasks), people, max_tokens)


def _people(
    table: OutcomeTable, data: Mapping[str, TaskData], leave_out: Collection[str]
) -> tuple[Identity, ...]:
    """Those whom the run asked in words that can be said again: a table does not tell others."""
    items = {item.id: item for one in data.values() for item in one.items}
    names = ["identity", "group", "kind", "placement", "item_id", "prompt_hash"]
    people: dict[str, Identity] = {}
    for row in table.arrow.select(names).to_pylist():
        name, item = row["identity"], items.get(row["item_id"])
        if row["kind"] != "identity" or name in leave_out or name in people or item is None:
            continue
        identity = placed(Identity(name, row["group"]), row["placement"] or "system")
        if prompt_hash(render_messages(identity, item.prompt)) == row["prompt_hash"]:
            people[name] = identity
    return tuple(people.values())


def _task(name: str, known: Mapping[str, Task]) -> Task:
    try:
        return resolve_task(name, known)
    except Exception as error:
        raise DataError(f"the run's task {name!r} is unknown: {error}") from None


def respond(
    model: Any,
    tokenizer: Any,
    heldout: HeldOut,
    processes: Processes,
    *,
    told: Callable[[int, int], None],
    batch: int = 64,
) -> list[str]:
    """Greedy answers of a transformers model to the held-out chats, in their order.

    Each process answers a share; all get every answer, and so come to the same decisions. ``told``
    gets how many of a share are answered, and of how many, before each batch.
    """
    texts = [
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        for chat in heldout.chats()
    ]

    def answer(share: Sequence[str]) -> list[str]:
        return _generate(
            model, tokenizer, share, max_tokens=heldout.max_tokens, batch=batch, told=told
        )

    return processes.shared(texts, answer)


def _generate(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_tokens: int,
    batch: int,
    told: Callable[[int, int], None],
) -> list[str]:
    import torch

    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    answers = [""] * len(texts)
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    training, caching = model.training, model.config.use_cache
    model.eval()
    model.config.use_cache = True
    try:
        for start in range(0, len(order), batch):
            told(start, len(order))
            chosen = order[start : start + batch]
            given = tokenizer(
                [texts[number] for number in chosen],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            ).to(model.device)
            with torch.no_grad():
                made = model.generate(**given, max_new_tokens=max_tokens, do_sample=False)
            new = made[:, given["input_ids"].shape[1] :]
            found = tokenizer.batch_decode(new, skip_special_tokens=True)
            for number, text in zip(chosen, found, strict=True):
                answers[number] = text
    finally:
        tokenizer.padding_side = side
        model.config.use_cache = caching
        model.train(training)
    return answers
