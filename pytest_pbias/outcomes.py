"""The outcome table: one row per identity, task, item and run; every later step reads it.

Everything after collecting can be computed from this table offline. It is stored as Parquet with
a versioned schema; a table of a newer version is refused, never guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pytest_pbias.errors import DataError
from pytest_pbias.grading.base import Grade, Graded
from pytest_pbias.identities import Identity
from pytest_pbias.identities.base import Kind

SCHEMA_VERSION = 2
_VERSION_KEY = b"pbias_schema_version"
_INFO_KEY = b"pbias_run"

_TEXT = pa.dictionary(pa.int32(), pa.string())
# A grade that another judge than ``judge`` gave; a score is null where that judge failed.
_GRADE = pa.struct(
    [
        pa.field("judge", pa.string()),
        pa.field("version", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("label", pa.string()),
        pa.field("parsable", pa.bool_()),
    ]
)
# Version 2 added ``other_grades``; its rows without other judges have null there.
_SINCE_VERSION = {"other_grades": 2}
SCHEMA = pa.schema(
    [
        pa.field("run_id", _TEXT),
        pa.field("model", _TEXT),
        pa.field("served_identity", _TEXT),
        pa.field("task", _TEXT, nullable=False),
        pa.field("axis", _TEXT, nullable=False),
        pa.field("floor", pa.float64()),
        pa.field("data_revision", _TEXT),
        pa.field("data_hash", _TEXT),
        pa.field("item_id", _TEXT, nullable=False),
        pa.field("cluster", _TEXT, nullable=False),
        pa.field("identity", _TEXT, nullable=False),
        pa.field("group", _TEXT, nullable=False),
        pa.field("kind", _TEXT, nullable=False),
        pa.field("placement", _TEXT),
        pa.field("defense", _TEXT),
        pa.field("run", pa.int32(), nullable=False),
        pa.field("seed", pa.int64()),
        pa.field("max_tokens", pa.int32()),
        pa.field("temperature", pa.float64()),
        pa.field("top_p", pa.float64()),
        pa.field("top_k", pa.int32()),
        pa.field("prompt_hash", pa.string()),
        pa.field("request_key", pa.string()),
        pa.field("response", pa.string()),
        pa.field("finish_reason", _TEXT),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("latency", pa.float64()),
        pa.field("score", pa.float64()),
        pa.field("label", _TEXT),
        pa.field("parsable", pa.bool_()),
        pa.field("judge", _TEXT),
        pa.field("judge_version", _TEXT),
        pa.field("other_grades", pa.list_(_GRADE)),
        pa.field("error", _TEXT),
    ],
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)

# What the arrays of a task are made of; the texts of the answers are not among it.
_OUTCOME_COLUMNS = [
    *("task", "axis", "floor", "item_id", "cluster", "identity", "group", "kind", "placement"),
    *("run", "score", "parsable", "judge", "other_grades"),
]

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskOutcomes:
    """The outcomes of one task as arrays.

    ``scores`` has shape (identities, items, runs), NaN where a response is missing, with the
    identities in ``identities`` (baseline and controls included), the items in ``items``.
    ``unparsable`` has the same shape: 1 where the response could not be parsed, NaN where missing.
    ``clusters`` has shape (items,). ``floor`` is the chance level in [0, 1]. ``references`` gives
    for each identity the number of the baseline that it is compared with. ``judge`` gave
    ``scores``; ``others`` has the scores of further judges, of the same shape, NaN where that judge
    gave no readable verdict.
    """

    task: str
    axis: str
    floor: float
    identities: tuple[Identity, ...]
    items: tuple[str, ...]
    clusters: npt.NDArray[np.str_]
    scores: Scores
    unparsable: Scores
    references: tuple[int | None, ...]
    judge: str = ""
    others: Mapping[str, Scores] = field(default_factory=dict)

    def of_kind(self, kind: str) -> tuple[tuple[Identity, ...], Scores]:
        """Identities of a kind, and their scores of shape (those identities, items, runs)."""
        index = [i for i, identity in enumerate(self.identities) if identity.kind == kind]
        return tuple(self.identities[i] for i in index), self.scores[index]

    @property
    def baseline(self) -> Scores | None:
        """The baseline's scores, shape (items, runs), or None where it was not asked."""
        identities, scores = self.of_kind("baseline")
        return scores[0] if identities else None

    def baseline_of(self, number: int) -> Scores | None:
        """The scores that identity ``number`` is compared with, shape (items, runs)."""
        reference = self.references[number]
        return None if reference is None else self.scores[reference]


