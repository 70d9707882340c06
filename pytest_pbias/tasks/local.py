"""Reading rows from a local folder.

``datasets`` reads the hub's sets, not these: it would turn text that looks like a date or a number
into one, says no line of a malformed file, and takes a second to import.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError, near_matches, quoted
from pytest_pbias.tasks.base import LocalSource, Row, Split, Task


def read_local(task: Task, data_dir: Path, split: str) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) for each row of the task's files below ``data_dir``, in file order.

    ``place`` says where the row stands (file and row number), for messages.

    Raises:
        DataError: no such file, a malformed file, or a missing column.
    """
    assert task.local is not None
    source = _of_split(task.local, task.splits[split])
    paths = _paths(task, data_dir, source)
    if not paths and task.source:
        raise DataError(f"{task.source}: rows.file: there is no file {data_dir / source.pattern}")
    if not paths:
        raise DataError(_why_nothing(task, task.local, data_dir, split), setting="data-dir")
    for path in paths:
        found = _read_file(path, source)
        check_columns(task, task.columns, found.columns, str(path))
        extra = {source.name_column: _name_of(path, source)} if source.name_column else {}
        for number, row in enumerate(found.rows, start=1):
            place = f"{path}, row {number}"
            try:
                kept = task.splits[split].keep(row)
            except DataError as error:
                raise DataError(f"{place}: {error}") from None
            if kept:
                yield place, {**row, **extra}


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _paths(task: Task, data_dir: Path, source: LocalSource) -> list[Path]:
    """The files that the source's pattern names, which may hold ``${VARIABLES}``.

    Raises:
        DataError: a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        text = os.environ.get(found[1])
        if not text:
            raise DataError(
                f"{task.source}: rows.file: the environment variable {found[1]} is not set"
            )
        return text

    pattern = _VARIABLE.sub(value, source.pattern)
    named = data_dir / pattern
    if named.is_file():
        return [named]
    return sorted(map(Path, glob.glob(os.path.join(glob.escape(str(data_dir)), pattern))))


def _why_nothing(task: Task, local: LocalSource, data_dir: Path, split: str) -> str:
    there = [
        name for name, part in task.splits.items() if _paths(task, data_dir, _of_split(local, part))
    ]
    pattern = _of_split(local, task.splits[split]).pattern
    if there:
        return (
            f"the data in {data_dir} has no split {split!r} of task {task.name!r}, only "
            f"{', '.join(there)}: give a folder with {pattern}"
        )
    return f"no data for task {task.name!r}: nothing matches {data_dir / pattern}"


def _of_split(source: LocalSource, split: Split) -> LocalSource:
    return replace(
        source,
        pattern=source.pattern.replace("{split}", split.folder),
        name_suffix=source.name_suffix.replace("{split}", split.folder),
    )


def _name_of(path: Path, source: LocalSource) -> str:
    return path.stem.removesuffix(source.name_suffix)


@dataclass(frozen=True, slots=True)
class _File:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def _read_file(path: Path, source: LocalSource) -> _File:
    """The rows of one file; a value that a row lacks is None, text stays as the file has it."""
    kind = source.format or path.suffix.lower().removeprefix(".")
    if kind == "parquet":
        from pytest_pbias.files.parquet_file import ParquetFile  # few tasks are kept in it

        file = ParquetFile(path)
        return _File(file.columns, tuple(file.rows()))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not text.strip():
        raise DataError(f"{path}: is empty")
    if kind in ("csv", "tsv"):
        return _read_csv(path, text, source, "\t" if kind == "tsv" else ",")
    if kind == "jsonl":
        lines = enumerate(text.split("\n"), start=1)
        return _same_columns(
            path, [_parse_json(path, line, number) for number, line in lines if line.strip()]
        )
    if kind != "json":
        raise DataError(f"{path}: its name does not end in .csv, .tsv, .jsonl, .json or .parquet")
    rows = _parse_json(path, text, 1)
    if source.field:
        rows = rows.get(source.field) if isinstance(rows, dict) else None
    if not isinstance(rows, list):
        what = f" {source.field!r} at its top level" if source.field else " of rows"
        raise DataError(f"{path}: has no list{what}")
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


def _read_csv(path: Path, text: str, source: LocalSource, delimiter: str) -> _File:
    """Everything as text: an answer "None" or "1.0" must stay what the file says."""
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    columns = source.header
    try:
        for row in reader:
            if not columns:
                columns = tuple(row)
                if twice := next((name for name in columns if columns.count(name) > 1), None):
                    raise DataError(f"{path}: has the column {quoted(twice)} twice")
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


def check_columns(task: Task, wanted: Sequence[str], found: Sequence[str], where: str) -> None:
    """See that the columns are there that a task needs.

    Raises:
        DataError: one is missing; of a task file, the line says where it names the column.
    """
    missing = [name for name in wanted if name not in found]
    if missing and missing[0] in task.uses:
        hint = near_matches(missing[0], found)
        raise DataError(
            f"{task.source}: {task.uses[missing[0]]}: {where} has no column "
            f"{quoted(missing[0])}: {hint}"
        )
    if missing:
        raise DataError(
            f"{where}: column {', '.join(missing)} is missing for task {task.name!r} "
            f"(found: {', '.join(found)})"
        )
