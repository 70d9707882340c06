"""Task files: ``task_*.pbias.toml`` -> tasks. Nothing in one is run: its prompts are data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, ConfigDict, Field

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.files.toml_file import (
    KeyPath,
    Table,
    Text,
    fail,
    parse_toml,
    read_text,
    shown_path,
    validated,
)
from pytest_pbias.tasks.base import (
    Axis,
    Content,
    FileGrader,
    HubSource,
    LocalSource,
    PromptProtocol,
    Row,
    Split,
    Task,
    unchanged,
)
from pytest_pbias.tasks.own import name_fault, reference_fault
from pytest_pbias.tasks.row_values import (
    Value,
    assertions_of,
    chosen,
    is_filled,
    letter,
    number,
    python,
    read_template,
    said,
    value_of,
    values_of,
)

SCHEMA_ADDRESS = "https://pytest-pbias.readthedocs.io/task.schema.json"
# The keys that a grader needs, and those that it may have besides; no other has a use.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "choice": ("answer", "choices"),
    "number": ("answer",),
    "freeform": ("answer",),
    "exact": ("answer",),
    "contains": ("answer",),
    "code": ("tests",),
    "rubric": ("rubric",),
}
_TAKES: Mapping[str, tuple[str, ...]] = {
    "exact": ("match_case",),
    "contains": ("match_case",),
    "regex": ("answer", "pattern", "match_case"),
    "code": ("setup",),
    "rubric": ("answer",),
}
_OF_GRADERS = ("answer", "choices", "tests", "setup", "pattern", "match_case", "rubric")
_CHOICES = "choices"
_FILE_NAME = re.compile(r"task_(.+)\.pbias\.toml")

Column = Text


def _template(text: str) -> str:
    read_template(text)
    return text


def _pattern(text: str) -> str:
    if fault := pattern_fault(text):
        raise ValueError(fault)
    return text


def pattern_fault(text: str) -> str | None:
    """Why a text is no regular expression, or None."""
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        return f"{quoted(text)} is no regular expression: {error}"
    return None


class RowsTable(Table):
    """Where the rows are."""

    file: Text | None = Field(
        None,
        description="CSV, TSV, JSONL, JSON or Parquet, from the folder of the task file; "
        "{split} and ${VARIABLES} may stand in it.",
    )
    hub: Text | None = Field(None, description="A data set of the Hugging Face Hub.")
    revision: Text | None = Field(None, description="Its revision: a commit.")
    config: Text | None = Field(None, description="Its configuration, where it has several.")
    splits: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="Its splits, the usual one first."
    )
    field: Text | None = Field(None, description="The key of a JSON file that holds the rows.")
    header: Annotated[list[Column], Field(min_length=1)] | None = Field(
        None, description="The columns of a CSV or TSV file whose first line is a row."
    )
    where: dict[str, Value | list[Value]] = Field(
        {}, description="Rows to take: a column's value, or a list of values."
    )
    filled: list[Column] = Field([], description="Rows to take: those with something in these.")


class ExamplesTable(Table):
    """Solved examples before a question, where a run asks for them."""

    answer: Annotated[Text, AfterValidator(_template)] = Field(
        description="The model answer to a row, with {columns} in it."
    )
    split: Text | None = Field(None, description="The split that they are drawn from.")


class TaskDocument(Table):
    """A task file of pytest-pbias (task_*.pbias.toml)."""

    model_config = ConfigDict(
        json_schema_extra={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": SCHEMA_ADDRESS,
        }
    )

    name: str | None = Field(None, description="Its name; without it, that of the file.")
    title: Text | None = Field(None, description="What it is called in lists.")
    axis: Axis = Field(description="utility or safety.")
    rows: RowsTable
    prompt: Annotated[Text, AfterValidator(_template)] = Field(
        description="What is asked, with {columns} in it; {choices} are the options, one a line."
    )
    grader: FileGrader = Field(description="How answers are graded.")
    answer: Column | None = Field(None, description="The column with the right answer.")
    choices: Column | Annotated[list[Column], Field(min_length=2, max_length=18)] | None = Field(
        None, description="The columns with the options, or the one with a list of them."
    )
    match_case: bool = Field(False, description="Tell capitals from small letters.")
    pattern: Annotated[Text, AfterValidator(_pattern)] | None = Field(
        None, description="A regular expression: what it finds, or its group, is the answer."
    )
    tests: Column | None = Field(None, description="The column with assertions on a program.")
    setup: Column | None = Field(None, description="The column with code that these need.")
    rubric: Text | None = Field(None, description="What a judging model is to score from 0 to 1.")
    floor: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="The rate that guessing reaches."
    )
    cluster: Column | None = Field(
        None, description="The column that says which items stand or fall together."
    )
    licence: Text = Field("not stated", description="The licence of the rows.")
    examples: ExamplesTable | None = None


def task_schema() -> dict[str, Any]:
    """The JSON Schema of a task file, for editors."""
    return TaskDocument.model_json_schema()


def read_task(path: Path, shown: str | None = None) -> Task:
    """Read a task file; its rows are read when the task is asked. ``shown`` names it in errors.

    Raises:
        ConfigurationError: one line with the file and the path in it: what is wrong.
    """
    shown = shown or str(path)
    document = validated(TaskDocument, parse_toml(read_text(path, shown), shown), shown)
    return _Reader(document, path, shown).task()


class _Reader:
    """Makes a task of a document; checks what its parts need of each other."""

    def __init__(self, document: TaskDocument, path: Path, shown: str) -> None:
        self._document = document
        self._path = path
        self._shown = shown
        self._prompt = read_template(document.prompt)
        self._rows = document.rows

    def task(self) -> Task:
        document, rows = self._document, self._rows
        name = document.name or _name_of(self._path)
        if fault := name_fault(name):
            self._fail(("name",), fault)
        self._check_grader()
        self._check_rows()
        splits = rows.splits or ["all"]
        uses = self._uses()
        examples = document.examples
        if examples and examples.split and examples.split not in splits:
            self._fail(
                ("examples", "split"),
                f"there is no split {quoted(examples.split)}: choose from {', '.join(splits)}",
            )
        return Task(
            name=name,
            title=document.title or name,
            axis=document.axis,
            grader=document.grader,
            floor=self._floor(),
            licence=document.licence,
            columns=tuple(uses),
            local=LocalSource(
                rows.file, None, header=tuple(rows.header or ()), field=rows.field or ""
            )
            if rows.file
            else None,
            hub=HubSource(
                rows.hub,
                rows.revision or "",
                tuple(uses),
                unchanged,
                configs=(rows.config,) if rows.config else (),
            )
            if rows.hub
            else None,
            build=self._build,
            splits={split: Split(split, split) for split in splits},
            keep=self._keep,
            solve=self._solver(),
            examples=(examples.split or splits[0]) if examples else "",
            source=self._shown,
            folder=self._path.resolve().parent if rows.file else None,
            uses=uses,
            options={
                key: value
                for key in ("pattern", "match_case", "rubric")
                if (value := getattr(document, key))
            },
        )

    def _fail(self, path: KeyPath, message: str) -> NoReturn:
        fail(self._shown, path, message)

    def _check_grader(self) -> None:
        document, grader = self._document, self._document.grader
        needs, takes = _NEEDS.get(grader, ()), _TAKES.get(grader, ())
        for key in _OF_GRADERS:
            given = bool(getattr(document, key))
            if key in needs and not given:
                self._fail((key,), f'is missing, which grader = "{grader}" needs')
            if given and key not in (*needs, *takes):
                self._fail((key,), f'has no use with grader = "{grader}"')
        if grader == "regex" and not (document.pattern or document.answer):
            self._fail(
                ("pattern",), "is missing: give it, or an answer column that holds a pattern a row"
            )
        if document.pattern and document.answer and not re.compile(document.pattern).groups:
            self._fail(("pattern",), "has no group (...) to compare with the answer")

    def _check_rows(self) -> None:
        rows = self._rows
        if bool(rows.file) == bool(rows.hub):
            self._fail(("rows",), "give one of `file` and `hub`")
        for key in ("revision", "config"):
            if getattr(rows, key) and not rows.hub:
                self._fail(("rows", key), "has a use with `hub` only")
        for key in ("field", "header"):
            if getattr(rows, key) and not rows.file:
                self._fail(("rows", key), "has a use with `file` only")
        if rows.hub and not rows.revision:
            self._fail(("rows", "revision"), "is missing: give a commit of the data set")
        if rows.hub and not rows.splits:
            self._fail(("rows", "splits"), 'is missing, such as ["test"]')
        if rows.file and bool(rows.splits) != ("{split}" in rows.file):
            self._fail(("rows", "splits"), "goes together with {split} in `file`")
        for key in ("splits", "header"):
            names = getattr(rows, key) or ()
            if len(set(names)) < len(names):
                self._fail(("rows", key), "has a name twice")

    def _floor(self) -> float:
        document = self._document
        if document.floor is not None:
            return document.floor
        if isinstance(document.choices, list):
            return 1 / len(document.choices)
        if document.choices:
            self._fail(("floor",), "is missing: the rate that guessing among the options reaches")
        return 0.0

    def _uses(self) -> dict[str, str]:
        """Each column that the document names, with the path to where it does first."""
        document = self._document
        uses: dict[str, str] = {}

        def use(columns: Sequence[str], *path: str | int) -> None:
            for column in columns:
                uses.setdefault(column, shown_path(path))

        rendered = (_CHOICES,) if document.choices else ()
        use([one for one in self._prompt.columns if one not in rendered], "prompt")
        for key in ("answer", "choices", "tests", "setup", "cluster"):
            value = getattr(document, key)
            for column in value if isinstance(value, list) else [value] if value else ():
                use([column], key)
        for column in self._rows.where:
            use([column], "rows", "where", column)
        use(self._rows.filled, "rows", "filled")
        if document.examples:
            use(read_template(document.examples.answer).columns, "examples", "answer")
        return uses

    def _keep(self, row: Row) -> bool:
        for column, wanted in self._rows.where.items():
            values = wanted if isinstance(wanted, list) else [wanted]
            found = row.get(column)
            # A CSV file has texts only: 1 and true are meant as they are written there.
            if not any(found == one or (isinstance(found, str) and found == said(one))
                       for one in values):  # fmt: skip
                return False
        return all(is_filled(row.get(column)) for column in self._rows.filled)

    def _build(self, row: Row, protocol: PromptProtocol) -> Content:
        document = self._document
        cluster = value_of(row, document.cluster) if document.cluster else ""
        choices = self._options(row)
        reference = self._reference(row, choices)
        if fault := reference_fault(document.grader, reference):
            raise DataError(fault)
        listed = "\n".join(f"({letter(number)}) {text}" for number, text in enumerate(choices))

        def shown(column: str) -> str:
            return listed if choices and column == _CHOICES else value_of(row, column)

        return Content(cluster, self._prompt.fill(shown), reference)

    def _options(self, row: Row) -> list[str]:
        columns = self._document.choices
        if columns is None:
            return []
        if isinstance(columns, list):
            return [value_of(row, column) for column in columns]
        found = row.get(columns)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise DataError(f"{columns} is {quoted(found)}, not a list of texts")
        return list(found)

    def _reference(self, row: Row, choices: Sequence[str]) -> dict[str, Any]:
        document = self._document
        answer, grader = document.answer, document.grader
        if grader == "code":
            assert document.tests is not None
            setup = row.get(document.setup) if document.setup else None
            if setup is not None:
                python(setup, document.setup or "")
            return {"tests": assertions_of(row, document.tests), "setup": setup or ""}
        if answer is None:
            return {}
        match grader:
            case "choice":
                return {"answer": chosen(row, answer, choices), "choices": list(choices)}
            case "number":
                return {"answer": number(row, answer)}
            case "freeform":
                return {"target": value_of(row, answer)}
            case "regex" if document.pattern is None:
                pattern = value_of(row, answer)
                if fault := pattern_fault(pattern):
                    raise DataError(f"{answer}: {fault}")
                return {"pattern": pattern}
            case "rubric":
                return {"answer": value_of(row, answer)}
            case _:
                return {"answers": values_of(row, answer)}

    def _solver(self) -> Callable[[Row], str] | None:
        if self._document.examples is None:
            return None
        template = read_template(self._document.examples.answer)

        def solve(row: Row) -> str:
            return template.fill(lambda column: value_of(row, column))

        return solve


def _name_of(path: Path) -> str:
    found = _FILE_NAME.fullmatch(path.name)
    return found[1] if found else path.stem