class OutcomeTable:
    """Outcomes of a run, backed by an Arrow table with :data:`SCHEMA`."""

    def __init__(self, table: pa.Table) -> None:
        self.arrow = table

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> OutcomeTable:
        """Build a table from one list a column; columns not given are null."""
        length = len(columns["task"])
        arrays = [
            pa.array(columns.get(field.name, [None] * length), type=field.type) for field in SCHEMA
        ]
        return cls(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the run as a whole (versions, protocol, cost, ...); empty by default."""
        stored = (self.arrow.schema.metadata or {}).get(_INFO_KEY)
        return {} if stored is None else dict(json.loads(stored))

    def with_info(self, **values: Any) -> OutcomeTable:
        """The same table with facts of the run added; each value must be JSON."""
        metadata = dict(self.arrow.schema.metadata or {})
        metadata[_INFO_KEY] = json.dumps(self.info | values, sort_keys=True).encode()
        return OutcomeTable(self.arrow.replace_schema_metadata(metadata))

    def write(self, path: Path) -> None:
        """Write the table as Parquet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(path.suffix + ".part")
        pq.write_table(self.arrow, partial, compression="zstd")
        partial.replace(path)

    @classmethod
    def read_info(cls, path: Path) -> dict[str, Any]:
        """The facts of a stored run without its rows.

        Raises:
            DataError: the file is missing or is no outcome table.
        """
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be read as an outcome table: {reason}") from None
        if _VERSION_KEY not in metadata:
            raise DataError(f"{path}: is Parquet, but not an outcome table of pytest-pbias")
        return dict(json.loads(metadata.get(_INFO_KEY, b"{}")))

    @classmethod
    def read(cls, path: Path, *, leave_out: Collection[str] = ()) -> OutcomeTable:
        """Read a table written by this or an older version.

        The columns ``leave_out`` are not read and null: answers take most of a table's memory.

        Raises:
            DataError: the file is missing, is no outcome table, or is of a newer version.
        """
        try:
            names = [name for name in pq.read_schema(path).names if name not in leave_out]
            table = pq.read_table(path, columns=names)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be read as an outcome table: {reason}") from None
        version = (table.schema.metadata or {}).get(_VERSION_KEY, b"").decode()
        if not version.isdigit():
            raise DataError(f"{path}: is Parquet, but not an outcome table of pytest-pbias")
        if int(version) > SCHEMA_VERSION:
            raise DataError(
                f"{path}: has schema version {version}, this version reads up to "
                f"{SCHEMA_VERSION}; upgrade pytest-pbias"
            )
        return cls(_upgrade(table, int(version), path, leave_out))

    def texts_at(self, name: str, rows: npt.NDArray[np.intp]) -> list[str | None]:
        """The values of a text column in the rows with these numbers."""
        return list(self.arrow.column(name).take(pa.array(rows)).to_pylist())

    def text(self, name: str) -> list[str | None]:
        """One column as a list of strings."""
        return list(self.arrow.column(name).to_pylist())

    def unique(self, name: str) -> tuple[str, ...]:
        """The distinct non-null values of a text column, in order of first appearance."""
        values = pc.unique(self.arrow.column(name).cast(pa.string()))
        return tuple(value for value in values.to_pylist() if value is not None)

    def tasks(self) -> tuple[str, ...]:
        """The tasks in the table, in order."""
        return self.unique("task")

    def defenses(self) -> tuple[str, ...]:
        """The prompt defences in the table, in order."""
        return tuple(pc.unique(self._defense_column()).to_pylist()) if len(self) else ("none",)

    def of_defense(self, defense: str) -> OutcomeTable:
        """The rows that were asked under one prompt defence."""
        if self.defenses() == (defense,):
            return self
        return OutcomeTable(self.arrow.filter(pc.equal(self._defense_column(), defense)))

    def _defense_column(self) -> pa.ChunkedArray:
        return pc.fill_null(self.arrow.column("defense").cast(pa.string()), "none")

    def errors(self) -> tuple[str, ...]:
        """The distinct reasons why responses are missing."""
        return self.unique("error")

    def task_outcomes(self, task: str) -> TaskOutcomes:
        """The outcomes of one task as arrays; see :class:`TaskOutcomes`.

        Raises:
            DataError: the table has several prompt defences; see :meth:`of_defense`.
        """
        if len(self.defenses()) > 1:
            raise DataError(
                f"the table has answers under several defences ({', '.join(self.defenses())}): "
                "choose one of them"
            )
        used = self.arrow.select(_OUTCOME_COLUMNS)
        rows = used.filter(pc.equal(used.column("task").cast(pa.string()), task))
        identity_codes, identity_names = _codes(rows, "identity")
        item_codes, items = _codes(rows, "item_id")
        runs = rows.column("run").to_numpy()
        shape = (len(identity_names), len(items), int(runs.max()) + 1)
        index = (identity_codes, item_codes, runs)
        scores = np.full(shape, np.nan)
        scores[index] = rows.column("score").to_numpy()
        unparsable = np.full(shape, np.nan)
        parsable = rows.column("parsable").cast(pa.float64()).to_numpy()
        unparsable[index] = 1.0 - parsable
        first = _first_rows(identity_codes, len(identity_names))
        groups = rows.column("group").cast(pa.string()).take(pa.array(first)).to_pylist()
        kinds: list[Kind] = rows.column("kind").cast(pa.string()).take(pa.array(first)).to_pylist()
        placements = rows.column("placement").cast(pa.string()).take(pa.array(first)).to_pylist()
        clusters = rows.column("cluster").cast(pa.string())
        first_item = pa.array(_first_rows(item_codes, len(items)))
        return TaskOutcomes(
            task=task,
            axis=str(rows.column("axis")[0].as_py()),
            floor=float(rows.column("floor")[0].as_py()),
            identities=tuple(
                Identity(name, group, kind)
                for name, group, kind in zip(identity_names, groups, kinds, strict=True)
            ),
            items=tuple(items),
            clusters=np.asarray(clusters.take(first_item).to_pylist(), dtype=np.str_),
            scores=scores,
            unparsable=unparsable,
            references=_references(kinds, placements),
            judge=", ".join(OutcomeTable(rows).unique("judge")),
            others=_other_scores(rows, index, shape),
        )


def grade_to_plain(judge: str, version: str, grade: Graded) -> dict[str, Any]:
    """A grade as it stands in ``other_grades``: without a score where the judge failed."""
    given = grade if isinstance(grade, Grade) else None
    return {
        "judge": judge,
        "version": version,
        "score": None if given is None else given.score,
        "label": "error" if given is None else given.label,
        "parsable": None if given is None else given.parsable,
    }


def _upgrade(
    table: pa.Table, version: int, path: Path, leave_out: Collection[str] = ()
) -> pa.Table:
    """The table in the present schema; columns younger than ``version`` or left out are null."""
    added = [name for name, since in _SINCE_VERSION.items() if since > version]
    added += leave_out
    missing = [name for name in SCHEMA.names if name not in (*table.column_names, *added)]
    if missing:
        raise DataError(f"{path}: the outcome table lacks {', '.join(missing)}; write it again")
    columns = [
        pa.nulls(len(table), field.type)
        if field.name in added
        else table.column(field.name).cast(field.type)
        for field in SCHEMA
    ]
    metadata = dict(table.schema.metadata) | dict(SCHEMA.metadata)
    return pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata(metadata))


