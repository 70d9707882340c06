"""Reports of tables that hold less than a run of this version writes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_pbias.cli import main

STORED = Path(__file__).parents[1] / "data" / "outcomes-v2.parquet"


@pytest.mark.parametrize("lacking", ["rows", "response", "traits", "latency"])
def test_a_table_that_lacks_something_is_reported_on_or_refused_in_one_line(
    lacking: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pq.read_table(STORED)
    if lacking == "rows":
        table = table.slice(0, 0)
    elif lacking in table.schema.names:
        table = table.drop_columns([lacking])
    pq.write_table(table, "lacking.parquet")
    files = ("--json", "r.json", "--markdown", "r.md", "--html", "r.html")
    status = main(["report", "lacking.parquet", *files, "-v"])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    if status:
        assert len(said.err.strip().splitlines()) == 1
    else:
        assert (tmp_path / "r.html").stat().st_size > 1000


@pytest.mark.parametrize(
    "name",
    ["task", "item_id", "cluster", "identity", "group", "model", "defense", "judge", "placement"],
)
def test_a_name_that_is_no_name_is_refused_in_one_line(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Arrays of names are as wide as the longest: one of three million takes gigabytes."""
    monkeypatch.chdir(tmp_path)
    table = pq.read_table(STORED)
    values = ["z" * 3_000_000, *table.column(name).to_pylist()[1:]]
    place = table.schema.get_field_index(name)
    changed = table.set_column(place, name, pa.array(values, pa.string()))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), "long.parquet")
    assert main(["report", "long.parquet"]) != 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"column {name} has a name of 3,000,000 characters" in line
