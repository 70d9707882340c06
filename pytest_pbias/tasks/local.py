"""Reading rows from a local folder.

``datasets`` reads the hub's sets, not these: it would turn text that looks like a date or a number
into one, says no line of a malformed file, and takes a second to import.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
        raise DataError(_why_nothing(task, data_dir, split), setting="data-dir")
    for path in paths:
        found = _read_file(path, source)
        _check_columns(task, found.columns, str(path))
        extra = {source.name_column: _name_of(path, source)} if source.name_column else {}
        for number, row in enumerate(found.rows, start=1):
            place = f"{path}, row {number}"
            try:
                kept = task.splits[split].keep(row)
            except DataError as error:
                raise DataError(f"{place}: {error}") from None
            if kept:
                yield place, {**row, **extra}


def _why_nothing(task: Task, data_dir: Path, split: str) -> str:
    there = [
        name
        for name, part in task.splits.items()
        if any(data_dir.glob(_of_split(task.local, part).pattern))
    ]
    pattern = _of_split(task.local, task.splits[split]).pattern
    if there:
        return (
            f"the data in {data_dir} has no split {split!r} of task {task.name!r}, only "
            f"{', '.join(there)}: give a folder with {pattern}"
        )
    return f"no data for task {task.name!r}: nothing matches {data_dir / pattern}"


def _of_split(source: LocalSource, split: Split) -> LocalSource:
    return replace(
        source,
        pattern=source.pattern.format(split=split.folder),
        name_suffix=source.name_suffix.format(split=split.folder),
    )


def _name_of(path: Path, source: LocalSource) -> str:
    return path.stem.removesuffix(source.name_suffix)


@dataclass(frozen=True, slots=True)
class _File:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def _read_file(path: Path, source: LocalSource) -> _File:
    """The rows of one file; a value that a row lacks is None, text stays as the file has it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if source.format == "csv":
        return _read_csv(path, text, source)
    if source.format == "jsonl":
        lines = enumerate(text.split("\n"), start=1)
        return _same_columns(
            path, [_parse_json(path, line, number) for number, line in lines if line.strip()]
        )
    content = _parse_json(path, text, 1)
    rows = content.get(source.field) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{path}: has no list {source.field!r} at its top level")
    return _same_columns(path, rows)


def _same_columns(path: Path, rows: Sequence[Any]) -> _File:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: not an object with named columns")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return _File(columns, tuple({name: row.get(name) for name in columns} for row in rows))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value in JSON")


def _parse_json(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{path}, line {line}, column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, brackets in brackets
        raise DataError(f"{path}, line {first_line}: cannot be read as JSON: {error}") from None


def _read_csv(path: Path, text: str, source: LocalSource) -> _File:
    """Everything as text: an answer "None" or "1.0" must stay what the file says."""
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns = source.header
    try:
        for row in reader:
            if not columns:
                columns = tuple(row)
                continue
            if row and len(row) != len(columns):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, expected {len(columns)}"
                )
            if row:
                rows.append(dict(zip(columns, row, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    return _File(tuple(columns), tuple(rows))


def _check_columns(task: Task, found: Sequence[str], where: str) -> None:
    missing = [name for name in task.columns if name not in found]
    if missing:
        raise DataError(
            f"{where}: column {', '.join(missing)} is missing for task {task.name!r} "
            f"(found: {', '.join(found)})"
        )
