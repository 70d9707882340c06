"""The runs behind the public results page: scores without a word of what was asked or said."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import list_runs
from tests.analysis.conftest import Maker

DOCS = Path(__file__).parents[1] / "docs"
STORE = DOCS / "results"
RUNS = sorted((STORE / "runs").glob("*"))
TEXTS = ("response", "reasoning", "request_key", "error", "other_grades", "latency")


def test_the_kept_runs_are_of_both_models_and_small() -> None:
    assert {path.suffix for path in RUNS} == {".parquet"}
    models = [record.model for record in list_runs(STORE)]
    own = [model for model in models if model.startswith("embedded")]
    assert len(own) >= 2
    assert len(models) > len(own)
    assert sum(path.stat().st_size for path in RUNS) < 1_000_000


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_no_kept_run_has_a_word_of_questions_or_answers(path: Path) -> None:
    rows = pq.read_table(path)
    for name in TEXTS:
        assert rows[name].null_count == len(rows), name
    assert OutcomeTable.read(path).info.questions == {}
    said = (rows.schema.metadata or {})[b"pbias_run"].decode()
    assert not re.search(r"/(?:tmp|home|root|work|Users)/", said)
    # What is left as text are names of things, far fewer than there are questions.
    for field in rows.schema:
        if str(field.type) in ("string", "large_string") or "dictionary" in str(field.type):
            values = set(rows[field.name].to_pylist()) - {None}
            if field.name == "item_id":
                assert all(re.fullmatch(r"[a-z0-9_]+-[0-9a-f]{12}", value) for value in values)
            elif field.name == "prompt_hash":
                assert all(re.fullmatch(r"[0-9a-f]{8}", value) for value in values)
            elif field.name == "cluster":
                assert all("?" not in value for value in values)
            else:
                assert len(values) <= 64, field.name


def test_keeping_a_run_leaves_out_what_was_said(tmp_path: Path) -> None:
    table = Maker().table(
        {"do_not_answer/a man": 0.6},
        response="the secret answer",
        reasoning="the secret thought",
        error="the secret error",
        info={"questions": {"mmlu": {"mmlu1": "the secret question"}}},
    )
    table.write(tmp_path / "run.parquet")
    keep = runpy.run_path(str(STORE / "keep.py"))
    keep["without_texts"](tmp_path / "run.parquet").write(tmp_path / "kept.parquet")
    assert b"secret" in (tmp_path / "run.parquet").read_bytes()
    kept = OutcomeTable.read(tmp_path / "kept.parquet")
    assert "secret" not in str(kept.arrow.to_pydict()) + str(kept.info)
    assert kept.text("score") == table.text("score")
    assert kept.tasks() == table.tasks()
