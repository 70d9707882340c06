"""Reading rows from the Hugging Face Hub, at the revision that this package pins.

A set is refused, with the difference named, where its columns or its number of rows are not those
of the pinned revision, or where its content is not what was read before on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError
from pytest_pbias.files.writing import write_whole
from pytest_pbias.tasks.base import HubSource, Row, Task
from pytest_pbias.tasks.local import check_columns

_LOCK_FILE = "pbias-data.json"


def read_hub(task: Task, split: str, *, offline: bool = False) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) of a split; ``offline`` reads the hub's cache and asks nobody.

    Raises:
        DataError: the set is not on the hub, cannot be fetched, or is not what it should be.
    """
    source = task.hub
    if source is None:
        assert task.local is not None
        raise DataError(
            f"task {task.name!r} is not on the hub in the version the protocol uses; "
            f"give a folder with {task.local.pattern}",
            setting="data-dir",
        )
    parts = []
    with _offline(offline):
        for config in source.configs or ("",):
            rows = _load(task, source, config, split, offline)
            check_columns(task, source.columns, rows.column_names, _named(source))
            parts.append((config, rows))
    found, wanted = sum(len(rows) for _, rows in parts), task.splits[split].rows
    if wanted is not None and found != wanted:
        raise DataError(
            f"{_named(source)}, split {split}: has {found} rows, expected {wanted} for task "
            f"{task.name!r}; it is not the set that was pinned"
        )
    _check_content(task, source, split, [rows for _, rows in parts])
    for config, rows in parts:
        extra = {source.config_column: config} if source.config_column else {}
        for number, row in enumerate(rows, start=1):
            yield f"{source.path} {config} row {number}", {**source.adapt(row), **extra}


def _named(source: HubSource) -> str:
    return f"hub set {source.path}@{source.revision[:8]}"


@contextlib.contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Make the hub's clients work from their cache, as HF_HUB_OFFLINE=1 does at their start."""
    if not wanted:
        yield
        return
    import datasets.config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _load(task: Task, source: HubSource, config: str, split: str, offline: bool) -> Any:
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        return load_dataset(
            source.path,
            config or None,
            revision=source.revision,
            split=task.splits[split].hub,
        )
    except Exception as error:
        otherwise = "" if task.source else ", or give a folder with a local copy"
        raise DataError(
            f"task {task.name!r}: {_named(source)} {_why(error, offline)}{otherwise}",
            setting="offline" if offline else None if task.source else "data-dir",
        ) from error


def _why(error: Exception, offline: bool) -> str:
    """What went wrong and what to do, from the chain of the clients' errors."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < 10:
        chain.append(cause)
    names = {type(link).__name__ for link in chain}
    said = " ".join(str(link) for link in chain)
    if "GatedRepoError" in names or re.search(r"gated|restricted|authenticated", said):
        return "is gated: accept its terms on the hub and set HF_TOKEN"
    if offline or "OfflineModeIsEnabled" in said:
        return "is not in the hub's cache and may not be fetched offline: run once online"
    if "RevisionNotFoundError" in names or "Invalid rev" in said:
        return "has no such revision any more"
    if re.search(r"RepositoryNotFound|DatasetNotFound|doesn't exist", " ".join(names) + said):
        return "is not on the hub: check HF_ENDPOINT"
    if re.search(r"Couldn't reach|Connect|Timeout|LocalEntryNotFound", " ".join(names) + said):
        return "cannot be reached: check the network and HF_ENDPOINT"
    lines = str(error).strip().splitlines() or [""]
    return f"cannot be loaded ({type(error).__name__}: {lines[0][:160]}): check the network"


def _check_content(task: Task, source: HubSource, split: str, parts: list[Any]) -> None:
    """Refuse content other than the one first read here under the same pinned revision."""
    digest = hashlib.sha256()
    for rows in parts:
        for row in rows.select_columns(list(source.columns)):
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    found = digest.hexdigest()
    path = _lock_path()
    key = f"{source.path}@{source.revision}/{split}"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    if known.setdefault(key, found) != found:
        raise DataError(
            f"{_named(source)}, split {split}: its content (SHA-256 {found[:12]}) is not what was "
            f"read before ({known[key][:12]}) for task {task.name!r}; the hub's cache is damaged, "
            f"or remove {path}"
        )
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(known, indent=1, sort_keys=True))


def _lock_path() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / _LOCK_FILE
