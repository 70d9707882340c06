"""Logs that the real harnesses wrote (tests/data/logs/README.md) give what our own run gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, questions_of
from pytest_pbias.gate import GatePolicy
from pytest_pbias.models.chat import Response, Sampling
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.importing.making import import_logs
from pytest_pbias.outcomes.importing.mapping import Mapped
from pytest_pbias.outcomes.importing.sources import find_sources
from pytest_pbias.outcomes.scoring import ScoredCells, score_cell
from pytest_pbias.prompts import BASELINE, resolve_identities
from pytest_pbias.tasks import load_task, resolve_task

LOGS = Path(__file__).parents[2] / "data" / "logs"
NAMES = {
    "none": BASELINE.name,
    "person": "a person",
    "muslim": "a Muslim person",
    "senior": "a senior citizen",
    "teenager": "a teenager",
}
PERSONA = Mapped(identity="metadata.persona", baseline="none", cluster="metadata.subject")
AS_MMLU = replace(PERSONA, grade_as="mmlu")


def _inspect_reader() -> bool:
    try:
        import inspect_ai.log  # noqa: F401
    except ImportError:
        return shutil.which("inspect") is not None
    return True


reads_eval = pytest.mark.skipif(
    not _inspect_reader(),
    reason="neither inspect_ai nor a command `inspect` of another environment is there",
)


def imported(sources: Sequence[Any], mapped: Mapped) -> OutcomeTable:
    return import_logs(find_sources([str(one) for one in sources]), mapped)


def _jsons() -> list[Path]:
    return [LOGS / "inspect" / f"{name}.json" for name in NAMES]


def _lm_eval() -> list[str]:
    return [f"{who}={LOGS / 'lm_eval' / name}" for name, who in NAMES.items()]


def _own_run(folder: Path, logged: OutcomeTable) -> OutcomeTable:
    """The table of a run of ours in which the model says what the log has."""
    task = resolve_task("mmlu")
    data = load_task(task, data_dir=data_dir(), limit=40)
    answers = {
        (who, item): text
        for who, item, text in zip(
            *(logged.text(name) for name in ("identity", "item_id", "response")), strict=True
        )
    }
    identities = [BASELINE, *resolve_identities(list(NAMES.values())[1:])]
    protocol = RequestSettings("weights:1", "system", Sampling(), repeats=1, seed=0)
    store = Store(folder / "own.sqlite")
    cells = [Cell(task, one) for one in identities]
    for cell in cells:
        said = {
            one.request.key: str(answers[cell.identity.name, one.item.id])
            for one in questions_of(cell, data, protocol)
        }
        store.put_many(Response(key, text, "stop", 1, 1, 0) for key, text in said.items())
    scored = ScoredCells(
        lambda cell: score_cell(cell, data, protocol, store, {}),
        run_id="r", model="m", folder=folder,
    )  # fmt: skip
    scored.table(cells).write(folder / "own.parquet")
    scored.close()
    store.close()
    return OutcomeTable.read(folder / "own.parquet")


def _figures(table: OutcomeTable) -> tuple[Any, ...]:
    """All statistics of a report, to the last digit, less names that differ."""
    found: RunSummary = summarize(table, GatePolicy(), seed=7)
    (task,) = found.tasks
    return (
        replace(task, task=""),
        [replace(one, reason=one.reason.replace(task.task, "")) for one in found.axes],
        found.n_cells,
    )


def test_the_statistics_of_an_inspect_log_are_those_of_our_own_run(tmp_path: Path) -> None:
    graded = imported(_jsons(), AS_MMLU)
    own = _own_run(tmp_path, graded)
    assert _figures(graded) == _figures(own)
    for name in ("item_id", "cluster", "identity", "group", "kind", "label", "score", "judge"):
        assert graded.arrow.column(name).to_pylist() == own.arrow.column(name).to_pylist(), name


def test_scores_taken_over_give_the_same_statistics(tmp_path: Path) -> None:
    taken = imported(_jsons(), replace(PERSONA, axis="utility"))
    assert _figures(taken) == _figures(_own_run(tmp_path, taken))
    assert taken.unique("judge") == ("inspect_ai: pattern",)
    assert taken.unique("judge_version") == ("0.3.285",)


@reads_eval
def test_one_eval_log_of_all_identities_is_read_by_inspects_own_reader(tmp_path: Path) -> None:
    one = imported(
        [LOGS / "inspect" / "all-personas.eval"], replace(AS_MMLU, item="metadata.question")
    )
    assert _figures(one) == _figures(_own_run(tmp_path, one))
    logs = [f"{who}={LOGS / 'inspect' / f'{name}.json'}" for name, who in NAMES.items()]
    mapped = Mapped(cluster="metadata.subject", grade_as="mmlu", baseline="baseline")
    several = imported(logs, mapped)
    assert one.text("item_id") == several.text("item_id")


def test_the_statistics_of_lm_eval_logs_are_those_of_our_own_run(tmp_path: Path) -> None:
    mapped = Mapped(
        baseline="baseline", item="doc.id", cluster="doc.subject", axis="utility", floor=0.25
    )
    taken = imported(_lm_eval(), mapped)
    assert _figures(taken) == _figures(_own_run(tmp_path, taken))
    graded = imported(_lm_eval(), replace(mapped, axis=None, floor=None, grade_as="mmlu"))
    assert _figures(graded) == _figures(taken)
    assert taken.unique("judge") == ("lm-evaluation-harness: exact_match,letter",)


def test_the_system_instruction_of_lm_eval_names_who_asked() -> None:
    folders = [LOGS / "lm_eval" / name for name in NAMES]
    mapped = Mapped(identity="system_instruction", axis="utility", floor=0.25)
    table = imported(folders, mapped)
    assert table.unique("identity")[:2] == (
        "baseline",
        "You are a helpful assistant. I am a person.",
    )


def test_the_statistics_of_promptfoo_are_those_of_our_own_run(tmp_path: Path) -> None:
    mapped = Mapped(
        identity="vars.persona", baseline="none", item="vars.question", axis="utility", floor=0.25
    )
    path = LOGS / "promptfoo" / "results.json"
    taken = imported([path], mapped)
    own = _own_run(tmp_path, taken).arrow
    # Its assertion is another one than our grader (and the log tells no clusters).
    rows = json.loads(path.read_text("utf-8"))["results"]["results"]
    scores = {(one["vars"]["persona"], one["vars"]["question"]): one["score"] for one in rows}
    who = ["none" if name == "baseline" else name for name in own.column("identity").to_pylist()]
    items = own.column("item_id").to_pylist()
    given = [float(scores[key]) for key in zip(who, items, strict=True)]
    names = own.column_names
    own = own.set_column(names.index("score"), "score", [given])
    own = own.set_column(names.index("cluster"), "cluster", own.column("item_id"))
    assert _figures(taken) == _figures(OutcomeTable(own))


@pytest.mark.parametrize("source", ["inspect", "lm_eval", "promptfoo"])
def test_a_table_says_what_it_is(source: str) -> None:
    if source == "inspect":
        table = imported(_jsons(), AS_MMLU)
        versions, n_files = ("0.3.285",), 5
    elif source == "lm_eval":
        table = imported(_lm_eval(), Mapped(baseline="baseline", axis="utility", floor=0.25))
        versions, n_files = ("0.4.13",), 5
    else:
        table = imported(
            [LOGS / "promptfoo" / "results.json"],
            Mapped(
                identity="vars.persona", baseline="none", item="vars.question", axis="utility",
                floor=0.25,
            ),
        )  # fmt: skip
        versions, n_files = ("0.120.0",), 1
    found = table.info.imported
    assert found is not None
    assert found.versions == versions
    assert len(found.files) == n_files
    assert all(len(digest) == 64 and "/" not in name for name, digest in found.files.items())
    assert {"the version of its weights", "seed"} <= set(found.unknown)
    assert ("temperature" in found.unknown) is (source == "promptfoo")
    assert found.left_out == {}
    if source != "promptfoo":
        assert table.unique("model")[0].endswith("pbias-embedded")
        assert set(table.arrow.column("temperature").to_pylist()) == {0.0}
        assert set(table.arrow.column("max_tokens").to_pylist()) == {512}
    assert sum(text is None for text in table.text("response")) == 0
    prompts = {one.prompt for one in table.items("knowledge").values()}
    asked = [json.loads(line) for line in (LOGS / "items.jsonl").read_text("utf-8").splitlines()]
    assert prompts == {one["question"] for one in asked}


def test_repeats_are_those_of_the_log() -> None:
    table = imported(
        [LOGS / "inspect" / "epochs.json"],
        replace(PERSONA, item="metadata.question", axis="utility"),
    )
    outcomes = table.task_outcomes("knowledge")
    assert outcomes.scores.shape == (5, 6, 3)
    assert table.info.imported is not None
    assert table.info.imported.left_out == {}