def _references(kinds: Sequence[Kind], placements: Sequence[str | None]) -> tuple[int | None, ...]:
    """The baseline of each identity: the one placed like it, else the question alone."""
    baselines = [number for number, kind in enumerate(kinds) if kind == "baseline"]
    alone = next((n for n in baselines if placements[n] in ("none", None)), None)
    usual = alone if alone is not None else next(iter(baselines), None)
    placed = {placements[number]: number for number in baselines}
    return tuple(placed.get(placement, usual) for placement in placements)


def _other_scores(
    rows: pa.Table,
    index: tuple[npt.NDArray[np.int64], ...],
    shape: tuple[int, ...],
) -> dict[str, Scores]:
    """Scores of the judges beside the primary one, as arrays of ``shape``."""
    column = rows.column("other_grades").combine_chunks()
    grades = column.flatten()
    if not len(grades):
        return {}
    row = pc.list_parent_indices(column).to_numpy()
    judge, readable, score = (grades.field(name) for name in ("judge", "parsable", "score"))
    values = pc.if_else(readable, score, None).to_numpy(zero_copy_only=False).astype(np.float64)
    names = judge.dictionary_encode()
    codes = names.indices.to_numpy()
    found = {}
    for code, name in enumerate(names.dictionary.to_pylist()):
        chosen = codes == code
        scores = np.full(shape, np.nan)
        scores[tuple(part[row[chosen]] for part in index)] = values[chosen]
        found[name] = scores
    return found


def _codes(rows: pa.Table, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Integer codes of a text column, and its values in order of first appearance."""
    encoded = rows.column(name).cast(pa.string()).combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _first_rows(codes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    first = np.zeros(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def stored_texts(path: Path, name: str, rows: npt.NDArray[np.intp]) -> list[str | None]:
    """The values of a text column of a stored table in these rows, a batch in memory at a time."""
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    found: list[str | None] = []
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(columns=[name], batch_size=16_384):
        first, last = np.searchsorted(wanted, [start, start + len(batch)])
        found += batch.column(0).take(pa.array(wanted[first:last] - start)).to_pylist()
        start += len(batch)
    texts: list[str | None] = [None] * len(rows)
    for place, text in zip(order.tolist(), found, strict=True):
        texts[place] = text
    return texts


def concatenate(tables: Iterable[OutcomeTable]) -> OutcomeTable:
    """Stack tables of the same schema in the order given."""
    stacked = pa.concat_tables([table.arrow for table in tables])
    return OutcomeTable(stacked.unify_dictionaries().combine_chunks())
