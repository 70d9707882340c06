"""TOML files that people write -> pydantic models; an error is one line with file and place.

A syntax error has line and column, a wrong value the path to it: ``identities[2].placement``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from pytest_pbias.errors import ConfigurationError, near_matches, quoted

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)
_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Table(BaseModel):
    """A table of a file: keys that it does not know are refused, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must be a text that is not empty")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]
"""A text with something in it."""


def read_text(path: Path, shown: str) -> str:
    """A text file as UTF-8, without a byte order mark.

    Raises:
        ConfigurationError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{shown}:{line}:1: is not UTF-8 text") from None


def parse_toml(text: str, shown: str) -> dict[str, Any]:
    """The document; ``shown`` names its file in errors.

    Raises:
        ConfigurationError: it is not TOML; with line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, place = str(error), _PLACE.search(str(error))
        if place is not None and place[1]:
            line, column = place[1], place[2]
        else:
            lines = text.splitlines() or [""]
            line, column = str(len(lines)), str(len(lines[-1]) + 1)
        raise ConfigurationError(
            f"{shown}:{line}:{column}: is not TOML: {_PLACE.sub('', message)}"
        ) from None
    except (ValueError, RecursionError):
        raise ConfigurationError(
            f"{shown}: cannot be read: a number of thousands of digits, or lists thousands deep"
        ) from None


def validated(model: type[Model], data: Mapping[str, Any], shown: str) -> Model:
    """The document as ``model``.

    Raises:
        ConfigurationError: the first thing that is wrong, with its path.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = tuple(part for part in first["loc"] if not _names_a_type(part))
        fail(shown, path, _message(model, path, first))


def fail(shown: str, path: Sequence[str | int], message: str) -> NoReturn:
    """Say what is wrong at ``path`` of the file ``shown``.

    Raises:
        ConfigurationError: always.
    """
    place = f"{shown_path(path)}: " if path else ""
    raise ConfigurationError(f"{shown}: {place}{message}")


def shown_path(path: Sequence[str | int]) -> str:
    """A path as people write it: ``identities[2].placement``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) and len(part) <= 100 else quoted(part)
            text += f".{key}" if text else key
    return text


def _names_a_type(part: str | int) -> bool:
    """Whether a part of pydantic's path is no key but the member of a union that it tried."""
    return isinstance(part, str) and part.startswith(("list[", "function-", "tagged-"))


def _message(model: type[BaseModel], path: KeyPath, error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key: {near_matches(str(path[-1]), _keys_beside(model, path))}"
        case "missing":
            return "is missing"
        case "value_error":
            return str(error["ctx"]["error"])
        case "bool_type":
            return f"must be true or false, not {quoted(error['input'])}"
        case "model_type" | "dict_type":
            return "must be a table"
        case (
            "greater_than"
            | "greater_than_equal"
            | "less_than"
            | "less_than_equal"
            | "finite_number"
        ):
            return f"must be {_bound(error)}, not {quoted(error['input'])}"
        case "literal_error":
            known = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
            hint = near_matches(str(error["input"]), known)
            return f"unknown {path[-1]} {quoted(error['input'])}: {hint}"
        case "too_short":
            return "is empty"
        case kind:
            wanted = _WANTED.get(kind)
            given = quoted(error["input"])
            return f"must be {wanted}, not {given}" if wanted else f"{error['msg']}, not {given}"


_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _bound(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    said = [f"{words} {context[key]:g}" for key, words in _BOUNDS.items() if key in context]
    return " and ".join(said) or "a finite number"


def _keys_beside(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that a table may have in which the last part of ``path`` stands."""
    for part in path[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_within(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_within(one) for one in getattr(annotation, "__args__", ()))
    return next((one for one in inner if one is not None), None)
