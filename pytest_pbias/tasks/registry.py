"""From rows to items: content hashes, and an order that is the same for every identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_pbias.errors import ConfigurationError, DataError, near_matches, quoted
from pytest_pbias.tasks.base import Content, Item, PromptProtocol, Row, Task, TaskData
from pytest_pbias.tasks.bbh import BBH
from pytest_pbias.tasks.do_not_answer import DO_NOT_ANSWER
from pytest_pbias.tasks.few_shot import with_examples
from pytest_pbias.tasks.gsm8k import GSM8K
from pytest_pbias.tasks.hub import read_hub
from pytest_pbias.tasks.local import read_local
from pytest_pbias.tasks.mbpp import MBPP
from pytest_pbias.tasks.mmlu import MMLU
from pytest_pbias.tasks.own import own_key, own_rows
from pytest_pbias.tasks.strongreject import STRONGREJECT
from pytest_pbias.tasks.xstest import XSTEST

TASKS: dict[str, Task] = {
    task.name: task for task in (MMLU, GSM8K, BBH, MBPP, XSTEST, DO_NOT_ANSWER, STRONGREJECT)
}


def resolve_task(name: str, known: Mapping[str, Task] = TASKS) -> Task:
    """Return the task called ``name``, of those that are known.

    Raises:
        ConfigurationError: there is no such task; the message names near matches.
    """
    try:
        return known[name]
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"unknown task {quoted(name)}: {near_matches(str(name), known)}"
        ) from None


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
    in_file_order: bool = False,
) -> TaskData:
    """Load a task's items from a local folder, or from the hub when there is none.

    ``data_dir`` is the folder of the package's tasks; one of the user's own knows where its are.

    Items are in one random order (:func:`in_random_order`), of which ``limit`` keeps a prefix; it
    depends on the items and the seed only, so every identity and every process gets the same one.
    ``shots`` puts that many solved examples before each question, never the question itself; they
    too depend on the items and the seed only. A task without examples is asked without.
    ``offline`` asks no network. ``in_file_order`` is for people who look at the items.

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

    folder = task.data_folder(data_dir)

    def read(name: str) -> Iterator[tuple[str, Row]]:
        if task.own is not None:
            return own_rows(task, name, protocol)
        if folder is not None:
            return read_local(task, folder, name)
        return read_hub(task, name, offline=offline)

    revision = "local"
    if folder is None and task.own is None:
        revision = f"{task.hub.path}@{task.hub.revision}" if task.hub else ""
    if part != task.usual_split:
        revision += f"#{part}"
    rows = list(read(part))
    numbered = _number(task, _contents(task, rows, protocol))
    items = numbered.items
    if shots and task.solve is not None:
        pool = rows if part == task.examples else list(read(task.examples))
        items = with_examples(task, items, pool, protocol, shots, seed)
    if not in_file_order:
        items = in_random_order(items, task.name, revision, seed)
    items = items[:limit]
    return TaskData(task.name, items, revision, numbered.content_hash)


def _contents(
    task: Task, rows: Iterable[tuple[str, Row]], protocol: PromptProtocol
) -> Iterator[tuple[str, Content]]:
    """What rows ask, each with the text of what makes it another item."""
    for place, row in rows:
        try:
            if not task.keep(row):
                continue
            content = task.build(row, protocol)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
        if task.own is not None:
            yield own_key(row), content
            continue
        # The prompt wording of a protocol is no part of an item's identity; its content is.
        columns = {key: row[key] for key in sorted(task.columns) if row.get(key) is not None}
        yield json.dumps(columns, sort_keys=True, default=str), content


def _number(task: Task, contents: Iterable[tuple[str, Content]]) -> _Numbered:
    """Items with ids that depend on their content alone."""
    items: list[Item] = []
    digest = hashlib.sha256()
    seen: dict[str, int] = {}
    for canonical, content in contents:
        reference = json.dumps(content.reference, sort_keys=True, ensure_ascii=True)
        line = hashlib.sha256(f"{canonical}\n{reference}".encode()).hexdigest()
        digest.update(line.encode())
        repeats = seen.get(line, 0)
        seen[line] = repeats + 1
        first_id = f"{task.name}-{line[:12]}"
        item_id = first_id + (f"-{repeats + 1}" if repeats else "")
        # Rows that ask the same stand or fall together.
        cluster = content.cluster or first_id
        items.append(Item(item_id, cluster, content.prompt, content.reference))
    if not items:
        said = f"{task.source}: " if task.source else ""
        raise DataError(f"{said}task {task.name!r} has no items in its data; check the data")
    return _Numbered(tuple(items), digest.hexdigest())


@dataclass(frozen=True, slots=True)
class _Numbered:
    items: tuple[Item, ...]
    content_hash: str


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
