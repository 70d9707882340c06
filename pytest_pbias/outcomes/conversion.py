"""Arrow arrays from Python values and to NumPy, without pandas.

``pyarrow.array``, ``pyarrow.scalar`` and ``to_numpy`` import pandas where it is installed: 50 MB
and half a second of every session. What these functions make is the same (tests/outcomes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.errors import DataError

_MOST_BYTES = 2**31 - 1  # Arrow's offsets into texts have 32 bits


@contextmanager
def system_memory_pool() -> Iterator[None]:
    """Arrow takes memory from the C library meanwhile: its own allocator holds on to 20 MB."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def arrow_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as an array of type ``kind``, None as null.

    Raises:
        DataError: the texts take more than 2 GB.
        OverflowError: an integer is too large for the type.
    """
    if pa.types.is_dictionary(kind):
        return _coded(values, kind)
    if pa.types.is_string(kind):
        return text_array(values)
    if pa.types.is_boolean(kind):
        flags = np.fromiter((bool(value) for value in values), dtype=np.bool_, count=len(values))
        return _with_nulls(values, kind, np.packbits(flags, bitorder="little"))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        known = [0 if value is None else value for value in values]
        return _with_nulls(values, kind, np.asarray(known, dtype=kind.to_pandas_dtype()))
    if all(value is None for value in values):
        return pa.nulls(len(values), kind)
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return _lists(values, kind)
    return pa.array(values, type=kind)


def _lists(values: Sequence[Sequence[float | None] | None], kind: pa.DataType) -> pa.Array:
    """Lists of numbers, None as null in both."""
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(value or ()) for value in values], out=ends[1:])
    flat = arrow_array([number for value in values for number in value or ()], kind.value_type)
    valid = np.fromiter((one is not None for one in values), dtype=np.bool_, count=len(values))
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(ends)], children=[flat])


@lru_cache(maxsize=256)
def repeated(value: Any, length: int, kind: pa.DataType) -> pa.Array:
    """``length`` times the same value; the same array for the same arguments."""
    if value is None:
        return pa.nulls(length, kind)
    if pa.types.is_dictionary(kind):
        codes = repeated(0, length, kind.index_type)
        return pa.DictionaryArray.from_arrays(codes, text_array([value]))
    return arrow_array([value] * length, kind)


def scalar(value: Any, kind: pa.DataType | None = None) -> pa.Scalar:
    """A value (a text without ``kind``) to compare a column with, or to fill it with."""
    return arrow_array([value], kind or pa.string())[0]


def row_numbers(rows: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """Row numbers, to take from a table."""
    content = pa.py_buffer(np.ascontiguousarray(rows, dtype=np.int64))
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, content])


def _coded(values: Sequence[str | None], kind: pa.DataType) -> pa.Array:
    """Texts as codes into their distinct values, in order of first appearance."""
    known: dict[str, int] = {}
    codes = [0 if value is None else known.setdefault(value, len(known)) for value in values]
    if any(_in_utf8(value).decode() != value for value in known):  # two may become the same
        return _coded([value and _in_utf8(value).decode() for value in values], kind)
    indices = _with_nulls(values, kind.index_type, np.asarray(codes, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(indices, text_array(list(known)))


def numbers(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """A column of numbers or flags (as 0 and 1) as an array that cannot be written to.

    With nulls it has floats, NaN for them.
    """
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)])
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if column.null_count:
        column = pc.fill_null(column.cast(pa.float64()), scalar(np.nan, pa.float64()))
    return np.from_dlpack(column)


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Texts as an array of strings, None as null.

    A lone surrogate, which an endpoint's JSON can hold, becomes a question mark.

    Raises:
        DataError: they take more than 2 GB.
    """
    parts = [b"" if value is None else _in_utf8(value) for value in values]
    ends = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    if ends[-1] > _MOST_BYTES:
        raise DataError("the answers of one cell take more than 2 GB; ask fewer items at once")
    return _with_nulls(values, pa.string(), ends.astype(np.int32), b"".join(parts))


def _in_utf8(text: str) -> bytes:
    """Valid UTF-8, which is all that Arrow and Parquet take."""
    return text.encode("utf-8", "replace")


def _with_nulls(values: Sequence[Any], kind: pa.DataType, *buffers: Any) -> pa.Array:
    """An array of these buffers, null where a value is None."""
    n_null, bitmap = 0, None
    if None in values:
        valid = np.fromiter((one is not None for one in values), dtype=np.bool_, count=len(values))
        n_null = len(values) - int(valid.sum())
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    data = [pa.py_buffer(buffer) for buffer in buffers]
    return pa.Array.from_buffers(kind, len(values), [bitmap, *data], null_count=n_null)
