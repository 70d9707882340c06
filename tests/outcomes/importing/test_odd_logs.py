"""Logs of forms that the kept ones have not, and logs in which anything may stand anywhere."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.importing.making import import_logs
from pytest_pbias.outcomes.importing.mapping import Mapped
from pytest_pbias.outcomes.importing.sources import find_sources

LOGS = Path(__file__).parents[2] / "data" / "logs"
INSPECT = Mapped(identity="metadata.persona", baseline="none", axis="utility")
PROMPTFOO = Mapped(
    identity="vars.persona", baseline="none", item="vars.question", axis="utility", floor=0.25
)
LM_EVAL = Mapped(baseline="baseline", item="doc.id", axis="utility", task="knowledge")
STAMP = "2026-01-01T00-00-00"


def _inspect(name: str, n_samples: int = 3) -> dict[str, Any]:
    log: dict[str, Any] = json.loads((LOGS / "inspect" / f"{name}.json").read_text("utf-8"))
    log["samples"] = log["samples"][:n_samples]
    log.pop("reductions")
    return log


def _promptfoo() -> dict[str, Any]:
    log: dict[str, Any] = json.loads((LOGS / "promptfoo" / "results.json").read_text("utf-8"))
    rows = log["results"]["results"]
    kept = {row["vars"]["question"] for row in rows[:3]}
    log["results"]["results"] = [row for row in rows if row["vars"]["question"] in kept]
    return log


def _samples(name: str = "none") -> list[dict[str, Any]]:
    path = next((LOGS / "lm_eval" / name).glob("samples*.jsonl"))
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()[:3]]


def _results() -> dict[str, Any]:
    path = next((LOGS / "lm_eval" / "none").glob("results*.json"))
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _import_json(folder: Path, documents: list[Any], mapped: Mapped) -> OutcomeTable:
    paths = [folder / f"{number}.json" for number in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_text(json.dumps(document))
    return import_logs(find_sources([str(path) for path in paths]), mapped)


def _import_samples(
    folder: Path, samples: dict[str, list[Any]], results: Any, mapped: Mapped = LM_EVAL
) -> OutcomeTable:
    sources = []
    for who, rows in samples.items():
        inner = folder / who
        inner.mkdir(exist_ok=True)
        path = inner / f"samples_knowledge_{STAMP}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if results is not None:
            (inner / f"results_{STAMP}.json").write_text(json.dumps(results))
        sources.append(f"{who}={inner}")
    return import_logs(find_sources(sources), mapped)


def test_long_texts_that_inspect_keeps_apart_are_found(tmp_path: Path) -> None:
    logs = [_inspect("none"), _inspect("muslim")]
    for log in logs:
        sample = log["samples"][0]
        sample["attachments"] = {"q": "the question", "a": "the answer", "t": "a thought"}
        sample["input"] = [{"role": "user", "content": "attachment://q"}]
        parts = [
            {"type": "reasoning", "reasoning": "attachment://t"},
            {"type": "text", "text": "attachment://a"},
        ]
        sample["output"]["choices"][0]["message"]["content"] = parts
    table = _import_json(tmp_path, logs, INSPECT)
    row = table.text("item_id").index(logs[0]["samples"][0]["id"])
    assert table.text("response")[row] == "the answer"
    assert table.text("reasoning")[row] == "a thought"
    assert "the question" in {one.prompt for one in table.items("knowledge").values()}


def test_inspects_words_for_an_end_are_ours(tmp_path: Path) -> None:
    logs = [_inspect("none", 5), _inspect("muslim", 5)]
    said = ("stop", "max_tokens", "model_length", "content_filter", "unknown")
    for sample, reason in zip(logs[0]["samples"], said, strict=True):
        sample["output"]["choices"][0]["stop_reason"] = reason
    table = _import_json(tmp_path, logs, INSPECT)
    found = dict(zip(table.text("item_id")[:5], table.text("finish_reason")[:5], strict=True))
    assert [found[sample["id"]] for sample in logs[0]["samples"]] == [
        "stop", "length", "length", "content_filter", None,
    ]  # fmt: skip


def test_logs_that_were_sampled_otherwise_say_so(tmp_path: Path) -> None:
    logs = [_inspect("none"), _inspect("muslim")]
    logs[1]["plan"]["config"]["temperature"] = 1.0
    logs[1]["plan"]["config"]["seed"] = 2**40
    table = _import_json(tmp_path, logs, INSPECT)
    assert table.info.notes == (
        "the logs differ in temperature: 0.0, 1.0",
        "the logs differ in seed: not told, 1099511627776",
    )


def test_what_several_filters_read_is_one_answer_with_several_scores(tmp_path: Path) -> None:
    samples = {}
    for who in ("baseline", "a nurse"):
        rows = _samples()
        strict = [row | {"filter": "strict", "exact_match": 0.0} for row in rows]
        samples[who] = [*rows, *strict]
    with pytest.raises(PbiasError, match=r"exact_match,letter, exact_match,strict"):
        _import_samples(tmp_path, samples, _results())
    mapped = replace(LM_EVAL, score="exact_match,strict")
    table = _import_samples(tmp_path, samples, _results(), mapped)
    assert table.arrow.column("score").to_pylist() == [0.0] * 6
    mapped = replace(LM_EVAL, score="exact_match,letter")
    table = _import_samples(tmp_path, samples, _results(), mapped)
    assert table.arrow.column("score").to_pylist() == [1.0] * 6


def test_likelihoods_have_scores_and_no_responses(tmp_path: Path) -> None:
    rows = [
        row | {"resps": [[[-1.5, False]], [[-0.5, True]]], "metrics": ["acc"], "acc": 1.0,
               "filter": "none"}
        for row in _samples()
    ]  # fmt: skip
    table = _import_samples(tmp_path, {"baseline": rows, "a nurse": rows}, _results())
    assert table.text("response") == [None] * 6
    assert table.arrow.column("score").to_pylist() == [1.0] * 6
    assert table.info.imported is not None
    assert "the responses" in table.info.imported.unknown
    mapped = replace(LM_EVAL, axis=None, grade_as="mmlu")
    graded = _import_samples(tmp_path, {"baseline": rows, "a nurse": rows}, None, mapped)
    assert graded.text("error") == ["the log has no response to grade"] * 6
    assert graded.arrow.column("score").null_count == 6


def test_samples_without_results_say_what_is_unknown(tmp_path: Path) -> None:
    table = _import_samples(tmp_path, {"baseline": _samples(), "a nurse": _samples()}, None)
    assert table.info.imported is not None
    assert {"the model", "the version of the harness"} <= set(table.info.imported.unknown)


ODD: list[Any] = [
    None, True, 0, -1, 10**400, 1.5, float("nan"), float("inf"), 1e308, "", "x", "\ud800", "\x00",
    "C", "attachment://x", [], [1], [[]], {}, {"a": 1}, {"text": ["a"]},
]  # fmt: skip


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*path, key))


def _mutated(document: Any, rng: random.Random) -> Any:
    changed = copy.deepcopy(document)
    *path, last = rng.choice(list(_paths(changed)))
    node = changed
    for key in path:
        node = node[key]
    if isinstance(node, dict) and rng.random() < 0.2:
        del node[last]
    else:
        node[last] = copy.deepcopy(rng.choice(ODD))
    return changed


@pytest.mark.parametrize("harness", ["inspect", "promptfoo", "samples", "results"])
def test_anything_anywhere_is_a_table_or_one_line(tmp_path: Path, harness: str) -> None:
    rng = random.Random(harness)
    inspect, promptfoo, rows = (_inspect("none"), _inspect("muslim")), _promptfoo(), _samples()
    tables, refusals = 0, list[str]()
    for _ in range(40):
        try:
            match harness:
                case "inspect":
                    graded = replace(INSPECT, axis=None, grade_as="mmlu")
                    documents = [inspect[0], _mutated(inspect[1], rng)]
                    table = _import_json(tmp_path, documents, rng.choice([INSPECT, graded]))
                case "promptfoo":
                    table = _import_json(tmp_path, [_mutated(promptfoo, rng)], PROMPTFOO)
                case "samples":
                    samples = {"baseline": rows, "a nurse": _mutated(rows, rng)}
                    table = _import_samples(tmp_path, samples, _results())
                case _:
                    samples = {"baseline": rows, "a nurse": rows}
                    table = _import_samples(tmp_path, samples, _mutated(_results(), rng))
            summarize(table, GatePolicy(), seed=0)
            table.write(tmp_path / "table.parquet")
            tables += 1
        except PbiasError as error:
            refusals.append(str(error))
    assert tables > 5
    assert [text for text in refusals if "\n" in text or len(text) > 900] == []
