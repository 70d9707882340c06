"""Few-shot prompts: solved examples before the question, in the same user turn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.tasks.base import Item, PromptProtocol, Row, Task


def with_examples(
    task: Task,
    items: Sequence[Item],
    pool: Sequence[tuple[str, Row]],
    protocol: PromptProtocol,
    shots: int,
    seed: int,
) -> tuple[Item, ...]:
    """Put ``shots`` solved examples before each item's question.

    Examples are of the item's own cluster where the pool has that cluster (an MMLU subject), in an
    order fixed by ``seed``, and never have the item's own prompt. ``pool`` has rows with their
    places.

    Raises:
        ConfigurationError: an item has fewer examples than ``shots``.
        DataError: a row of the pool is malformed.
    """
    if task.solve is None:
        return tuple(items)
    by_cluster: dict[str, list[tuple[str, str]]] = {}
    for place, row in pool:
        try:
            if not task.keep(row):
                continue
            content = task.build(row, protocol)
            solved = (content.prompt, task.solve(row))
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
        by_cluster.setdefault(content.cluster, []).append(solved)
    for examples in by_cluster.values():
        examples.sort(key=lambda example: _rank(example[0], seed))
    shared = [example for examples in by_cluster.values() for example in examples]
    shared.sort(key=lambda example: _rank(example[0], seed))
    shown = []
    for item in items:
        candidates = by_cluster.get(item.cluster, shared)
        chosen = [example for example in candidates if example[0] != item.prompt][:shots]
        if len(chosen) < shots:
            raise ConfigurationError(
                f"{shots} examples are asked for, but task {task.name!r} has only "
                f"{len(chosen)} for a question of {item.cluster!r}",
                setting="shots",
            )
        text = "\n\n".join(f"{prompt}\n\n{answer}" for prompt, answer in chosen)
        shown.append(replace(item, prompt=f"{text}\n\n{item.prompt}"))
    return tuple(shown)


def _rank(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode(), key=str(seed).encode(), digest_size=16).digest()
