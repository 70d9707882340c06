"""Facts of a run come from files of anybody: a wrong type is one line with file and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.analysis.repeatability import noted_repeatability
from pytest_pbias.cli import main
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.grading.judges.judging import JudgingFacts
from pytest_pbias.models.spec import AdapterFacts, ApplicationFacts, ServerFacts
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import (
    ImportedFrom,
    RegradedFrom,
    RunFacts,
    SavedAs,
    decode_run,
    encode_run,
    run_to_plain,
)
from pytest_pbias.outcomes.saved_runs import list_runs
from pytest_pbias.outcomes.schema import INFO_KEY

DATA = Path(__file__).parents[1] / "data"
FULL = RunFacts(
    created="2026-01-02T03:04:05+00:00",
    protocol="paper",
    seed=0,
    shots=3,
    judges=JudgingFacts(
        ("rules", "llm"), ("4", "2"), ("llm",), ("a man",), {"llm": Spent(5, 2, 0.5, "USD", 1)}
    ),
    policy=GatePolicy(alpha=0.1, task_margin={"mmlu": 3.0}).to_plain(),
    cost=Spent(10, 4),
    partial="stopped",
    server=ServerFacts(
        "vLLM",
        "tiny",
        version="0.32",
        versions=("0.31", "0.32"),
        adapter=AdapterFacts("lora", 8, "abc"),
        max_model_len=512,
        arguments=("--dtype", "float32"),
    ),
    application=ApplicationFacts("1", "both", ("cue", "identity")),
    notes=("the endpoint takes no temperature",),
    engine_noise=(
        {
            "task": "mmlu", "axis": "utility", "defense": "none", "baseline": "baseline",
            "n_answers": 4, "n_missing": 0, "changed_answers": 1, "changed_outcomes": 0,
            "difference": None,
        },
    ),
    versions={"numpy": "2"},
    margins={"mmlu": {"a man": 1}},
    kept=SavedAs("tiny", "1a2b", "v1", {"pass": 2}, {"safety": 0.5}),
    questions={"mmlu": {"i1": "what \u2028?"}},
    regraded_from=RegradedFrom("0001", ("r",), "", {"mmlu": "rules 1"}, {"mmlu": 2}),
    imported=ImportedFrom(
        "inspect_ai", ("0.3.285",), {"a.eval": "ab"}, ("2026-01-01",), {"item": "id"},
        {"no baseline": 2}, ("seed",), {"knowledge": "mmlu"},
    ),
    more={"from elsewhere": [1, {"a": None}]},
)  # fmt: skip
# What an earlier version wrote: nulls, empty objects, every field of a server that it knew.
EARLIER: dict[str, Any] = {
    "cost": {}, "created": "", "engine_noise": [], "partial": None, "policy": {}, "seed": 0,
    "server": {"engine": "vLLM", "model": "m", "versions": ["1"], "arguments": [],
               "deterministic": "flag", "data_parallel_size": 2, "prefix_caching": "True"},
    "judges": {"names": ["rules"], "versions": ["4"], "masked": [], "hidden": [], "cost": {}},
}  # fmt: skip


def test_facts_come_back_as_they_were_written() -> None:
    assert all(getattr(FULL, one.name) != one.default for one in fields(RunFacts)[:-1])
    assert decode_run(encode_run(FULL)) == FULL
    assert run_to_plain(RunFacts()) == {}
    assert GatePolicy.of_run(FULL) == GatePolicy(alpha=0.1, task_margin={"mmlu": 3.0})
    (noise,) = noted_repeatability(FULL)
    assert noise.to_plain() == FULL.engine_noise[0]


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert decode_run(encode_run(RunFacts(partial="a\ud800b"))).partial == "a?b"
    assert decode_run(b'{"partial": "a\\ud800b"}').partial == "a?b"


def test_what_earlier_versions_wrote_is_read() -> None:
    found = decode_run(json.dumps(EARLIER).encode())
    assert found.server is not None
    assert found.server.data_parallel_size == 2
    assert (found.seed, found.shots, found.partial, found.cost) == (0, None, None, Spent())
    assert GatePolicy.of_run(found) == GatePolicy()
    for name in ("outcomes-v1", "outcomes-v2"):
        assert OutcomeTable.read(DATA / f"{name}.parquet").info.protocol == "default"


WRONG: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"x", "what it says of its run is not JSON"),
    "no UTF-8": (b"\xff\xfe", "what it says of its run is not JSON"),
    "deep": (b"[" * 20_000, "what it says of its run is not JSON"),
    "a huge number": (b'{"seed": ' + b"9" * 6000 + b"}", "what it says of its run is not JSON"),
    "a list": (b"[1]", "what it says of its run is not an object but [1]"),
    "null": (b"null", "what it says of its run is not an object but None"),
    "created": (b'{"created": 5}', "created: must be a text, not 5"),
    "kept": (b'{"kept": [1]}', "kept: must be an object, not [1]"),
    "kept null": (b'{"kept": null}', "kept: must be an object, not None"),
    "verdicts": (
        b'{"kept": {"verdicts": {"\\u001b[31m": "x"}}}',
        r"kept.verdicts.'\x1b[31m': must be a whole number, not 'x'",
    ),
    "a flag": (b'{"seed": true}', "seed: must be a whole number, not True"),
    "cost": (
        b'{"judges": {"cost": {"llm": {"prompt_tokens": 1.5}}}}',
        "judges.cost.llm.prompt_tokens: must be a whole number, not 1.5",
    ),
    "noise": (b'{"engine_noise": {}}', "engine_noise: must be a list, not {}"),
    "margins": (
        b'{"margins": {"mmlu": {"a man": "1"}}}',
        "margins.mmlu.'a man': must be a number, not '1'",
    ),
    "server": (b'{"server": {"versions": "1"}}', "server.versions: must be a list, not '1'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_types_are_one_line_with_file_and_field(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, said = WRONG[name]
    folder = tmp_path / "runs"
    folder.mkdir()
    path = _with_facts(folder / "0002-foreign.parquet", stored)
    _with_facts(folder / "0001-good.parquet", encode_run(FULL))
    for read in (OutcomeTable.read, OutcomeTable.read_info):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: {said}"
    for command in (["report", str(path)], ["compare", "1", str(path)], ["regrade", str(path)]):
        assert main([*command, "--store", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"pbias: {path}: {said}\n"
    # Others in the folder are found all the same.
    assert [run.name for run in list_runs(tmp_path)] == ["0001-good"]
    assert main(["runs", "--store", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"alpha": "x"}, "policy.alpha: must be a number, not 'x'"),
        ({"alpha": -1}, "policy.alpha must be above 0 and at most 1, not -1.0"),
        ({"alpha": float("nan")}, "policy.alpha must be above 0 and at most 1, not nan"),
        ({"margin": None}, "policy.margin: must be an object, not None"),
        ({"margin": {"utility": 1e308}}, "policy.margin.utility must be above 0"),
        ({"mode": "x\x1b"}, r"policy.mode: 'x\x1b': Input should be"),
    ],
)
def test_a_policy_that_is_none(
    policy: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _with_facts(tmp_path / "t.parquet", json.dumps({"policy": policy}).encode())
    assert main(["report", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pbias: {path}: {said}")
    assert error.count("\n") == 1


def test_noise_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(FULL, engine_noise=({**FULL.engine_noise[0], "n_missing": "x"},))
    path = _with_facts(tmp_path / "t.parquet", encode_run(broken))
    assert main(["report", str(path)]) == 2
    said = f"pbias: {path}: engine_noise[0].n_missing: must be a whole number, not 'x'\n"
    assert capsys.readouterr().err == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.sampled_from([one.name for one in fields(RunFacts)])


@given(st.dictionaries(NAMES | st.text(max_size=5), JSON, max_size=3))
def test_any_json_is_read_or_refused_in_one_line(plain: dict[str, Any]) -> None:
    readers: tuple[Callable[[RunFacts], object], ...] = (
        encode_run,
        GatePolicy.of_run,
        noted_repeatability,
    )
    try:
        found = decode_run(json.dumps(plain).encode(), "file")
        for read in readers:
            read(found)
        said = "file: "
    except DataError as error:
        said = str(error)
    assert said.startswith("file: ")
    assert "\n" not in said


def _with_facts(path: Path, stored: bytes) -> Path:
    """A small table with these bytes as its facts."""
    table = pq.read_table(DATA / "outcomes-v2.parquet")
    metadata = dict(table.schema.metadata) | {INFO_KEY: stored}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


N_ROWS = pq.read_metadata(DATA / "outcomes-v2.parquet").num_rows
COLUMNS: dict[str, tuple[str, pa.Array, str]] = {
    "structs": ("identity", pa.array([{"a": 1}] * N_ROWS), "identity holds 'struct<a: int64>'"),
    "numbers": ("task", pa.array([1] * N_ROWS), "task holds 'int64', which is not to be read as"),
    "bytes": ("group", pa.array([b"\xff\xfe"] * N_ROWS), "group holds 'binary', which is not to"),
    "texts": ("score", pa.array(["x"] * N_ROWS), "score holds 'string', which is not to be read"),
    "answers": ("response", pa.array([1] * N_ROWS), "response holds 'int64', not text"),
    "huge": ("run", pa.array([2**40] * N_ROWS), "repeat holds 'int64', which is not to be read"),
    "nulls": ("item_id", pa.nulls(N_ROWS, pa.string()), f"item_id is empty in {N_ROWS} of"),
    "an axis": ("axis", pa.array(["\x1b[31m"] * N_ROWS), r"axis has '\x1b[31m', which is none of"),
    "a kind": ("kind", pa.array(["alien"] * N_ROWS), "kind has 'alien', which is none of identity"),
    "a score": ("score", pa.array([7.0] * N_ROWS), "score has 7, which is not from 0 to 1"),
    "below 0": ("run", pa.array([-1] * N_ROWS), "repeat has -1, which is not from 0 to"),
    "a gap": ("run", pa.array([0, 9] * (N_ROWS // 2)), "repeat has 9, which is not from 0 to 1"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_wrong_columns_are_one_line_with_file_and_column(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    column, values, said = COLUMNS[name]
    table = pq.read_table(DATA / "outcomes-v2.parquet")
    path = tmp_path / "t.parquet"
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)
    assert main(["report", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pbias: {path}: column {said}")
    assert error.count("\n") == 1


def test_a_floor_that_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pq.read_table(DATA / "outcomes-v2.parquet")
    path, number = tmp_path / "t.parquet", table.schema.get_field_index("floor")
    pq.write_table(table.set_column(number, "floor", pa.nulls(N_ROWS, pa.float64())), path)
    assert main(["report", str(path)]) == 2
    said = "pbias: the table does not say the floor of 'mmlu' (column floor)\n"
    assert capsys.readouterr().err == said


def test_scores_may_be_missing_and_a_table_may_have_no_rows(tmp_path: Path) -> None:
    table = pq.read_table(DATA / "outcomes-v2.parquet")
    number = table.schema.get_field_index("score")
    missing = table.set_column(number, "score", pa.array([None, float("nan")] * (N_ROWS // 2)))
    for name, one in (("missing", missing), ("none", table.slice(0, 0))):
        pq.write_table(one, tmp_path / f"{name}.parquet")
        assert len(OutcomeTable.read(tmp_path / f"{name}.parquet")) == len(one)
