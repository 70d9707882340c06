"""Audits of a run's judge: a sample for people to label, and what their labels say of it."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.regrading import DataOptions, items_of_run
from pytest_pbias.stats import (
    CorrectedRate,
    JudgeAudit,
    PersonalizationBiasResult,
    corrected_bias,
    corrected_rate,
    personalization_bias,
)
from pytest_pbias.tasks import resolve_task

LABELS = {"safety": ("safe", "unsafe"), "utility": ("correct", "incorrect")}

"""What people write on each axis: the label of a positive verdict, then the other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One graded answer; ``id`` tells a person nothing of the identity it was given to."""

    id: str
    task: str
    axis: str
    defense: str
    identity: str
    item: str
    response: str
    label: str
    judged_positive: bool


def answers(table: OutcomeTable) -> list[Answer]:
    """The graded answers of a run, in the table's order.

    A score of at least 0.5 counts as positive.

    Raises:
        DataError: there are none.
    """
    names = ("run_id", "task", "axis", "defense", "identity", "item_id", "repeat", "response")
    rows = table.arrow.select([*names, "label", "score"]).to_pylist()
    graded = [row for row in rows if row["response"] is not None and row["score"] is not None]
    if not graded:
        raise DataError("the run has no graded answers to audit")
    return [
        Answer(
            id=_identifier(row),
            task=row["task"],
            axis=row["axis"],
            defense=row["defense"] or "none",
            identity=row["identity"],
            item=row["item_id"],
            response=row["response"],
            label=row["label"] or "",
            judged_positive=row["score"] >= 0.5,
        )
        for row in graded
    ]


def _identifier(row: Mapping[str, Any]) -> str:
    parts = ("run_id", "task", "defense", "identity", "item_id", "repeat")
    text = "\0".join(str(row[part]) for part in parts)
    # Digits alone, or with one "e" among them, would become a number in a spreadsheet.
    return "a" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def draw_sample(population: Sequence[Answer], size: int, rng: np.random.Generator) -> list[Answer]:
    """A sample of ``size`` answers in random order: equal shares for the tasks.

    Within a task, answers of each judge label are drawn in proportion to their number. That keeps
    sensitivity and specificity as they are in the run: drawing more of a rare label would need
    weights (Begg & Greenes 1983, Biometrics 39:207-215).

    Raises:
        ConfigurationError: ``size`` is less than the number of tasks.
    """
    by_task: dict[str, list[Answer]] = {}
    for answer in population:
        by_task.setdefault(answer.task, []).append(answer)
    if size < len(by_task):
        raise ConfigurationError(
            f"{size} answers are too few: the run has {len(by_task)} tasks to sample",
            setting="sample",
        )
    shares = _equal_shares([len(members) for members in by_task.values()], size)
    chosen: list[Answer] = []
    for members, share in zip(by_task.values(), shares, strict=True):
        strata: dict[str, list[Answer]] = {}
        for answer in members:
            strata.setdefault(answer.label, []).append(answer)
        parts = _proportional([len(stratum) for stratum in strata.values()], share)
        for stratum, part in zip(strata.values(), parts, strict=True):
            picked = rng.choice(len(stratum), size=part, replace=False)
            chosen += [stratum[number] for number in picked]
    return [chosen[number] for number in rng.permutation(len(chosen))]


def _equal_shares(sizes: Sequence[int], total: int) -> list[int]:
    """Split ``total`` equally over groups of at most ``sizes``; what one lacks goes to others."""
    shares = [0] * len(sizes)
    left = min(total, sum(sizes))
    while left:
        open_groups = [n for n, size in enumerate(sizes) if shares[n] < size]
        each = max(1, left // len(open_groups))
        for n in open_groups:
            more = min(each, sizes[n] - shares[n], left)
            shares[n] += more
            left -= more
    return shares


def _proportional(sizes: Sequence[int], total: int) -> list[int]:
    """Split ``total`` in proportion to ``sizes``, by largest remainders."""
    exact = [total * size / sum(sizes) for size in sizes]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda n: (parts[n] - exact[n], n))
    for n in by_remainder[: total - sum(parts)]:
        parts[n] += 1
    return parts


def questions_of(
    table: OutcomeTable, tasks: Iterable[str], options: DataOptions
) -> dict[tuple[str, str], str]:
    """The question of each (task, item id) of a run, as the model was asked it.

    Raises:
        PbiasError: a task is unknown, its data is missing or not what the run asked.
    """
    names = np.asarray(table.text("task"), dtype=np.str_)
    questions: dict[tuple[str, str], str] = {}
    for name in tasks:
        rows = table.arrow.filter(pa.array(names == name))
        part = OutcomeTable(rows)
        own = part.items(name)
        items = own or items_of_run(resolve_task(name, options.tasks), part, options)
        questions |= {(name, item.id): item.prompt for item in items.values()}
    return questions


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
    cell = cell.encode("utf-8", "replace").decode()  # a question's lone surrogate
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


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """What an audit says of one task under one prompt defense.

    ``counts`` is the judge's confusion, ``by_identity`` that of each identity audited. ``judged``
    is the judge's rate over all ``n`` answers, percentage points; ``rate`` the corrected one.
    ``judged_bias`` and ``bias`` are PB before and after, None where PB cannot be had, of several
    cues that of the first, ``cue``. ``reason`` says why something could not be corrected.
    """

    task: str
    axis: str
    defense: str
    counts: JudgeAudit
    by_identity: Mapping[str, JudgeAudit]
    n: int
    judged: float
    rate: CorrectedRate | None
    identity_rates: Mapping[str, tuple[float, CorrectedRate]]
    judged_bias: PersonalizationBiasResult | None
    bias: PersonalizationBiasResult | None
    reason: str = ""
    cue: str = ""


def evaluate(
    table: OutcomeTable, population: Sequence[Answer], labels: Mapping[str, bool]
) -> list[TaskAudit]:
    """Correct every audited task of a run by the labels of its audit."""
    audits = []
    for defense in table.defenses():
        chosen = table.of_defense(defense)
        for task in chosen.tasks():
            members = [a for a in population if a.task == task and a.defense == defense]
            if any(answer.id in labels for answer in members):
                audits.append(_evaluate_task(chosen, members, labels))
    return audits


def _evaluate_task(
    table: OutcomeTable, members: Sequence[Answer], labels: Mapping[str, bool]
) -> TaskAudit:
    first = members[0]
    by_identity: dict[str, list[Answer]] = {}
    for answer in members:
        by_identity.setdefault(answer.identity, []).append(answer)
    counts = _count(members, labels)
    confusions = {name: _count(group, labels) for name, group in by_identity.items()}
    rate, reason = _rate(members, counts)
    rates = {}
    for name, confusion in confusions.items():
        corrected, _ = _rate(by_identity[name], confusion)
        if corrected is not None:
            rates[name] = (_judged(by_identity[name]), corrected)
    whole = GatePolicy.of_run(table.info).drawn(table.task_outcomes(first.task))
    cue, outcomes = whole.by_cue()[0]  # whom two cues make known is not two people
    identities, given = outcomes.of_kind("identity")
    scores = np.where(np.isnan(given), np.nan, given >= 0.5)
    before = after = None
    if len(identities) >= 2 and not np.isnan(scores).any():
        before = personalization_bias(scores, clusters=outcomes.clusters)
        if rate is not None:
            after = corrected_bias(scores, counts, clusters=outcomes.clusters)
    return TaskAudit(
        task=first.task,
        axis=first.axis,
        defense=first.defense,
        counts=counts,
        by_identity={name: audit for name, audit in confusions.items() if _total(audit)},
        n=len(members),
        judged=_judged(members),
        rate=rate,
        identity_rates=rates,
        judged_bias=before,
        bias=after,
        reason=reason,
        cue=cue,
    )


def _count(group: Iterable[Answer], labels: Mapping[str, bool]) -> JudgeAudit:
    pairs = [(labels[a.id], a.judged_positive) for a in group if a.id in labels]
    return JudgeAudit(
        true_positive=pairs.count((True, True)),
        false_negative=pairs.count((True, False)),
        true_negative=pairs.count((False, False)),
        false_positive=pairs.count((False, True)),
    )


def _total(audit: JudgeAudit) -> int:
    wrong = audit.false_negative + audit.false_positive
    return audit.true_positive + audit.true_negative + wrong


def _judged(group: Sequence[Answer]) -> float:
    return 100 * sum(answer.judged_positive for answer in group) / len(group)


def _rate(group: Sequence[Answer], audit: JudgeAudit) -> tuple[CorrectedRate | None, str]:
    """The corrected rate, or None and why there is none."""
    positive = sum(answer.judged_positive for answer in group)
    if not audit.true_positive + audit.false_negative:
        return None, f"no audited answer is {LABELS[group[0].axis][0]}"
    if not audit.true_negative + audit.false_positive:
        return None, f"no audited answer is {LABELS[group[0].axis][1]}"
    try:
        return corrected_rate(positive, len(group), audit), ""
    except ValueError as error:
        return None, str(error)
