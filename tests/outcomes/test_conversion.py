"""Arrow arrays built buffer by buffer are those of PyArrow, and nothing on the way needs pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.errors import StoreError
from pytest_pbias.outcomes import SCHEMA, OutcomeTable, Spool, concatenate, numbers, row_numbers
from pytest_pbias.outcomes.conversion import arrow_array, repeated, scalar
from pytest_pbias.outcomes.facts import RunFacts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXTS,
    pa.dictionary(pa.int32(), pa.string()): TEXTS,
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
@given(data=st.data())
def test_arrays_are_those_of_pyarrow(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=20))
    built = arrow_array(values, kind)
    built.validate(full=True)
    assert built.type == kind
    assert built.null_count == values.count(None)
    assert built.equals(pa.array(values, type=kind))
    one = data.draw(st.none() | VALUES[kind])
    same = repeated(one, 3, kind)
    same.validate(full=True)
    assert same.to_pylist() == [one] * 3
    assert scalar(one, kind).as_py() == one


def test_every_column_of_the_table_has_a_type_that_is_built() -> None:
    for field in SCHEMA:
        assert arrow_array([], field.type).type == field.type
        assert repeated(None, 2, field.type).null_count == 2


@given(st.lists(st.none() | st.floats(allow_nan=False), max_size=20), st.integers(0, 5))
def test_numbers_are_those_of_to_numpy(values: list[float | None], start: int) -> None:
    array = pa.array(values, type=pa.float64())[start:]
    chunks = pa.chunked_array([array, array], type=pa.float64())
    np.testing.assert_array_equal(numbers(chunks), chunks.to_numpy())
    flags = pa.array([None if value is None else value > 0 for value in values], type=pa.bool_())
    np.testing.assert_array_equal(numbers(flags), flags.cast(pa.float64()).to_numpy(False))


def test_numbers_too_large_for_the_column_are_refused() -> None:
    with pytest.raises(OverflowError):
        arrow_array([2**31], pa.int32())


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_lone_surrogates_become_question_marks(kind: pa.DataType) -> None:
    built = arrow_array(["a\ud800", None, "a?", "ä", "a\udfff"], kind)
    built.validate(full=True)
    assert built.to_pylist() == ["a?", None, "a?", "ä", "a?"]
    assert repeated("\ud800", 2, kind).to_pylist() == ["?", "?"]
    if pa.types.is_dictionary(kind):
        assert built.dictionary.to_pylist() == ["a?", "ä"]


def test_rows_are_taken_in_any_order() -> None:
    taken = pa.array(["a", "b", "c"]).take(row_numbers(np.array([2, 1, 0])[::2]))
    assert taken.to_pylist() == ["c", "a"]


def cell(name: str, answers: list[str | None]) -> OutcomeTable:
    count = len(answers)
    columns: dict[str, Any] = {
        "item_id": [f"i{number}" for number in range(count)],
        "repeat": [0] * count,
        "request_key": [f"{name}-{number}" for number in range(count)],
        "response": answers,
        "score": [None if answer is None else 1.0 for answer in answers],
    }
    constants = {"task": "mmlu", "axis": "utility", "cluster": "c", "identity": name}
    return OutcomeTable.from_columns(columns, constants | {"group": "g", "kind": "identity"})


@pytest.fixture
def cells() -> list[OutcomeTable]:
    return [cell("ä", ["one", None, "drei"]), cell("b", []), cell("c", ["x" * 5000, "\0"])]


def test_a_spooled_table_is_written_whole(cells: list[OutcomeTable], tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spooled = concatenate(one.spooled_to(spool) for one in cells).with_info(RunFacts(seed=3))
    whole = concatenate(cells).with_info(RunFacts(seed=3))
    assert "response" not in spooled.arrow.column_names
    assert list((tmp_path / "spool").iterdir()) == []  # the file has no name
    rows = np.array([4, 0, 1, 0])
    assert spooled.texts_at("response", rows) == whole.texts_at("response", rows)
    assert spooled.text("request_key") == whole.text("request_key")
    spooled.write(tmp_path / "spooled.parquet")
    whole.write(tmp_path / "whole.parquet")
    read = [OutcomeTable.read(tmp_path / f"{name}.parquet") for name in ("spooled", "whole")]
    assert read[0].arrow.equals(read[1].arrow)
    assert read[0].info.seed == 3
    spool.close()


def test_a_large_table_is_written_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[OutcomeTable]
) -> None:
    monkeypatch.setattr("pytest_pbias.outcomes.table._GROUP_ROWS", 4)
    spool = Spool(tmp_path)
    table = concatenate(one.spooled_to(spool) for one in cells * 5)
    table.write(tmp_path / "t.parquet")
    assert OutcomeTable.read(tmp_path / "t.parquet").arrow.equals(concatenate(cells * 5).arrow)
    spool.close()


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, cells: list[OutcomeTable]
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be kept in") as caught:
        cells[0].spooled_to(Spool(tmp_path / "file"))
    assert "\n" not in str(caught.value)
