"""Reading rows from a local folder with ``datasets``."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError
from pytest_pbias.tasks.base import LocalSource, Row, Split, Task


def read_local(task: Task, data_dir: Path, split: str) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) for each row of the task's files below ``data_dir``, in file order.

    ``place`` says where the row stands (file and row number), for messages.

    Raises:
        DataError: no such file, a malformed file, or a missing column.
    """
    source = _of_split(task.local, task.splits[split])
    paths = sorted(data_dir.glob(source.pattern))
    if not paths:
        raise DataError(
            f"no data for task {task.name!r}: nothing matches {data_dir / source.pattern}; "
            "check --pbias-data-dir"
        )
    for path, rows in zip(paths, _load_files(paths, source), strict=True):
        _check_columns(task, rows.column_names, str(path))
        extra = {source.name_column: _name_of(path, source)} if source.name_column else {}
        for number, row in enumerate(rows, start=1):
            if task.splits[split].keep(row):
                yield f"{path}, row {number}", {**row, **extra}


def _of_split(source: LocalSource, split: Split) -> LocalSource:
    return replace(
        source,
        pattern=source.pattern.format(split=split.folder),
        name_suffix=source.name_suffix.format(split=split.folder),
    )


def _name_of(path: Path, source: LocalSource) -> str:
    return path.stem.removesuffix(source.name_suffix)


def _load_files(paths: Sequence[Path], source: LocalSource) -> list[Any]:
    """Load files through ``datasets``, one split each, leaving nothing in the user's cache."""
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    for path in paths:
        _check_text(path, source)
    splits = {f"file{number}": str(path) for number, path in enumerate(paths)}
    builder = "csv" if source.format == "csv" else "json"
    with tempfile.TemporaryDirectory(prefix="pbias-data-") as cache:
        try:
            loaded = load_dataset(
                builder,
                data_files=splits,
                cache_dir=cache,
                keep_in_memory=True,
                **_reader_options(paths, source),
            )
        except Exception as error:
            # `datasets` wraps parser errors in several layers; the first line says enough.
            reason = str(error.__cause__ or error).splitlines()[0][:200]
            where = paths[0] if len(paths) == 1 else paths[0].parent
            raise DataError(f"{where}: cannot be read as {source.format}: {reason}") from error
    return [loaded[split] for split in splits]


def _reader_options(paths: Sequence[Path], source: LocalSource) -> dict[str, Any]:
    if source.format == "jsonl":
        return {}
    if source.format == "json":
        return {"field": source.field}
    from datasets import Features, Value

    # Everything as text: an answer "None" or "1.0" must stay what the file says.
    columns = list(source.header) or _csv_header(paths[0])
    headerless = {"names": columns, "header": None} if source.header else {}
    return {
        "features": Features({name: Value("string") for name in columns}),
        "keep_default_na": False,
        **headerless,
    }


def _csv_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return next(csv.reader(stream), [])


def _check_text(path: Path, source: LocalSource) -> None:
    """Find malformed text before ``datasets`` does, with its line and column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if source.format == "csv":
        _check_csv(path, source)
    elif source.format == "jsonl":
        for number, line_text in enumerate(text.splitlines(), start=1):
            if line_text.strip():
                _check_json(path, line_text, number)
    else:
        content = _check_json(path, text, 1)
        rows = content.get(source.field) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise DataError(f"{path}: has no list {source.field!r} at its top level")


def _check_json(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{path}, line {line}, column {error.colno}: {error.msg}") from None


def _check_csv(path: Path, source: LocalSource) -> None:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        width = len(source.header)
        try:
            for row in reader:
                width = width or len(row)
                if row and len(row) != width:
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} columns, expected {width}"
                    )
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _check_columns(task: Task, found: Sequence[str], where: str) -> None:
    missing = [name for name in task.columns if name not in found]
    if missing:
        raise DataError(
            f"{where}: column {', '.join(missing)} is missing for task {task.name!r} "
            f"(found: {', '.join(found)})"
        )
