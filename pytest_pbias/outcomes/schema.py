"""The outcome table's columns, their versions, and reading those of older ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.grading.base import Graded
from pytest_pbias.models.chat import FIRST_PARAMETERS, Sampling
from pytest_pbias.outcomes.conversion import repeated
from pytest_pbias.prompts.identity import Kind
from pytest_pbias.tasks.base import Axis, Grade

SCHEMA_VERSION = 6
VERSION_KEY = b"pbias_schema_version"
INFO_KEY = b"pbias_run"
ITEMS_KEY = b"pbias_items"

_TEXT = pa.dictionary(pa.int32(), pa.string())
# A grade that another judge than ``judge`` gave; a score is null where that judge failed.
_GRADE = pa.struct(
    [
        pa.field("judge", pa.string()),
        pa.field("version", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("label", pa.string()),
        pa.field("parsable", pa.bool_()),
    ]
)
# Version 2 added ``other_grades``; its rows without other judges have null there.
# Version 4 added what the model thought apart from its answer.
# Version 5 added the values of traits, in the order in which the run's facts name them.
# Version 6 added how an identity was made known: all of older ones were stated.
_SINCE_VERSION = {
    "other_grades": 2, "reasoning": 4, "reasoning_tokens": 4, "traits": 5, "cue": 6, "wording": 6,
}  # fmt: skip
# Version 3 calls ``repeat`` what older ones called ``run``.
_OLD_NAMES = {"run": "repeat"}
# Every sampling parameter has a column of its name. A table without it was written before there was
# the parameter, when endpoints were left to its default.
_SAMPLING_TYPES = {int: pa.int32(), float: pa.float64(), bool: pa.bool_(), str: _TEXT}
_SAMPLING_DEFAULTS = {field.name: field.default for field in fields(Sampling)}
SAMPLING_COLUMNS = tuple(_SAMPLING_DEFAULTS)
SCHEMA = pa.schema(
    [
        pa.field("run_id", _TEXT),
        pa.field("model", _TEXT),
        pa.field("served_identity", _TEXT),
        pa.field("task", _TEXT, nullable=False),
        pa.field("axis", _TEXT, nullable=False),
        pa.field("floor", pa.float64()),
        pa.field("data_revision", _TEXT),
        pa.field("data_hash", _TEXT),
        pa.field("item_id", _TEXT, nullable=False),
        pa.field("cluster", _TEXT, nullable=False),
        pa.field("identity", _TEXT, nullable=False),
        pa.field("group", _TEXT, nullable=False),
        pa.field("kind", _TEXT, nullable=False),
        pa.field("cue", _TEXT),
        pa.field("wording", pa.int32()),
        pa.field("placement", _TEXT),
        pa.field("defense", _TEXT),
        pa.field("repeat", pa.int32(), nullable=False),
        pa.field("seed", pa.int64()),
        *(
            pa.field(name, _SAMPLING_TYPES[get_type_hints(Sampling)[name]])
            for name in SAMPLING_COLUMNS
        ),
        pa.field("prompt_hash", pa.string()),
        pa.field("request_key", pa.string()),
        pa.field("response", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("finish_reason", _TEXT),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("reasoning_tokens", pa.int32()),
        pa.field("latency", pa.float64()),
        pa.field("score", pa.float64()),
        pa.field("label", _TEXT),
        pa.field("parsable", pa.bool_()),
        pa.field("judge", _TEXT),
        pa.field("judge_version", _TEXT),
        pa.field("other_grades", pa.list_(_GRADE)),
        pa.field("traits", pa.list_(pa.float32())),
        pa.field("error", _TEXT),
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)


def grade_to_plain(judge: str, version: str, grade: Graded) -> dict[str, Any]:
    """A grade as it stands in ``other_grades``: without a score where the judge failed."""
    given = grade if isinstance(grade, Grade) else None
    return {
        "judge": judge,
        "version": version,
        "score": None if given is None else given.score,
        "label": "error" if given is None else given.label,
        "parsable": None if given is None else given.parsable,
    }


def upgrade(table: pa.Table, version: int, path: Path, leave_out: Collection[str] = ()) -> pa.Table:
    """The table in the present schema; columns younger than ``version`` or left out are null.

    Raises:
        DataError: a column is missing, is of another type, or has values that it cannot have.
    """
    if version < SCHEMA_VERSION:
        names = [_OLD_NAMES.get(name, name) for name in table.column_names]
        table = table.rename_columns(names).replace_schema_metadata(table.schema.metadata)
    added = [name for name, since in _SINCE_VERSION.items() if since > version]
    added += leave_out
    missing = [name for name in SCHEMA.names if name not in (*table.column_names, *added)]
    for name in sorted({*missing} & {*SAMPLING_COLUMNS} - {*FIRST_PARAMETERS}):
        value = repeated(_SAMPLING_DEFAULTS[name], len(table), SCHEMA.field(name).type)
        table = table.append_column(name, value)
        missing.remove(name)
    if missing:
        raise DataError(f"{path}: the outcome table lacks {', '.join(missing)}; write it again")
    columns = [
        pa.nulls(len(table), field.type)
        if field.name in added
        else _column(table.column(field.name), field, path)
        for field in SCHEMA
    ]
    metadata = dict(table.schema.metadata) | dict(SCHEMA.metadata)
    made = pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata(metadata))
    _check_values(made, path, leave_out)
    return made


def require_text(kind: pa.DataType, name: str, path: Path) -> None:
    """See that a column which is read later, by itself, holds texts.

    Raises:
        DataError: it holds something else.
    """
    if not pa.types.is_string(kind):
        raise DataError(f"{path}: column {name} holds {quoted(str(kind))}, not text")


def _column(column: pa.ChunkedArray, field: pa.Field, path: Path) -> pa.ChunkedArray:
    wanted = "text" if field.type in (_TEXT, pa.string()) else str(field.type)
    try:
        return column.cast(field.type)
    except (pa.ArrowException, ValueError):
        raise DataError(
            f"{path}: column {field.name} holds {quoted(str(column.type))}, "
            f"which is not to be read as {wanted}"
        ) from None


# What every row has, and what it can be; scores may be missing.
_REQUIRED = tuple(field.name for field in SCHEMA if not field.nullable)
_CHOICES = {"axis": get_args(Axis), "kind": get_args(Kind)}
_NAMES = (
    *("task", "item_id", "cluster", "identity", "group", "model", "run_id", "served_identity"),
    *("cue", "placement", "defense", "judge", "judge_version"),
)
_LONGEST_NAME = 10_000  # characters: arrays of names are as wide as the longest, reports show them
_BETWEEN = {"floor": (0.0, 1.0), "score": (0.0, 1.0)}


def _check_values(table: pa.Table, path: Path, leave_out: Collection[str]) -> None:
    """See that statistics can be made of a table that anybody may have written.

    Raises:
        DataError: they cannot.
    """
    for name in (name for name in _REQUIRED if name not in leave_out):
        if empty := table.column(name).null_count:
            raise DataError(f"{path}: column {name} is empty in {empty:,} of {len(table):,} rows")
    for name, known in _CHOICES.items():
        for value in pc.unique(table.column(name).cast(pa.string())).to_pylist():
            if value not in known:
                raise DataError(
                    f"{path}: column {name} has {quoted(value)}, which is none of "
                    f"{', '.join(known)}"
                )
    for name in (name for name in _NAMES if name not in leave_out):
        longest = pc.max(pc.utf8_length(pc.unique(table.column(name)).cast(pa.string()))).as_py()
        if longest is not None and longest > _LONGEST_NAME:
            raise DataError(
                f"{path}: column {name} has a name of {longest:,} characters, of at most "
                f"{_LONGEST_NAME:,}"
            )
    # Repeats are counted from 0: arrays have room for the largest.
    n_repeats = pc.count_distinct(table.column("repeat")).as_py()
    between = _BETWEEN | {"repeat": (0, max(0, n_repeats - 1))}
    for name, (least, most) in between.items():
        found = pc.min_max(table.column(name)).as_py()
        for value in (found["min"], found["max"]):
            if value is not None and (value < least or value > most):
                raise DataError(
                    f"{path}: column {name} has {value:g}, which is not from {least:g} to {most:g}"
                )
