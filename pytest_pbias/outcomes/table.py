"""The outcome table in memory and as a file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pytest_pbias.errors import DataError
from pytest_pbias.outcomes.arrays import OUTCOME_COLUMNS, TaskOutcomes, task_arrays
from pytest_pbias.outcomes.schema import INFO_KEY, SCHEMA, SCHEMA_VERSION, VERSION_KEY, upgrade


class OutcomeTable:
    """Outcomes of a run, backed by an Arrow table with :data:`SCHEMA`."""

    def __init__(self, table: pa.Table) -> None:
        self.arrow = table

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> OutcomeTable:
        """Build a table from one list a column; columns not given are null."""
        length = len(columns["task"])
        arrays = [
            pa.array(columns.get(field.name, [None] * length), type=field.type) for field in SCHEMA
        ]
        return cls(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the run as a whole (versions, protocol, cost, ...); empty by default."""
        stored = (self.arrow.schema.metadata or {}).get(INFO_KEY)
        return {} if stored is None else dict(json.loads(stored))

    def with_info(self, **values: Any) -> OutcomeTable:
        """The same table with facts of the run added; each value must be JSON."""
        metadata = dict(self.arrow.schema.metadata or {})
        metadata[INFO_KEY] = json.dumps(self.info | values, sort_keys=True).encode()
        return OutcomeTable(self.arrow.replace_schema_metadata(metadata))

    def write(self, path: Path) -> None:
        """Write the table as Parquet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(path.suffix + ".part")
        pq.write_table(self.arrow, partial, compression="zstd")
        partial.replace(path)

    @classmethod
    def read_info(cls, path: Path) -> dict[str, Any]:
        """The facts of a stored run without its rows.

        Raises:
            DataError: the file is missing or is no outcome table.
        """
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be read as an outcome table: {reason}") from None
        if VERSION_KEY not in metadata:
            raise DataError(f"{path}: is Parquet, but not an outcome table of pytest-pbias")
        return dict(json.loads(metadata.get(INFO_KEY, b"{}")))

    @classmethod
    def read(cls, path: Path, *, leave_out: Collection[str] = ()) -> OutcomeTable:
        """Read a table written by this or an older version.

        The columns ``leave_out`` are not read and null: answers take most of a table's memory.

        Raises:
            DataError: the file is missing, is no outcome table, or is of a newer version.
        """
        try:
            names = [name for name in pq.read_schema(path).names if name not in leave_out]
            table = pq.read_table(path, columns=names)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be read as an outcome table: {reason}") from None
        version = (table.schema.metadata or {}).get(VERSION_KEY, b"").decode()
        if not version.isdigit():
            raise DataError(f"{path}: is Parquet, but not an outcome table of pytest-pbias")
        if int(version) > SCHEMA_VERSION:
            raise DataError(
                f"{path}: has schema version {version}, this version reads up to "
                f"{SCHEMA_VERSION}; upgrade pytest-pbias"
            )
        return cls(upgrade(table, int(version), path, leave_out))

    def texts_at(self, name: str, rows: npt.NDArray[np.intp]) -> list[str | None]:
        """The values of a text column in the rows with these numbers."""
        return list(self.arrow.column(name).take(pa.array(rows)).to_pylist())

    def text(self, name: str) -> list[str | None]:
        """One column as a list of strings."""
        return list(self.arrow.column(name).to_pylist())

    def unique(self, name: str) -> tuple[str, ...]:
        """The distinct non-null values of a text column, in order of first appearance."""
        values = pc.unique(self.arrow.column(name).cast(pa.string()))
        return tuple(value for value in values.to_pylist() if value is not None)

    def tasks(self) -> tuple[str, ...]:
        """The tasks in the table, in order."""
        return self.unique("task")

    def defenses(self) -> tuple[str, ...]:
        """The prompt defences in the table, in order."""
        return tuple(pc.unique(self._defense_column()).to_pylist()) if len(self) else ("none",)

    def of_defense(self, defense: str) -> OutcomeTable:
        """The rows that were asked under one prompt defence."""
        if self.defenses() == (defense,):
            return self
        return OutcomeTable(self.arrow.filter(pc.equal(self._defense_column(), defense)))

    def _defense_column(self) -> pa.ChunkedArray:
        return pc.fill_null(self.arrow.column("defense").cast(pa.string()), "none")

    def errors(self) -> tuple[str, ...]:
        """The distinct reasons why responses are missing."""
        return self.unique("error")

    def task_outcomes(self, task: str) -> TaskOutcomes:
        """The outcomes of one task as arrays; see :class:`TaskOutcomes`.

        Raises:
            DataError: the table has several prompt defences; see :meth:`of_defense`.
        """
        if len(self.defenses()) > 1:
            raise DataError(
                f"the table has answers under several defences ({', '.join(self.defenses())}): "
                "choose one of them"
            )
        used = self.arrow.select(OUTCOME_COLUMNS)
        return task_arrays(used.filter(pc.equal(used.column("task").cast(pa.string()), task)))


def stored_texts(path: Path, name: str, rows: npt.NDArray[np.intp]) -> list[str | None]:
    """The values of a text column of a stored table in these rows, a batch in memory at a time."""
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    found: list[str | None] = []
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(columns=[name], batch_size=16_384):
        first, last = np.searchsorted(wanted, [start, start + len(batch)])
        found += batch.column(0).take(pa.array(wanted[first:last] - start)).to_pylist()
        start += len(batch)
    texts: list[str | None] = [None] * len(rows)
    for place, text in zip(order.tolist(), found, strict=True):
        texts[place] = text
    return texts


def concatenate(tables: Iterable[OutcomeTable]) -> OutcomeTable:
    """Stack tables of the same schema in the order given."""
    stacked = pa.concat_tables([table.arrow for table in tables])
    return OutcomeTable(stacked.unify_dictionaries().combine_chunks())
