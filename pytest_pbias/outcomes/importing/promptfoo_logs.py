"""The JSON that promptfoo writes: ``promptfoo eval --output results.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.outcomes.facts import read_facts
from pytest_pbias.outcomes.importing.logged import AnswerLog, LoggedAnswer, json_of_file, last_turn

VERSION = 3  # of the form of the results
_FAILED = 2  # the reason of a result that is no answer


@dataclass(frozen=True, slots=True)
class _Prompt:
    raw: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Provider:
    id: str = ""
    label: str | None = None


@dataclass(frozen=True, slots=True)
class _Result:
    test_idx: int
    prompt_idx: int
    success: bool
    score: Any
    vars: Mapping[str, Any]
    prompt: _Prompt
    provider: _Provider
    test_metadata: Mapping[str, Any]
    scores: Mapping[str, Any]
    response: Mapping[str, Any]
    failure: int = 0
    error: str | None = None
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    results: tuple[Mapping[str, Any], ...]
    timestamp: str = ""
    prompts: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)


def is_promptfoo(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object is an output of promptfoo."""
    results = document.get("results")
    return "evalId" in document and isinstance(results, Mapping) and "results" in results


def read_promptfoo(path: Path) -> AnswerLog:
    """The results in a file.

    Raises:
        DataError: it is damaged, or of another version.
    """
    document = json_of_file(path)
    if not is_promptfoo(document):
        raise DataError(f"{path}: is no output of promptfoo (no evalId and results)")
    version = document["results"].get("version")
    if version != VERSION:
        raise DataError(
            f"{path}: has results of version {quoted(version)}, this version reads {VERSION}"
        )
    found = read_facts(_Document, document["results"], str(path), ("results",))
    config = document.get("config")
    task = (config.get("description") if isinstance(config, Mapping) else None) or path.stem
    answers = tuple(
        sorted(
            (
                _answer(row, str(task), f"{path}, result {number:,}")
                for number, row in enumerate(found.results, 1)
            ),
            key=lambda answer: (answer.fields["testIdx"], answer.fields["promptIdx"]),
        )
    )
    if not answers:
        raise DataError(f"{path}: has no results")
    about = document.get("metadata")
    maker = about.get("promptfooVersion") if isinstance(about, Mapping) else None
    return AnswerLog(
        path=path,
        harness="promptfoo",
        version=maker if isinstance(maker, str) else "",
        answers=answers,
        usual={
            "item": "testIdx",
            "score": "score",
            "target": "vars.target",
            "choices": "vars.choices",
        },
        created=found.timestamp,
        revision=str(document.get("evalId", "")),
    )


def _answer(row: Mapping[str, Any], task: str, place: str) -> LoggedAnswer:
    graded, test = (row.get(name) or {} for name in ("gradingResult", "testCase"))
    plain = {
        "test_idx": row.get("testIdx"),
        "prompt_idx": row.get("promptIdx"),
        "success": row.get("success"),
        "score": row.get("score"),
        "vars": row.get("vars") or {},
        "prompt": row.get("prompt") or {},
        "provider": row.get("provider") or {},
        "test_metadata": test.get("metadata") or {} if isinstance(test, Mapping) else {},
        "scores": graded.get("namedScores") or {} if isinstance(graded, Mapping) else {},
        "response": row.get("response") or {},
        "failure": row.get("failureReason") or 0,
        "error": row.get("error"),
        "latency": row.get("latencyMs"),
    }
    result = read_facts(_Result, plain, place)
    broke = result.failure == _FAILED
    output, usage = result.response.get("output"), result.response.get("tokenUsage")
    finish = result.response.get("finishReason")

    def count(name: str) -> int | None:
        value = usage.get(name) if isinstance(usage, Mapping) else None
        return value if isinstance(value, int) else None

    return LoggedAnswer(
        task=task,
        place=place,
        fields={
            "vars": result.vars,
            "metadata": result.test_metadata,
            "testIdx": result.test_idx,
            "promptIdx": result.prompt_idx,
            "prompt": {"label": result.prompt.label},
            "provider": {"id": result.provider.id, "label": result.provider.label},
        },
        # What broke has a score of 0 here, which is none.
        scores={} if broke else {**result.scores, "score": result.score, "success": result.success},
        response=output if isinstance(output, str) and not broke else None,
        error=(result.error or "the log has no answer") if broke else "",
        model=result.provider.label or result.provider.id,
        prompt=last_turn(result.prompt.raw),
        finish_reason=finish if isinstance(finish, str) else None,
        prompt_tokens=count("prompt"),
        completion_tokens=count("completion"),
        latency=None if result.latency is None else result.latency / 1000,
    )
