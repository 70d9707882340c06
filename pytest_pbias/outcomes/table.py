"""The outcome table in memory and as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pytest_pbias.errors import ConfigurationError, DataError, near_matches
from pytest_pbias.files.writing import whole_file
from pytest_pbias.outcomes.arrays import (
    OUTCOME_COLUMNS,
    Scores,
    TaskOutcomes,
    task_arrays,
    trait_arrays,
)
from pytest_pbias.outcomes.conversion import arrow_array, repeated, row_numbers, scalar
from pytest_pbias.outcomes.facts import RunFacts, decode_facts, decode_run, encode_run
from pytest_pbias.outcomes.schema import (
    INFO_KEY,
    ITEMS_KEY,
    SCHEMA,
    SCHEMA_VERSION,
    VERSION_KEY,
    require_text,
    upgrade,
)
from pytest_pbias.outcomes.spool import LONG, Spool, Spooled
from pytest_pbias.prompts import STATED
from pytest_pbias.tasks.base import Item

_VERSION = re.compile(r"[0-9]{1,9}")
_GROUP_ROWS = 1024  # at least, of a table that is written from a spool
# Small pages, and no attempt at a dictionary of hashes or answers, take a third less memory.
_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "data_page_size": 2**17,
    "use_dictionary": [field.name for field in SCHEMA if pa.types.is_dictionary(field.type)],
}


@dataclass(frozen=True, slots=True)
class _KeptItem:
    prompt: str
    reference: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _KeptItems:
    items: Mapping[str, Mapping[str, _KeptItem]]


class OutcomeTable:
    """Outcomes of a run, backed by an Arrow table with :data:`SCHEMA`.

    With ``spooled`` the Arrow table lacks the long columns (``spool.LONG``): those of all its rows
    in order are there, and are read for :meth:`texts_at` and :meth:`write`. Tables made of
    its rows, such as :meth:`of_defense`, are without them.
    """

    def __init__(
        self, table: pa.Table, spooled: Sequence[Spooled] = (), info: RunFacts | None = None
    ) -> None:
        self.arrow = table
        self.spooled = tuple(spooled)
        self._info = info

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[Any]], constants: Mapping[str, Any] | None = None
    ) -> OutcomeTable:
        """Build a table from one sequence a column, and values that are the same in every row.

        Columns not given are null.

        Raises:
            DataError: the texts take more than 2 GB.
        """
        length, same = len(next(iter(columns.values()))), constants or {}
        arrays = [
            arrow_array(columns[field.name], field.type)
            if field.name in columns
            else repeated(same.get(field.name), length, field.type)
            for field in SCHEMA
        ]
        return cls(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def spooled_to(self, spool: Spool) -> OutcomeTable:
        """The same table with its long columns kept in ``spool``.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        rows = self.arrow.drop_columns(list(LONG))
        return OutcomeTable(rows, [spool.put(self.arrow)], self._info)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def info(self) -> RunFacts:
        """What is known of the run as a whole (versions, protocol, cost, ...)."""
        if self._info is None:
            self._info = decode_run((self.arrow.schema.metadata or {}).get(INFO_KEY))
        return self._info

    def with_info(self, info: RunFacts) -> OutcomeTable:
        """The same table with other facts of the run."""
        metadata = dict(self.arrow.schema.metadata or {}) | {INFO_KEY: encode_run(info)}
        return OutcomeTable(self.arrow.replace_schema_metadata(metadata), self.spooled, info)

    def items(self, task: str) -> dict[str, Item]:
        """The items of a task by id, where the table itself has them; see :meth:`with_items`.

        Raises:
            DataError: what it has is malformed.
        """
        text = (self.arrow.schema.metadata or {}).get(ITEMS_KEY)
        if text is None:
            return {}
        kept = decode_facts(_KeptItems, text.decode("utf-8", "replace"), self.info.shown_source)
        clusters = dict(zip(self.text("item_id"), self.text("cluster"), strict=True))
        return {
            name: Item(name, str(clusters.get(name)), one.prompt, one.reference)
            for name, one in kept.items.get(task, {}).items()
        }

    def with_items(self, items: Mapping[str, Mapping[str, Item]]) -> OutcomeTable:
        """The same table with what was asked, by task and id: nobody else could tell it.

        It is read only where it is needed, unlike the facts of the run.
        """
        plain = {
            task: {
                name: {"prompt": one.prompt, "reference": one.reference}
                for name, one in every.items()
            }
            for task, every in items.items()
        }
        text = json.dumps({"items": plain}, ensure_ascii=False).encode("utf-8", "replace")
        metadata = dict(self.arrow.schema.metadata or {}) | {ITEMS_KEY: text}
        arrow = self.arrow.replace_schema_metadata(metadata)
        return OutcomeTable(arrow, self.spooled, self._info)

    def write(self, path: Path) -> None:
        """Write the table as Parquet.

        Raises:
            OSError: it cannot be written; nothing is left behind.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = SCHEMA.with_metadata(self.arrow.schema.metadata)
        with (
            whole_file(path) as partial,
            pq.ParquetWriter(partial, schema, **_PARQUET) as writer,
        ):
            for rows in self._whole_rows():
                writer.write_table(rows)

    def _whole_rows(self) -> Iterator[pa.Table]:
        """All rows with all columns, a part in memory at a time."""
        if not self.spooled:
            yield self.arrow
            return
        start, parts = 0, list[Spooled]()
        for number, part in enumerate(self.spooled, 1):
            parts.append(part)
            length = sum(one.length for one in parts)
            if length >= _GROUP_ROWS or number == len(self.spooled):
                rows = self.arrow.slice(start, length)
                long = pa.Table.from_batches([one.read() for one in parts])
                columns = [(long if name in LONG else rows).column(name) for name in SCHEMA.names]
                schema = SCHEMA.with_metadata(self.arrow.schema.metadata)
                yield pa.Table.from_arrays(columns, schema=schema)
                start, parts = start + length, []

    @classmethod
    def read_info(cls, path: Path) -> RunFacts:
        """The facts of a stored run without its rows.

        Raises:
            DataError: the file is missing or is no outcome table, or its facts are malformed.
        """
        try:
            metadata = pq.read_schema(path).metadata or {}
        except _UNREADABLE as error:
            raise _unreadable(path, error) from None
        if VERSION_KEY not in metadata:
            raise DataError(f"{path}: is Parquet, but not an outcome table of pytest-pbias")
        return decode_run(metadata.get(INFO_KEY), str(path))

    @classmethod
    def read(cls, path: Path, *, leave_out: Collection[str] = ()) -> OutcomeTable:
        """Read a table written by this or an older version.

        The columns ``leave_out`` are not read and null: answers take most of a table's memory.

        Raises:
            DataError: the file is missing, is no outcome table, is of a newer version, or is
                malformed.
        """
        try:
            stored = pq.read_schema(path)
            names = [name for name in stored.names if name not in leave_out]
            table = pq.read_table(path, columns=names)
        except _UNREADABLE as error:
            raise _unreadable(path, error) from None
        version = (table.schema.metadata or {}).get(VERSION_KEY, b"").decode("utf-8", "replace")
        if not _VERSION.fullmatch(version):
            raise DataError(f"{path}: is Parquet, but not an outcome table of pytest-pbias")
        if int(version) > SCHEMA_VERSION:
            raise DataError(
                f"{path}: has schema version {version}, this version reads up to "
                f"{SCHEMA_VERSION}; upgrade pytest-pbias"
            )
        for name in leave_out:
            if name in SCHEMA.names and name in stored.names:
                require_text(stored.field(name).type, name, path)
        info = decode_run(table.schema.metadata.get(INFO_KEY), str(path))
        return cls(upgrade(table, int(version), path, leave_out), info=info)

    def texts_at(self, name: str, rows: npt.NDArray[np.intp]) -> list[str | None]:
        """The values of a text column in the rows with these numbers."""
        if self.spooled and name in LONG:
            return _texts_of((one.read() for one in self.spooled), name, rows)
        return list(self.arrow.column(name).take(row_numbers(rows)).to_pylist())

    def text(self, name: str) -> list[str | None]:
        """One column as a list of strings."""
        if self.spooled and name in LONG:
            return self.texts_at(name, np.arange(len(self)))
        return list(self.arrow.column(name).to_pylist())

    def unique(self, name: str) -> tuple[str, ...]:
        """The distinct non-null values of a text column, in order of first appearance."""
        values = pc.unique(self.arrow.column(name).cast(pa.string()))
        return tuple(value for value in values.to_pylist() if value is not None)

    def tasks(self) -> tuple[str, ...]:
        """The tasks in the table, in order."""
        return self.unique("task")

    def defenses(self) -> tuple[str, ...]:
        """The prompt defenses in the table, in order."""
        return tuple(pc.unique(self._defense_column()).to_pylist()) if len(self) else ("none",)

    def of_defense(self, defense: str) -> OutcomeTable:
        """The rows that were asked under one prompt defense."""
        if self.defenses() == (defense,):
            return self
        rows = self.arrow.filter(pc.equal(self._defense_column(), scalar(defense)))
        return OutcomeTable(rows, info=self.info)

    def cues(self) -> tuple[str, ...]:
        """The cues in the table, in order; all identities of old tables were stated."""
        column = self.arrow.column("cue").cast(pa.string())
        return tuple(pc.unique(pc.fill_null(column, scalar(STATED))).to_pylist())

    def _defense_column(self) -> pa.ChunkedArray:
        return pc.fill_null(self.arrow.column("defense").cast(pa.string()), scalar("none"))

    def errors(self) -> tuple[str, ...]:
        """The distinct reasons why responses are missing."""
        return self.unique("error")

    def task_outcomes(self, task: str) -> TaskOutcomes:
        """The outcomes of one task as arrays; see :class:`TaskOutcomes`.

        Raises:
            DataError: the table has several prompt defenses; see :meth:`of_defense`.
        """
        if len(self.defenses()) > 1:
            raise DataError(
                f"the table has answers under several defenses ({', '.join(self.defenses())}): "
                "choose one of them"
            )
        rows = self._of_task(task, OUTCOME_COLUMNS)
        return task_arrays(rows, self.info.planned.get(task, 0), self.info.controls.get(task))

    def trait_values(self, task: str) -> Scores:
        """The values of the traits that :attr:`info` names, NaN where an answer has none.

        Of shape (traits, identities, items, repeats), the last three as in :meth:`task_outcomes`.
        """
        columns = ["task", "identity", "item_id", "repeat", "traits"]
        return trait_arrays(self._of_task(task, columns), len(self.info.traits.measured))

    def _of_task(self, task: str, columns: list[str]) -> pa.Table:
        used = self.arrow.select(columns)
        return used.filter(pc.equal(used.column("task").cast(pa.string()), scalar(task)))


_UNREADABLE = (OSError, pa.ArrowException, UnicodeEncodeError)


def _unreadable(path: Path, error: Exception) -> DataError:
    named = str(path).encode("utf-8", "replace").decode()
    reason = str(error).splitlines()[0]
    if isinstance(error, UnicodeEncodeError):
        reason = "its path is not UTF-8; give it another name"
    return DataError(f"{named}: cannot be read as an outcome table: {reason}")


def stored_texts(path: Path, name: str, rows: npt.NDArray[np.intp]) -> list[str | None]:
    """The values of a text column of a stored table in these rows, a batch in memory at a time.

    All are None in a table that lacks the column.
    """
    file = pq.ParquetFile(path)
    if name not in file.schema_arrow.names:
        return [None] * len(rows)
    return _texts_of(file.iter_batches(columns=[name], batch_size=16_384), name, rows)


def _texts_of(
    batches: Iterable[pa.RecordBatch], name: str, rows: npt.NDArray[np.intp]
) -> list[str | None]:
    """The values of a text column in these rows of the stacked batches."""
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    found: list[str | None] = []
    start = 0
    for batch in batches:
        first, last = np.searchsorted(wanted, [start, start + len(batch)])
        found += batch.column(name).take(row_numbers(wanted[first:last] - start)).to_pylist()
        start += len(batch)
    texts: list[str | None] = [None] * len(rows)
    for place, text in zip(order.tolist(), found, strict=True):
        texts[place] = text
    return texts


def concatenate(tables: Iterable[OutcomeTable]) -> OutcomeTable:
    """Stack tables of the same schema in the order given."""
    parts = list(tables)
    stacked = pa.concat_tables([table.arrow for table in parts])
    spooled = [one for table in parts for one in table.spooled]
    return OutcomeTable(stacked.unify_dictionaries(), spooled)  # copies codes, no texts


def select_defense(table: OutcomeTable, defense: str | None = None) -> OutcomeTable:
    """The rows of one prompt defense; by default those without, or the only one that there is.

    Raises:
        ConfigurationError: the run has no answers under ``defense``.
    """
    known = table.defenses()
    if defense is None and len(known) == 1:
        return table
    wanted = defense or "none"
    if wanted not in known:
        hint = near_matches(wanted, known)
        raise ConfigurationError(f"a run has no answers under the defense {wanted!r}: {hint}")
    return table.of_defense(wanted)
