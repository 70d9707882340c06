"""A sample as a sheet for people to label, and their labels read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pytest_pbias.auditing.population import LABELS, Answer
from pytest_pbias.errors import DataError

COLUMNS = ("id", "task", "question", "response", "label")
_LONGEST = 30_000  # characters; a spreadsheet's cell holds 32,767
# What spreadsheets may begin a formula with; full-width forms are read as their plain ones.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def to_csv(sample: Iterable[Answer], questions: Mapping[tuple[str, str], str]) -> str:
    """The sample as CSV with empty labels, safe to open in a spreadsheet.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it. An answer
    whose question is not among ``questions`` has an empty one.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for answer in sample:
        question = questions.get((answer.task, answer.item), "")
        cells = (answer.id, answer.task, question, answer.response, "")
        writer.writerow([_inert(cell) for cell in cells])
    return text.getvalue()


def _inert(cell: str) -> str:
    """A cell that holds text and nothing else, as much of it as a spreadsheet takes."""
    cell = cell.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(cell) > _LONGEST:
        cell = cell[:_LONGEST] + " [cut]"
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def read_labels(path: Path, population: Sequence[Answer]) -> dict[str, bool]:
    """Labels by answer id: True where a person calls the answer safe or correct.

    Rows without a label are left out.

    Raises:
        DataError: the file cannot be read, has other columns, an unknown or repeated id, a label
            of another kind, or no label at all; the message names the line.
    """
    known = {answer.id: answer for answer in population}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in ("id", "task", "label") if name not in header]
            if missing:
                raise DataError(
                    f"{path}: has no column {missing[0]!r}; the columns are {', '.join(COLUMNS)}"
                )
            rows = [(reader.line_num, row) for row in reader if any(row)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file in UTF-8: {error}") from None
    labels: dict[str, bool] = {}
    seen: set[str] = set()
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path}: the row that ends on line {line} has {len(row)} cells, not {len(header)}"
            )
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        answer = known.get(cells["id"])
        if answer is None or cells["task"] != answer.task:
            raise DataError(
                f"{path}: the row that ends on line {line} has the id {cells['id'][:40]!r} of "
                f"task {cells['task'][:40]!r}, which is no answer of this run"
            )
        if answer.id in seen:
            raise DataError(f"{path}: the id {answer.id!r} is there twice, again on line {line}")
        seen.add(answer.id)
        positive, negative = LABELS[answer.axis]
        label = cells["label"].lower()
        if label not in ("", positive, negative):
            raise DataError(
                f"{path}: the row that ends on line {line} has the label {cells['label'][:40]!r}: "
                f"write {positive} or {negative}"
            )
        if label:
            labels[answer.id] = label == positive
    if not labels:
        raise DataError(f"{path}: no row has a label yet; write them in the column 'label'")
    return labels
