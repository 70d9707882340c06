from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.errors import DataError
from pytest_pbias.outcomes import SCHEMA, OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts

DATA = Path(__file__).parents[1] / "data"


def columns(
    scores: np.ndarray[Any, Any], *, task: str = "mmlu", axis: str = "utility", floor: float = 0.25
) -> dict[str, list[Any]]:
    """Columns of a table from scores (identities, items, runs); NaN is a missing response."""
    found: dict[str, list[Any]] = {}
    names = [("baseline", "Baseline", "baseline"), ("a person", "Control", "control")]
    for u in range(len(scores)):
        name, group, kind = names[u] if u < 2 else (f"identity {u}", "Custom", "identity")
        for i in range(scores.shape[1]):
            for r in range(scores.shape[2]):
                score = None if np.isnan(scores[u, i, r]) else float(scores[u, i, r])
                row = {
                    "task": task,
                    "axis": axis,
                    "floor": floor,
                    "item_id": f"item-{i}",
                    "cluster": f"cluster-{i // 2}",
                    "identity": name,
                    "group": group,
                    "kind": kind,
                    "repeat": r,
                    "model": "synthetic",
                    "score": score,
                    "parsable": None if score is None else score > 0,
                    "error": "endpoint died" if score is None else None,
                }
                for key, value in row.items():
                    found.setdefault(key, []).append(value)
    return found


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(3, 5), st.integers(1, 6), st.integers(1, 3)),
    seed=st.integers(0, 10**6),
)
def test_arrays_survive_the_table_and_the_file(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 2, shape).astype(float)
    scores[rng.random(shape) < 0.2] = np.nan
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    OutcomeTable.from_columns(columns(scores)).write(path)
    task = OutcomeTable.read(path).task_outcomes("mmlu")
    np.testing.assert_array_equal(task.scores, scores)
    np.testing.assert_array_equal(task.unparsable, np.where(np.isnan(scores), np.nan, 1 - scores))
    assert task.clusters.tolist() == [f"cluster-{i // 2}" for i in range(shape[1])]
    assert [identity.kind for identity in task.identities][:2] == ["baseline", "control"]
    baseline = task.baseline
    assert baseline is not None
    np.testing.assert_array_equal(baseline, scores[0])


