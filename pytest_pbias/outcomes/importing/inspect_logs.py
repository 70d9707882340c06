"""Logs of Inspect: its JSON form as it is, ``.eval`` by its own reader.

That reader comes with the extra ``pytest-pbias[inspect]``, or is asked as the command ``inspect``
of another environment.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.outcomes.facts import read_facts
from pytest_pbias.outcomes.importing.logged import (
    MOST_BYTES,
    AnswerLog,
    LoggedAnswer,
    json_of_file,
    require_file,
)

VERSION = 2  # of the form of a log
_SECONDS = 600  # that the command may take
_MOST_MEMORY = 4 * MOST_BYTES  # that it may take, in bytes: a log as objects, and as text
_CHUNK = 4096  # of what is unpacked, so that little of what is packed is taken at once
_LENGTH = "length"  # as endpoints call an answer that was cut off
_FINISH = {"max_tokens": _LENGTH, "model_length": _LENGTH, "unknown": None}
_ATTACHED = "attachment://"


@dataclass(frozen=True, slots=True)
class _Dataset:
    name: str | None = None
    sample_ids: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Eval:
    task: str
    model: str
    created: str = ""
    task_version: int | str = 0
    dataset: _Dataset = field(default_factory=_Dataset)
    packages: Mapping[str, str] = field(default_factory=dict)
    task_args: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    model_generate_config: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Usage:
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Message:
    content: str | list[Any] = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class _Choice:
    message: _Message
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Output:
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    time: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Error:
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Score:
    value: Any


@dataclass(frozen=True, slots=True)
class _Sample:
    id: str | int
    epoch: int
    input: str | list[Any]
    output: _Output = field(default_factory=_Output)
    target: str | list[str] = ""
    choices: tuple[str, ...] | None = None
    scores: Mapping[str, _Score] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, str] = field(default_factory=dict)
    error: _Error | None = None


@dataclass(frozen=True, slots=True)
class _Log:
    eval: _Eval
    status: str
    plan: _Plan = field(default_factory=_Plan)
    samples: tuple[_Sample, ...] | None = None


def read_inspect(path: Path) -> AnswerLog:
    """The log in a file that ends in ``.eval``, or else is JSON.

    Raises:
        DataError: the file is damaged, of another version, has no samples, or is ``.eval`` and no
            reader is installed.
    """
    document = _document(path) if path.suffix == ".eval" else json_of_file(path)
    version = document.get("version")
    if version != VERSION:
        raise DataError(
            f"{path}: is a log of version {quoted(version)}, this version reads {VERSION}; "
            "convert it with `inspect log convert --to eval`"
        )
    log = read_facts(_Log, document, str(path))
    if not log.samples:
        raise DataError(f"{path}: has no samples (status {quoted(log.status)})")
    order = {name: n for n, name in enumerate(log.eval.dataset.sample_ids or ())}
    samples = sorted(log.samples, key=lambda one: (order.get(one.id, len(order)), one.epoch))
    config = {**(log.eval.model_generate_config or {}), **(log.plan.config or {})}
    partial = ""
    if log.status != "success":
        partial = f"{path.name} ended with the status {log.status!r}"
    return AnswerLog(
        path=path,
        harness="inspect_ai",
        version=log.eval.packages.get("inspect_ai", ""),
        answers=tuple(_answer(sample, log.eval, path) for sample in samples),
        usual={"item": "id", "target": "target", "choices": "choices"},
        model=log.eval.model,
        created=log.eval.created,
        partial=partial,
        revision=f"{log.eval.dataset.name or log.eval.task} {log.eval.task_version}",
        sampling={name: value for name, value in config.items() if value is not None},
    )


def _answer(sample: _Sample, about: _Eval, path: Path) -> LoggedAnswer:
    def text(content: str | list[Any], kind: str = "text") -> str:
        parts: list[Any] = content if isinstance(content, list) else [{kind: content}]
        if isinstance(content, str) and kind != "text":
            return ""
        found = [part.get(kind) for part in parts if isinstance(part, Mapping)]
        return "\n".join(attached(one) for one in found if isinstance(one, str) and one)

    def attached(one: str) -> str:
        return sample.attachments.get(one.removeprefix(_ATTACHED), one)

    output, usage = sample.output, sample.output.usage or _Usage()
    chosen = output.choices[0] if output.choices else None
    said = [output.error or ""] if chosen is None else []
    error = " ".join([*([sample.error.message] if sample.error else []), *said]).strip()
    stop = None if chosen is None else chosen.stop_reason
    return LoggedAnswer(
        task=about.task,
        place=f"{path}, sample {sample.id!s} (epoch {sample.epoch})",
        fields={
            "id": sample.id,
            "metadata": sample.metadata,
            "target": sample.target,
            **({} if sample.choices is None else {"choices": list(sample.choices)}),
            "eval": {"task_args": about.task_args, "metadata": about.metadata or {}},
        },
        scores={
            name: None if isinstance(one.value, float) and math.isnan(one.value) else one.value
            for name, one in (sample.scores or {}).items()
        },
        response=None if chosen is None else text(chosen.message.content),
        error=error or ("" if chosen is not None else "the log has no answer"),
        prompt=attached(sample.input) if isinstance(sample.input, str) else _question(sample, text),
        repeat=f"{sample.epoch:09}",
        reasoning="" if chosen is None else text(chosen.message.content, "reasoning"),
        finish_reason=_FINISH.get(stop or "", stop),
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        latency=output.time,
    )


def _question(sample: _Sample, text: Any) -> str:
    """What the user said last."""
    users = [
        message.get("content")
        for message in sample.input
        if isinstance(message, Mapping) and message.get("role") == "user"
    ]
    return text(users[-1]) if users and isinstance(users[-1], str | list) else ""


def _document(path: Path) -> dict[str, Any]:
    """The JSON of an ``.eval`` file.

    Raises:
        DataError: it is no archive, unpacks to too much, is damaged, or there is no reader.
    """
    _check_archive(path)
    text = _by_library(path)
    if text is None:
        text = _by_command(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{path}: Inspect's reader made no JSON of it") from None
    return document if isinstance(document, dict) else {}


def _check_archive(path: Path) -> None:
    """See that a file is an archive that unpacks to no more than it says, and that is not too much.

    Raises:
        DataError: it is not.
    """
    require_file(path)
    with suppress(ImportError):
        importlib.import_module("zipfile_zstd")  # Inspect's own, with which it packs its logs
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MOST_BYTES:
                raise DataError(
                    f"{path}: unpacks to {unpacked:,} bytes, more than the {MOST_BYTES:,} that are "
                    "read"
                )
            for entry in entries:
                # Of a packing that is not known here, the reader's own memory is the bound.
                with suppress(NotImplementedError), archive.open(entry) as content:
                    while content.read(_CHUNK):
                        pass
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, RuntimeError, zlib.error) as error:
        raise DataError(f"{path}: is no Inspect log, or is cut off: {error}") from None


def _by_library(path: Path) -> str | None:
    """What the library reads; None where it is not installed."""
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        return None
    try:
        log = read_eval_log(str(path.absolute()), resolve_attachments=True)
        return str(log.model_dump_json(exclude_none=True))
    except Exception as error:  # of whatever kind its packages raise over a damaged file
        raise DataError(f"{path}: Inspect cannot read it: {_line(error)}") from None


def _by_command(path: Path) -> str:
    command = shutil.which("inspect")
    if command is None:
        raise DataError(
            f"{path}: to read .eval, install 'pytest-pbias[inspect]', or have the command "
            "`inspect` of another environment on the path; or write the log as JSON: "
            "`inspect log convert --to json`"
        )
    asked = [command, "log", "dump", "--resolve-attachments", "full", str(path.absolute())]
    bounded = f'ulimit -v {_MOST_MEMORY // 1024} && exec "$0" "$@"'
    try:
        done = subprocess.run(
            ["sh", "-c", bounded, *asked], capture_output=True, timeout=_SECONDS, check=False
        )
        text = done.stdout.decode("utf-8")
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the command `inspect` broke: {_line(error)}") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise DataError(f"{path}: Inspect cannot read it: {said[-1][:200]}")
    return text


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
