"""From rows to items: content hashes, and an order that is the same for every identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_pbias.errors import ConfigurationError, DataError, near_matches, quoted
from pytest_pbias.tasks.base import Item, PromptProtocol, Row, Task, TaskData
from pytest_pbias.tasks.bbh import BBH
from pytest_pbias.tasks.do_not_answer import DO_NOT_ANSWER
from pytest_pbias.tasks.few_shot import with_examples
from pytest_pbias.tasks.gsm8k import GSM8K
from pytest_pbias.tasks.hub import read_hub
from pytest_pbias.tasks.local import read_local
from pytest_pbias.tasks.mbpp import MBPP
from pytest_pbias.tasks.mmlu import MMLU
from pytest_pbias.tasks.strongreject import STRONGREJECT
from pytest_pbias.tasks.xstest import XSTEST

TASKS: dict[str, Task] = {
    task.name: task for task in (MMLU, GSM8K, BBH, MBPP, XSTEST, DO_NOT_ANSWER, STRONGREJECT)
}


def resolve_task(name: str) -> Task:
    """Return the task called ``name``.

    Raises:
        ConfigurationError: there is no such task; the message names near matches.
    """
    try:
        return TASKS[name]
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"unknown task {quoted(name)}: {near_matches(str(name), TASKS)}"
        ) from None


@dataclass(frozen=True, slots=True)
class _Built:
    items: tuple[Item, ...]
    content_hash: str


def load_task(
    task: Task,
    *,
    data_dir: Path | None = None,
    protocol: PromptProtocol = "default",
    limit: int | None = None,
    seed: int = 0,
    split: str | None = None,
    shots: int = 0,
    offline: bool = False,
) -> TaskData:
    """Load a task's items from a local folder, or from the hub when there is none.

    Items are in one random order (:func:`in_random_order`), of which ``limit`` keeps a prefix; it
    depends on the items and the seed only, so every identity and every process gets the same one.
    ``shots`` puts that many solved examples before each question, never the question itself; they
    too depend on the items and the seed only. A task without examples is asked without.
    ``offline`` asks no network.

    Raises:
        DataError: the data is missing or malformed; the message names the file and the place.
        ConfigurationError: ``limit`` is not positive, there is no such split, or there are fewer
            examples than ``shots``.
    """
    if limit is not None and limit < 1:
        raise ConfigurationError(f"the limit is {limit}, but at least 1 item per task is needed")
    part = split or task.usual_split
    if part not in task.splits:
        raise ConfigurationError(
            f"task {task.name!r} has no split {part!r}: choose from {', '.join(task.splits)}"
        )

    def read(name: str) -> Iterator[tuple[str, Row]]:
        if data_dir is not None:
            return read_local(task, data_dir, name)
        return read_hub(task, name, offline=offline)

    revision = "local"
    if data_dir is None:
        revision = f"{task.hub.path}@{task.hub.revision}" if task.hub else ""
    if part != task.usual_split:
        revision += f"#{part}"
    rows = list(read(part))
    built = _build(task, rows, protocol)
    items = built.items
    if shots and task.solve is not None:
        pool = rows if part == task.examples else list(read(task.examples))
        items = with_examples(task, items, [row for _, row in pool], protocol, shots, seed)
    items = in_random_order(items, task.name, revision, seed)[:limit]
    return TaskData(task.name, items, revision, built.content_hash)


def _build(task: Task, rows: Iterable[tuple[str, Row]], protocol: PromptProtocol) -> _Built:
    items: list[Item] = []
    digest = hashlib.sha256()
    seen: dict[str, int] = {}
    for place, row in rows:
        if not task.keep(row):
            continue
        try:
            content = task.build(row, protocol)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
        reference = json.dumps(content.reference, sort_keys=True, ensure_ascii=True)
        # The prompt wording of a protocol is no part of an item's identity; its content is.
        canonical = json.dumps(
            {key: row[key] for key in sorted(task.columns) if row.get(key) is not None},
            sort_keys=True,
            default=str,
        )
        line = hashlib.sha256(f"{canonical}\n{reference}".encode()).hexdigest()
        digest.update(line.encode())
        repeats = seen.get(line, 0)
        seen[line] = repeats + 1
        item_id = f"{task.name}-{line[:12]}" + (f"-{repeats + 1}" if repeats else "")
        items.append(Item(item_id, content.cluster or item_id, content.prompt, content.reference))
    if not items:
        raise DataError(f"task {task.name!r} has no items in its data files; check the data")
    return _Built(tuple(items), digest.hexdigest())


def in_random_order(items: Iterable[Item], task: str, revision: str, seed: int) -> tuple[Item, ...]:
    """The items in the one order in which they are asked, the same for every identity.

    The order is that of a hash of the task, the revision of its data, the item's id and ``seed``,
    and does not depend on the order of the file. It is plainly random: whole clusters one after the
    other, or clusters in turn, would make a prefix of it speak of other items than the rest.
    """
    key = hashlib.blake2b(f"{task}\n{revision}\n{seed}".encode(), digest_size=32).digest()

    def rank(item: Item) -> bytes:
        return hashlib.blake2b(item.id.encode(), key=key, digest_size=16).digest()

    return tuple(sorted(items, key=rank))