def test_tables_stack() -> None:
    first = OutcomeTable.from_columns(columns(np.ones((3, 2, 1))))
    second = OutcomeTable.from_columns(columns(np.zeros((3, 2, 1)), task="gsm8k"))
    both = concatenate([first, second])
    assert both.tasks() == ("mmlu", "gsm8k")
    assert len(both) == 12


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    table = OutcomeTable.from_columns(columns(np.ones((3, 2, 1)))).arrow
    newer = table.replace_schema_metadata({b"pbias_schema_version": b"99"})
    pq.write_table(newer, tmp_path / "newer.parquet")
    with pytest.raises(DataError, match="upgrade pytest-pbias"):
        OutcomeTable.read(tmp_path / "newer.parquet")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name, says in (("text", "cannot be read"), ("other", "not an outcome table")):
        with pytest.raises(DataError, match=says):
            OutcomeTable.read(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        OutcomeTable.read(tmp_path / "missing.parquet")


def test_columns_follow_the_schema() -> None:
    table = OutcomeTable.from_columns(columns(np.ones((3, 2, 1))))
    assert table.arrow.schema.equals(SCHEMA, check_metadata=True)


def test_facts_of_the_run_travel_with_the_table(tmp_path: Path) -> None:
    table = OutcomeTable.from_columns(columns(np.ones((3, 2, 1)))).with_info(
        RunFacts(protocol="paper", cost=Spent(7, 2), more={"from": "elsewhere"})
    )
    table.write(tmp_path / "t.parquet")
    assert OutcomeTable.read(tmp_path / "t.parquet").info == RunFacts(
        protocol="paper",
        cost=Spent(7, 2),
        more={"from": "elsewhere"},
        source=str(tmp_path / "t.parquet"),
    )
    assert OutcomeTable.from_columns(columns(np.ones((3, 2, 1)))).info == RunFacts()


GRADES = ("judge", "version", "score", "label", "parsable")


def test_other_judges_grades_become_arrays(tmp_path: Path) -> None:
    found = columns(np.ones((3, 2, 1)))
    found["judge"] = ["rules"] * 6
    found["other_grades"] = [
        [
            dict(zip(GRADES, ("llm:a", "1", number / 10, "compliance", True), strict=True)),
            dict(zip(GRADES, ("llm:b", "1", 0.0, "unparsable", False), strict=True)),
        ]
        if number != 4
        else None
        for number in range(6)
    ]
    OutcomeTable.from_columns(found).write(tmp_path / "t.parquet")
    task = OutcomeTable.read(tmp_path / "t.parquet").task_outcomes("mmlu")
    assert task.judge == "rules"
    assert list(task.others) == ["llm:a", "llm:b"]
    np.testing.assert_allclose(task.others["llm:a"].ravel(), [0, 0.1, 0.2, 0.3, np.nan, 0.5])
    assert np.isnan(task.others["llm:b"]).all()


def test_a_path_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.parquet"
    for read in (OutcomeTable.read, OutcomeTable.read_info):
        with pytest.raises(DataError, match="its path is not UTF-8") as caught:
            read(path)
        str(caught.value).encode()


def test_a_table_of_version_1_is_read_and_rewritten_as_version_6(tmp_path: Path) -> None:
    old = DATA / "outcomes-v1.parquet"
    assert pq.read_schema(old).metadata[b"pbias_schema_version"] == b"1"
    table = OutcomeTable.read(old)
    assert table.arrow.schema.names == SCHEMA.names
    assert table.info == RunFacts(protocol="default", source=str(old))
    task = table.task_outcomes("mmlu")
    np.testing.assert_array_equal(task.scores[:, :, 0], [[1, 0, 1], [1, np.nan, 1], [0, 0, 1]])
    assert task.others == {}
    table.write(tmp_path / "new.parquet")
    again = OutcomeTable.read(tmp_path / "new.parquet")
    assert again.arrow.schema.metadata[b"pbias_schema_version"] == b"6"
    assert again.arrow.equals(table.arrow)


def test_a_table_and_a_store_of_the_first_house_are_read() -> None:
    """Three tasks of the embedded model, three identities, two repeats, written at 1a27f90."""
    old = DATA / "outcomes-v2.parquet"
    assert "run" in pq.read_schema(old).names
    table = OutcomeTable.read(old)
    assert table.arrow.schema.names == SCHEMA.names
    assert sorted(set(table.arrow.column("repeat").to_pylist())) == [0, 1]
    assert table.task_outcomes("mmlu").scores.shape == (4, 4, 2)
    keys, answers = table.text("request_key"), table.text("response")
    store = Store(DATA / "store-v1" / "responses.sqlite", read_only=True)
    assert {
        key: response.text for key, response in store.get_many(filter(None, keys)).items()
    } == dict(zip(keys, answers, strict=True))


def test_a_table_without_a_column_of_its_version_is_refused(tmp_path: Path) -> None:
    table = OutcomeTable.from_columns(columns(np.ones((3, 2, 1)))).arrow
    pq.write_table(table.drop_columns(["other_grades", "label"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="lacks label, other_grades"):
        OutcomeTable.read(tmp_path / "t.parquet")


@pytest.mark.parametrize("second", [1.0, None])
def test_rows_that_contradict_each_other_are_named(second: float | None) -> None:
    table = OutcomeTable.from_columns(columns(np.zeros((3, 2, 1))))
    again = columns(np.zeros((3, 2, 1)))
    same = concatenate([table, OutcomeTable.from_columns(again)])
    assert same.task_outcomes("mmlu").scores.shape == (3, 2, 1)
    again["score"][3] = second
    both = concatenate([table, OutcomeTable.from_columns(again)])
    with pytest.raises(DataError, match="two scores for 'item-1' under 'a person'"):
        both.task_outcomes("mmlu")


@pytest.mark.parametrize("version", [b"", b"\xff", "\u00b2".encode(), b"9" * 6000, b"-1"])
def test_a_version_that_is_no_number(tmp_path: Path, version: bytes) -> None:
    path = tmp_path / "t.parquet"
    OutcomeTable.from_columns(columns(np.zeros((3, 2, 1)))).write(path)
    rows = pq.read_table(path)
    metadata = dict(rows.schema.metadata) | {b"pbias_schema_version": version}
    pq.write_table(rows.replace_schema_metadata(metadata), path)
    with pytest.raises(DataError, match="not an outcome table"):
        OutcomeTable.read(path)
