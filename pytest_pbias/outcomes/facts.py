"""What is known of a run as a whole, beside its rows: typed, and read and written in one place.

A table's metadata holds it as JSON. Tables come from anywhere: what is read is checked here, once,
and the error names file and field.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pytest_pbias.collecting.cost import Spent
from pytest_pbias.errors import DataError, quoted
from pytest_pbias.files.toml_file import KeyPath, shown_path
from pytest_pbias.grading.judges.judging import JudgingFacts
from pytest_pbias.grading.traits import TraitFacts
from pytest_pbias.models.spec import ApplicationFacts, ServerFacts

T = TypeVar("T")
Document = Mapping[str, Any]
"""JSON whose type belongs to a room further down the flow; that room reads it by `read_facts`."""


@dataclass(frozen=True, slots=True)
class SavedAs:
    """How a run was saved: for its name, and for the list of runs.

    ``verdicts`` counts the cells by verdict; ``bias`` is the debiased PB by axis, in points.
    """

    model: str = ""
    commit: str = ""
    tag: str = ""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    bias: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegradedFrom:
    """The run whose responses were graded again: by task its judge, and how many grades changed."""

    run: str = ""
    run_ids: tuple[str, ...] = ()
    created: str = ""
    judges: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportedFrom:
    """The logs that a table was made of, and what is not known of its answers.

    ``harness`` wrote them, in ``versions``; ``files`` has the SHA-256 of each by its name,
    ``dates`` when they were written. ``read_as`` says which field was taken for what. ``left_out``
    counts answers that could not be paired, by reason. ``graded_as`` is, by task, the task by whose
    grader responses were graded; without it scores are the log's.
    """

    harness: str = ""
    versions: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    read_as: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    graded_as: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of a run; each has a default, which stands for "not noted".

    ``partial`` says why answers are missing that the run was to have. ``margins`` are those of
    single cells, by task and identity (percentage points); ``questions`` those that reports show,
    by task and item. ``notes``: what of the sampling the endpoint would not take, one line each.
    ``policy`` is read by :class:`pytest_pbias.gate.GatePolicy`, ``engine_noise``
    by :mod:`pytest_pbias.analysis.repeatability`. ``more`` is what other versions noted, kept.
    ``controls`` names those of an identity, by task, where not all of the task's are its own.
    ``planned`` are the items of each task where asking stopped at looks, and ``stops`` why each
    cell was asked no further, by defense, task and identity.
    ``notes`` are on what the endpoint did not take of the requests. ``traits`` names the values in
    the column of that name.
    ``source`` is the file that the facts were read from, for errors; it is not written.
    """

    created: str = ""
    protocol: str = ""
    seed: int | None = None
    shots: int | None = None
    judges: JudgingFacts = field(default_factory=JudgingFacts)
    traits: TraitFacts = field(default_factory=TraitFacts)
    policy: Document = field(default_factory=dict)
    cost: Spent | None = None
    partial: str | None = None
    server: ServerFacts | None = None
    application: ApplicationFacts | None = None
    notes: tuple[str, ...] = ()
    engine_noise: tuple[Document, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    margins: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)
    stops: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    kept: SavedAs = field(default_factory=SavedAs)
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    regraded_from: RegradedFrom | None = None
    imported: ImportedFrom | None = None
    more: Document = field(default_factory=dict)
    source: str = ""

    @property
    def shown_source(self) -> str:
        """The file, as an error begins."""
        return self.source or "the run"


_APART = ("more", "source")
_KNOWN = frozenset(field.name for field in fields(RunFacts)) - {*_APART}


def decode_run(text: bytes | None, source: str = "") -> RunFacts:
    """The facts in a table's metadata, of which ``source`` is the file.

    Raises:
        DataError: they are not JSON, or a field is of another type.
    """
    where = source or "the run"
    try:
        plain = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: what it says of its run is not JSON") from None
    if not isinstance(plain, dict):
        raise DataError(f"{where}: what it says of its run is not an object but {quoted(plain)}")
    known = {name: value for name, value in plain.items() if name in _KNOWN}
    others = {name: value for name, value in plain.items() if name not in _KNOWN}
    return read_facts(RunFacts, known | {"more": others, "source": source}, where)


def decode_facts(kind: type[T], text: str, where: str) -> T:
    """JSON of other facts that are kept.

    Raises:
        DataError: it is not JSON, or a field is of another type.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: {kind.__name__} is not JSON") from None
    return read_facts(kind, plain, where)


def run_to_plain(facts: RunFacts) -> dict[str, Any]:
    """The facts as the object that a table's metadata holds."""
    plain = facts_to_plain(facts)
    plain.pop("source", None)
    return {**plain.pop("more", {}), **plain}


def encode_run(facts: RunFacts) -> bytes:
    """The JSON of a table's metadata."""
    return _json(run_to_plain(facts))


def facts_to_plain(facts: Any) -> dict[str, Any]:
    """A dataclass of facts as JSON, without the fields that say no more than their defaults."""
    found = {}
    for one in fields(facts):
        value = getattr(facts, one.name)
        if value is not None and value != () and value != {} and value != "":
            found[one.name] = plain_facts(value)
    return {name: value for name, value in found.items() if value != {}}


def plain_facts(value: Any) -> Any:
    """A value of facts as JSON."""
    if is_dataclass(value):
        return facts_to_plain(value)
    if isinstance(value, Mapping):
        return {str(name): plain_facts(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_facts(one) for one in value]
    return value


def read_facts(kind: type[T], plain: object, where: str, within: KeyPath = ()) -> T:
    """JSON as a dataclass: every value of the type that its field has; unknown fields are left out.

    ``within`` is where in the run's facts the document stands.

    Raises:
        DataError: a value is of another type; the error begins with ``where`` and names the field.
    """
    try:
        found: T = _adapter(kind).validate_json(_json(plain), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = (*within, *first["loc"])
        wanted, given = _WANTED.get(first["type"]), quoted(first["input"])
        said = f"must be {wanted}, not {given}" if wanted else f"{given}: {first['msg']}"
        if first["type"] == "missing":
            said = "is missing"
        raise DataError(f"{where}: {shown_path(path)}: {said}") from None
    except (ValueError, RecursionError):
        raise DataError(
            f"{where}: {shown_path(within) or 'what it says of its run'} cannot be read"
        ) from None
    return found


_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "dataclass_type": "an object",
}


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Pydantic's reader of a dataclass, made once: that takes milliseconds."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _json(plain: object) -> bytes:
    """UTF-8, in which a lone surrogate becomes a question mark, as in the table's columns."""
    return json.dumps(plain, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")


def package_versions() -> dict[str, str]:
    """The versions that figures depend on, by package, and that of Python."""
    known = {"pytest-pbias": version("pytest-pbias"), "python": platform.python_version()}
    return known | {name: version(name) for name in ("numpy", "scipy", "pyarrow", "openai")}
