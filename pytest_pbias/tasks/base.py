"""What a task, an item and a loaded data set are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pytest_pbias.errors import DataError, is_unicode, quoted, without_controls

Axis = Literal["utility", "safety"]
AXES: tuple[Axis, ...] = ("utility", "safety")
ReadingGrader = Literal["choice", "number", "freeform", "exact", "contains", "regex", "code"]
JudgedBy = Literal["refusal", "compliance", "rubric"]
FileGrader = Literal[ReadingGrader, JudgedBy]
GraderName = Literal[FileGrader, "own"]
PromptProtocol = Literal["default", "paper"]
Row = Mapping[str, Any]

WORK = "Show your work, then end with: Therefore, the answer is {form}."
# The paper's released code puts its instructions before the question: work first, then a closing
# sentence of this form; an MMLU answer is one of the four letters, its options stand on one line.
# Its order, content and closing form are followed, not its sentences.
PAPER_CLOSING = 'Close with a sentence of the form "Therefore, the answer is ...".'


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of a task.

    ``id`` is a hash of the item's content, so that the same item of two runs matches. ``cluster``
    names the items that stand or fall together (MMLU subject, harm category). ``reference`` is
    what the grader needs: see the task that made the item. A task in Python may leave out ``id``,
    which is then made, and ``cluster``, which is then the item itself.
    """

    id: str = ""
    cluster: str = ""
    prompt: str = ""
    reference: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    """What a grader makes of one response.

    ``score`` in [0, 1]: 1 is correct (utility) or safe (safety). ``label`` names the reading
    (``correct``, ``incorrect``, ``unparsable``, ``cut off``, ``refusal``, ``compliance``,
    ``timeout``, ...). ``parsable`` is False where no answer could be read off the response, or
    no grade off the judge's.
    """

    score: float
    label: str
    parsable: bool = True


class OwnTask(Protocol):
    """A task in Python, as users write one; see :func:`pytest_pbias.tasks.own.as_task`.

    It may have ``title``, ``floor``, ``licence``, and ``version``, a text that changes whenever
    grades could. In place of ``grade`` it may have ``grader``, the name of one. ``splits`` are the
    names of its parts, the usual one first. Of these ``items`` gets one if it has a parameter
    ``split``, and the prompt protocol if it has one named ``protocol``. For few-shot prompts
    ``solve(item)`` writes the model answer to an item of the split ``examples``, else of the usual.
    """

    @property
    def name(self) -> str:
        """The name by which it is asked for."""

    @property
    def axis(self) -> Axis:
        """Utility or safety."""

    @property
    def items(self) -> Callable[..., Iterable[Item]]:
        """The method that gives its items, the same in every process and for every identity."""

    def grade(self, item: Item, response: str) -> Grade:
        """The grade of an answer, from the item and the answer alone."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a task reads off one row: its cluster, its prompt, and what the grader needs."""

    cluster: str
    prompt: str
    reference: Mapping[str, Any] = field(default_factory=dict)


def text_of(row: Row, column: str) -> str:
    """What a row says to the model in a column.

    Raises:
        DataError: that is no text, holds nothing that is seen, or what no prompt can hold.
    """
    text = fitting_text(row, column)
    if not without_controls(text).strip():
        raise DataError(f"{column} is empty")
    return text


def fitting_text(row: Row, column: str) -> str:
    """The text in a column, which may be blank.

    Raises:
        DataError: that is no text, or has a null character or half a character, which no request
            can hold.
    """
    text = row[column]
    if not isinstance(text, str):
        raise DataError(f"{column} is {quoted(text)}, not a text")
    check_characters(text, column)
    return text


def check_characters(text: str, column: str) -> None:
    """See that a text can be sent and stored.

    Raises:
        DataError: it has a null character, or half of a character (a lone surrogate).
    """
    if fault := character_fault(text):
        raise DataError(f"{column} {fault}")


def character_fault(text: str) -> str | None:
    """Why a text cannot be sent and stored, or None."""
    if "\0" in text:
        return "has a null character"
    if not is_unicode(text):
        return "has half of a character (a lone surrogate)"
    return None


def _keep_all(row: Row) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class TaskData:
    """A loaded data set: its items in file order, where it came from, and its content hash."""

    task: str
    items: tuple[Item, ...]
    revision: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or glob below the folder of the data sets, and its format.

    ``{split}`` in ``pattern`` and ``name_suffix`` stands for the folder name of a split.
    Without a ``format`` the file's ending says it. ``header`` names the columns of headerless CSV
    files; ``field`` is the JSON key that holds the rows, without which the file is a list of them;
    ``name_column`` receives the name of the file a row came from, less ``name_suffix``.
    """

    pattern: str
    format: Literal["csv", "tsv", "jsonl", "json", "parquet"] | None
    header: tuple[str, ...] = ()
    field: str = ""
    name_column: str = ""
    name_suffix: str = ""


def unchanged(row: Row) -> Row:
    """The row of a hub that has the columns of the local layout."""
    return row


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the Hugging Face Hub at a pinned revision.

    ``columns`` are the hub's; ``adapt`` turns a hub row into the columns of the local layout.
    With several ``configs``, ``config_column`` receives the name of the one a row came from.
    """

    path: str
    revision: str
    columns: tuple[str, ...]
    adapt: Callable[[Row], Row]
    configs: tuple[str, ...] = ()
    config_column: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a data set.

    ``hub`` is its expression on the hub, ``folder`` its name in local files, ``rows`` how many
    rows it has at the pinned revision (None: not checked). ``keep`` selects its rows from a local
    file that holds them all.
    """

    hub: str
    folder: str = ""
    rows: int | None = None
    keep: Callable[[Row], bool] = _keep_all


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark.

    ``floor`` is the rate (in [0, 1]) that a model without any ability reaches: chance for choices,
    0 for open answers. ``columns`` are the required columns of the local layout. ``build`` turns
    one row into (cluster, prompt, reference) under the prompts of a protocol; ``keep`` selects
    the rows that belong to the task. ``splits`` are the parts of the set, the usual one first.
    For few-shot prompts, ``solve`` writes the model answer to a row, and examples are drawn from
    the split ``examples``; a task without ``solve`` is always asked without examples.

    A task of the user's own has a ``source``, the file or object that defines it. Its rows are in
    ``folder``, else on the hub; ``uses`` says by column where in the source it is named. What its
    grader needs beside each item's reference is in ``options``. One in Python is ``own``, which
    gives its items, and grades them where ``grader`` is ``own``.
    """

    name: str
    title: str
    axis: Axis
    grader: GraderName
    floor: float
    licence: str
    columns: tuple[str, ...]
    local: LocalSource | None
    hub: HubSource | None
    build: Callable[[Row, PromptProtocol], Content]
    splits: Mapping[str, Split] = field(hash=False)
    keep: Callable[[Row], bool] = _keep_all
    solve: Callable[[Row], str] | None = None
    examples: str = ""
    source: str = ""
    folder: Path | None = None
    uses: Mapping[str, str] = field(default_factory=dict, hash=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    own: OwnTask | None = None

    def data_folder(self, data_dir: Path | None) -> Path | None:
        """Where the task's files are, given that of the package's tasks; None: on the hub."""
        return self.folder if self.source else data_dir

    @property
    def usual_split(self) -> str:
        """The split that is asked unless another is chosen."""
        return next(iter(self.splits))
