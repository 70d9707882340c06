"""The long columns of a growing table on disk, so that memory does not grow with the answers."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from pytest_pbias.errors import StoreError

LONG = ("request_key", "response")
_SCHEMA = pa.schema([(name, pa.string()) for name in LONG])


@dataclass(frozen=True, slots=True)
class Spooled:
    """Where the long columns of some rows are: a piece of a spool, ``length`` rows."""

    spool: Spool
    start: int
    size: int
    length: int

    def read(self) -> pa.RecordBatch:
        """The columns :data:`LONG` of these rows.

        Raises:
            StoreError: the file cannot be read.
        """
        return pa.ipc.read_record_batch(self.spool.read(self.start, self.size), _SCHEMA)


class Spool:
    """An unnamed file in ``folder``: it is gone with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._file: BinaryIO | None = None

    def close(self) -> None:
        """Give the disk space back; what is in the spool can be read no more."""
        self._open.close()

    def put(self, table: pa.Table) -> Spooled:
        """Write the long columns of a table's rows.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        columns = [_one_chunk(table.column(name)) for name in LONG]
        content = pa.RecordBatch.from_arrays(columns, schema=_SCHEMA).serialize()
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                # Without a buffer, which would keep what did not fit and try it again later.
                unnamed = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  until close()
                self._file = self._open.enter_context(unnamed)
            start, left = self._file.seek(0, 2), memoryview(content)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._error(error) from None
        return Spooled(self, start, content.size, len(table))

    def read(self, start: int, size: int) -> pa.Buffer:
        """A piece of the file.

        Raises:
            StoreError: it cannot be read.
        """
        assert self._file is not None
        try:
            self._file.seek(start)
            return pa.py_buffer(self._file.read(size))
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> StoreError:
        reason = error.strerror or str(error)
        return StoreError(
            f"answers of the outcome table cannot be kept in {self._folder}: {reason}; "
            "free disk space and run again, nothing that was stored is lost"
        )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
