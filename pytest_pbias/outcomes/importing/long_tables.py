"""Tables with an answer a row, whoever wrote them: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.files.parquet_file import ParquetFile
from pytest_pbias.outcomes.importing.lm_eval_logs import is_samples, read_lm_eval
from pytest_pbias.outcomes.importing.logged import (
    MOST_BYTES,
    AnswerLog,
    LoggedAnswer,
    csv_rows,
    json_lines,
    name_in,
    require_file,
)
from pytest_pbias.outcomes.schema import VERSION_KEY

COLUMNS = ("item", "identity", "cluster", "group", "target", "choices")
_TASK, _REPEAT, _RESPONSE, _PROMPT, _MODEL = "task", "repeat", "response", "prompt", "model"


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
    file = ParquetFile(path)
    if VERSION_KEY in file.metadata:
        raise DataError(f"{path}: is an outcome table already: report it, or gate on it")
    for number, row in enumerate(file.rows(MOST_BYTES), 1):
        yield f"{path}, row {number:,}", row
