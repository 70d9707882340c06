"""Rows of Parquet files that anybody may have written, as many as memory has room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_pbias.errors import DataError, quoted

MOST_BYTES = 2**31
"""The most that a file may unpack to, in bytes."""

_BATCH = 256  # rows that are unpacked at once
_ROW_BYTES = 256  # about what a row takes beside its values


class ParquetFile:
    """A Parquet file: its ``columns``, the ``metadata`` of whoever wrote it, and its rows."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            DataError: it cannot be read, is damaged, or has two columns of one name.
        """
        self._path = path
        with self._faults():
            self._file = pq.ParquetFile(path)
            self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self.metadata: Mapping[bytes, bytes] = self._file.metadata.metadata or {}
        twice = next((name for name in self.columns if self.columns.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{path}: two columns are called {quoted(twice)}")

    def rows(self, most_bytes: int = MOST_BYTES) -> list[dict[str, Any]]:
        """All rows, if they unpack to no more than so many bytes.

        Raises:
            DataError: they do not, or the file is damaged.
        """
        about = self._file.metadata
        unpacked = sum(
            about.row_group(number).total_byte_size for number in range(about.num_row_groups)
        )
        self._require_room(max(unpacked, _ROW_BYTES * about.num_rows), most_bytes)
        rows: list[dict[str, Any]] = []
        taken = 0
        with self._faults():
            for batch in self._file.iter_batches(_BATCH):
                # One value may stand for many rows, and takes its place in each of them.
                taken += batch.nbytes + _ROW_BYTES * batch.num_rows
                self._require_room(taken, most_bytes)
                rows += batch.to_pylist()
        return rows

    def _require_room(self, unpacked: int, most_bytes: int) -> None:
        if unpacked > most_bytes:
            raise DataError(
                f"{self._path}: unpacks to {unpacked:,} bytes or more, and at most {most_bytes:,} "
                "are read"
            )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"{self._path}: cannot be read as Parquet: {reason}") from None
