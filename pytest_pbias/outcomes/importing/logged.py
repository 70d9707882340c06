"""What the logs of all harnesses have in common, and files that anybody may have written."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_pbias.errors import DataError, inert, near_matches, quoted

MOST_BYTES = 2**31
"""The largest log that is read, in bytes, and the most that one may unpack to."""

_MOST_DIGITS = 4300  # of a number, as Python reads them


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """One answer as its log has it; nothing is made of it yet.

    ``fields`` is what names are looked up in: who asked, which item, its target. ``scores`` has the
    scores as they were logged, by scorer or metric. ``response`` is None where the log has no text,
    ``error`` says why there is no answer. ``repeat`` tells several askings of an item apart.
    ``model`` is whose it is, where a log has answers of several. ``place`` is where it stands, for
    errors.
    """

    task: str
    place: str
    fields: Mapping[str, Any]
    scores: Mapping[str, Any]
    response: str | None = None
    error: str = ""
    model: str = ""
    prompt: str = ""
    repeat: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerLog:
    """One log. ``usual`` says which field is what, where nobody says otherwise.

    Its keys are ``item``, ``identity``, ``cluster``, ``group``, ``target`` and ``choices``.
    ``partial`` says why answers are missing that it was to have; ``sampling`` has those of
    the outcome table's parameters that it tells, and the seed; ``revision`` is what it calls the
    version of its questions.
    """

    path: Path
    harness: str
    version: str
    answers: tuple[LoggedAnswer, ...]
    usual: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    created: str = ""
    partial: str = ""
    revision: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


def require_file(path: Path) -> None:
    """See that a log is a file of a size that can be read.

    Raises:
        DataError: it is not.
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
    if not path.is_file():
        raise DataError(f"{path}: is no file")
    if size > MOST_BYTES:
        raise DataError(f"{path}: has {size:,} bytes, more than the {MOST_BYTES:,} that are read")


def sha256_of(path: Path) -> str:
    """The hash of a file's content.

    Raises:
        DataError: it cannot be read.
    """
    require_file(path)
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def text_of_file(path: Path) -> str:
    """A text file in UTF-8, without a byte order mark.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    require_file(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start:,})") from None


def json_of_file(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: it cannot be read, or is not one JSON object.
    """
    return _object(text_of_file(path), str(path))


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file with one a line, each with its place.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object.
    """
    for number, line in enumerate(text_of_file(path).split("\n"), 1):
        if line.strip():
            place = f"{path}, line {number:,}"
            yield place, _object(line, place)


def csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV file (or TSV, by its ending) by the names in its first, with their places.

    Raises:
        DataError: the file cannot be read, or a row has more or fewer fields than the first.
    """
    text = text_of_file(path)
    delimiter = "\t" if path.suffix.casefold() == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    try:
        for row in reader:
            place = f"{path}, line {reader.line_num:,}"
            if not names:
                names = row
                twice = sorted({name for name in names if names.count(name) > 1})
                if twice:
                    raise DataError(f"{path}: two columns are called {quoted(twice[0])}")
            elif len(row) != len(names):
                raise DataError(f"{place}: has {len(row)} fields, the first line {len(names)}")
            else:
                yield place, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num:,}: is not CSV: {error}") from None


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except RecursionError:
        raise DataError(f"{place}: is nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno:,}, column {error.colno:,}"
        raise DataError(f"{place}: is not JSON, or is cut off: {error.msg} ({where})") from None
    except ValueError:
        raise DataError(f"{place}: has a number of more than {_MOST_DIGITS:,} digits") from None
    if not isinstance(found, dict):
        raise DataError(f"{place}: is not a JSON object but {quoted(found)}")
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


_MISSING = object()


def last_turn(text: str) -> str:
    """What was said last in a chat that is written as JSON; any other text as it is."""
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return text
    last = turns[-1] if isinstance(turns, list) and turns else None
    said = last.get("content") if isinstance(last, Mapping) else None
    return said if isinstance(said, str) else text


def look_up(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as ``metadata.persona``; None where there is none.

    A key with dots in it is found as well.
    """
    found = _look_up(fields, path)
    return None if found is _MISSING else found


def _look_up(fields: Any, path: str) -> Any:
    if not isinstance(fields, Mapping):
        return _MISSING
    if path in fields:
        return fields[path]
    for number, letter in enumerate(path):
        if letter == "." and path[:number] in fields:
            found = _look_up(fields[path[:number]], path[number + 1 :])
            if found is not _MISSING:
                return found
    return _MISSING


def require_field(answers: Iterable[LoggedAnswer], path: str, setting: str) -> None:
    """See that at least one answer has something at a path.

    Raises:
        DataError: none has; the message names what comes near.
    """
    known: dict[str, None] = {}
    place = "no answer"
    for answer in answers:
        if _look_up(answer.fields, path) is not _MISSING:
            return
        known.update(dict.fromkeys(_paths(answer.fields)))
        place = answer.place
    hint = near_matches(path, known, most=12, rest=f"see {place}")
    raise DataError(f"no answer has the field {quoted(path)}: {hint}", setting=setting)


def _paths(fields: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, Mapping) and within.count(".") < 2:
            yield from _paths(value, f"{within}{name}.")
        else:
            yield f"{within}{name}"


def name_at(answer: LoggedAnswer, path: str, setting: str | None = None) -> str:
    """What an answer has at a path, as a name; empty where it has nothing there.

    Raises:
        DataError: that is no name, but a list, say.
    """
    return as_name(look_up(answer.fields, path), path, answer.place, setting)


def name_in(row: Mapping[str, Any], name: str, place: str) -> str:
    """What a row has in a column, as a name; empty where it has nothing there.

    Raises:
        DataError: that is no name.
    """
    return as_name(row.get(name), name, place)


def as_name(value: object, what: str, place: str, setting: str | None = None) -> str:
    """A text or a whole number as a name in one line; empty for None.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return inert(value or "")
    raise DataError(f"{place}: {what} is {quoted(value)}, which is no name", setting=setting)
