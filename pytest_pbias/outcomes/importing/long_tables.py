"""Tables with an answer a row, whoever wrote them: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.outcomes.importing.lm_eval_logs import is_samples, read_lm_eval
from pytest_pbias.outcomes.importing.logged import (
    MOST_BYTES,
    AnswerLog,
    LoggedAnswer,
    csv_rows,
    json_lines,
    name_in,
    repeated,
    require_file,
)
from pytest_pbias.outcomes.schema import VERSION_KEY

COLUMNS = ("item", "identity", "cluster", "group", "target", "choices")
_TASK, _REPEAT, _RESPONSE, _PROMPT, _MODEL = "task", "repeat", "response", "prompt", "model"
_BATCH = 256  # rows that are unpacked at once
_ROW_BYTES = 256  # about what a row takes beside its values


def read_table(path: Path) -> AnswerLog:
    """The rows of a table.

    Columns that are called ``item``, ``identity``, ``score``, ``response``, ``task``, ``repeat``,
    ``cluster``, ``group``, ``target``, ``choices``, ``prompt`` and ``model`` are these, unless
    something else is said.

    Raises:
        DataError: the file is damaged, has no rows, or a value is of another type.
    """
    answers: list[LoggedAnswer] = []
    for place, row in _rows(path):
        if path.suffix == ".jsonl" and not answers and is_samples(row):
            return read_lm_eval(path)
        answers.append(_answer(row, place, path.stem))
    if not answers:
        raise DataError(f"{path}: has no rows")
    columns = dict.fromkeys(name for answer in answers for name in answer.fields)
    return AnswerLog(
        path=path,
        harness="a table",
        version="",
        answers=tuple(answers),
        usual={
            **{name: name for name in COLUMNS if name in columns},
            **({"score": "score"} if "score" in columns else {}),
        },
    )


def _answer(row: Mapping[str, Any], place: str, usual_task: str) -> LoggedAnswer:
    return LoggedAnswer(
        task=_text(row, _TASK, place) or usual_task,
        place=place,
        fields=row,
        scores=row,
        response=_text(row, _RESPONSE, place),
        model=_text(row, _MODEL, place) or "",
        prompt=_text(row, _PROMPT, place) or "",
        repeat=name_in(row, _REPEAT, place),
    )


def _text(row: Mapping[str, Any], name: str, place: str) -> str | None:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{place}: {name} is {quoted(value)}, not a text")


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".jsonl":
        yield from json_lines(path)
    else:
        yield from csv_rows(path)


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    require_file(path)
    try:
        file = pq.ParquetFile(path)
        about = file.metadata
        unpacked = sum(
            about.row_group(number).total_byte_size for number in range(about.num_row_groups)
        )
        _require_room(path, max(unpacked, _ROW_BYTES * about.num_rows))
        if VERSION_KEY in (about.metadata or {}):
            raise DataError(f"{path}: is an outcome table already: report it, or gate on it")
        if twice := repeated(file.schema_arrow.names):
            raise DataError(f"{path}: two columns are called {quoted(twice)}")
        rows: list[dict[str, Any]] = []
        room = 0
        for batch in file.iter_batches(_BATCH):
            # One value may stand for many rows, and takes its place in each of them.
            room += batch.nbytes + _ROW_BYTES * batch.num_rows
            _require_room(path, room)
            rows += batch.to_pylist()
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet: {reason}") from None
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number:,}", row


def _require_room(path: Path, unpacked: int) -> None:
    if unpacked > MOST_BYTES:
        raise DataError(
            f"{path}: unpacks to {unpacked:,} bytes or more, and at most {MOST_BYTES:,} are read"
        )
