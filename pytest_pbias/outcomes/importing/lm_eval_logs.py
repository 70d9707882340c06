"""Logs of the lm-evaluation-harness: ``samples_TASK_DATE.jsonl`` and ``results_DATE.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError
from pytest_pbias.outcomes.facts import read_facts
from pytest_pbias.outcomes.importing.logged import (
    AnswerLog,
    LoggedAnswer,
    json_lines,
    json_of_file,
    last_turn,
)

_NAME = re.compile(r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")
_KNOWN = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash"}
)


@dataclass(frozen=True, slots=True)
class _Sample:
    doc_id: int
    doc: Mapping[str, Any]
    target: Any = None
    resps: list[Any] = field(default_factory=list)
    filter: str = ""
    metrics: tuple[str, ...] | None = None
    doc_hash: str = ""


def is_samples(row: Mapping[str, Any]) -> bool:
    """Whether a line of JSON is a sample of this harness."""
    return "doc_id" in row and "resps" in row


def read_lm_eval(path: Path) -> AnswerLog:
    """The samples in a file, with the results that stand beside it where they do.

    A document that several filters read is one answer, whose scores are called
    ``METRIC,FILTER`` as in the results.

    Raises:
        DataError: a file is damaged, or of another form.
    """
    named = _NAME.fullmatch(path.name)
    task = named["task"] if named else path.stem.removeprefix("samples_")
    results = _results(path, named["date"] if named else "")
    metrics = [
        str(one["metric"])
        for one in _within(results, "configs", task).get("metric_list") or ()
        if isinstance(one, Mapping) and "metric" in one
    ]
    answers: dict[tuple[int, str], LoggedAnswer] = {}
    for place, row in json_lines(path):
        if not is_samples(row):
            raise DataError(f"{place}: is no sample of lm-evaluation-harness (no doc_id, resps)")
        sample = read_facts(_Sample, {k: v for k, v in row.items() if k in _KNOWN}, place)
        names = sample.metrics or [name for name in metrics if name in row]
        names = names or [name for name in row if name not in _KNOWN]
        suffix = f",{sample.filter}" if sample.filter else ""
        scores = {f"{name}{suffix}": row.get(name) for name in names}
        key = (sample.doc_id, sample.doc_hash)
        before = answers.get(key)
        if before is None:
            answers[key] = _answer(sample, row, task, place, scores, results)
        elif not scores.keys().isdisjoint(before.scores):
            raise DataError(f"{place}: document {sample.doc_id} is there twice; see {before.place}")
        else:
            answers[key] = replace(before, scores={**before.scores, **scores})
    if not answers:
        raise DataError(f"{path}: has no samples")
    return _log(path, task, tuple(answers.values()), results)


def _answer(
    sample: _Sample,
    row: Mapping[str, Any],
    task: str,
    place: str,
    scores: Mapping[str, Any],
    results: Mapping[str, Any],
) -> LoggedAnswer:
    texts = [one for one in _flat(sample.resps) if isinstance(one, str)]
    # A score of several texts at once, or of likelihoods, is of none of them alone.
    response = texts[0] if len(texts) == 1 == len(_flat(sample.resps)) else None
    system = results.get("system_instruction")
    return LoggedAnswer(
        task=task,
        place=place,
        fields={
            "doc": sample.doc,
            "doc_id": sample.doc_id,
            "doc_hash": sample.doc_hash or None,
            "target": sample.target,
            "system_instruction": system if isinstance(system, str) else None,
        },
        scores=scores,
        response=response,
        prompt=_prompt(row.get("arguments")),
    )


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for one in value for leaf in _flat(one)]
    return [value]


def _prompt(arguments: Any) -> str:
    """What was asked, of which the log keeps the arguments of a request or of several."""
    while isinstance(arguments, Mapping | list) and arguments:
        parts = list(arguments.values()) if isinstance(arguments, Mapping) else arguments
        arguments = parts[0]
    return last_turn(arguments) if isinstance(arguments, str) else ""


def _results(path: Path, date: str) -> Mapping[str, Any]:
    """The results of the same run; empty where they are not there."""
    beside = path.with_name(f"results_{date}.json") if date else None
    if beside is None or not beside.is_file():
        found = sorted(path.parent.glob("results*.json"))
        beside = found[0] if len(found) == 1 and not date else None
    return json_of_file(beside) if beside is not None else {}


def _within(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _log(
    path: Path, task: str, answers: tuple[LoggedAnswer, ...], results: Mapping[str, Any]
) -> AnswerLog:
    generation = {
        **_within(results, "configs", task, "generation_kwargs"),
        **_within(results, "config", "gen_kwargs"),
    }
    generation.setdefault("max_tokens", generation.get("max_gen_toks"))
    model = results.get("model_name") or _within(results, "config").get("model") or ""
    version = results.get("lm_eval_version")
    task_version = _within(results, "versions").get(task)
    hashed = _within(results, "task_hashes").get(task) or ""
    has_hash = all(answer.fields["doc_hash"] for answer in answers)
    return AnswerLog(
        path=path,
        harness="lm-evaluation-harness",
        version=version if isinstance(version, str) else "",
        answers=answers,
        usual={
            "item": "doc_hash" if has_hash else "doc_id",
            "target": "target",
            "choices": "doc.choices",
        },
        model=str(model),
        revision=" ".join(f"{task} {task_version or ''} {str(hashed)[:12]}".split()),
        sampling={name: value for name, value in generation.items() if value is not None},
    )
