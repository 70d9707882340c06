"""Were two runs asked alike, and complete? Where not, a change need not be the model's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable, scalar
from pytest_pbias.outcomes.schema import SAMPLING_COLUMNS

Kind = Literal["missing", "partial", "data", "prompts", "sampling", "judge", "repeats", "protocol"]

# What the answers lack, rather than how they were asked for.
INCOMPLETE: tuple[Kind, ...] = ("missing", "partial")

_WHOLE = "no"  # to whether a run ended early

_COLUMNS: dict[Kind, tuple[tuple[str, ...], bool]] = {
    "sampling": (SAMPLING_COLUMNS, True),
    "judge": (("judge", "judge_version"), True),
    # The same items are matched by their content: other items are only left out.
    "data": (("data_hash",), False),
}


@dataclass(frozen=True, slots=True)
class SetupDifference:
    """One reason why a change need not be the model's: how the runs were asked, what they lack.

    Answers are *missing* where they could not be had or judged; a run is *partial* that ended
    early. ``blocks`` says whether a gate refuses to decide over it.
    """

    kind: Kind
    task: str
    old: str
    new: str
    blocks: bool

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"missing answers: {self.old} in the earlier run, {self.new} in the new run"
        if self.kind == "partial":
            return f"PARTIAL: the earlier run: {self.old}; the new run: {self.new}"
        where = f" of {self.task}" if self.task else ""
        return f"{self.kind}{where}: {self.old} before, {self.new} now"


def setup_differences(new: OutcomeTable, old: OutcomeTable) -> tuple[SetupDifference, ...]:
    """What either run lacks, and what differs in their common tasks; what blocks comes first."""
    found: list[SetupDifference] = []
    if _n_missing(old) or _n_missing(new):
        found.append(SetupDifference("missing", "", _missing(old), _missing(new), True))
    ends = [run.info.partial or _WHOLE for run in (old, new)]
    if ends != [_WHOLE, _WHOLE]:
        found.append(SetupDifference("partial", "", ends[0], ends[1], True))
    old_protocol, new_protocol = (run.info.protocol for run in (old, new))
    if old_protocol and new_protocol and old_protocol != new_protocol:
        found.append(SetupDifference("protocol", "", old_protocol, new_protocol, True))
    prompts = _changed_prompts(new, old)
    # What an application samples with is its own, and one that is handed the identity states it
    # where it likes: that is what the targets differ in, not how they were asked.
    handed = any(
        run.info.application is not None and run.info.application.identity == "handed"
        for run in (old, new)
    )
    own = [run.info.application is not None for run in (old, new)]
    for task in (name for name in new.tasks() if name in old.tasks()):
        rows = [_of_task(run, task) for run in (old, new)]
        for kind, (names, blocks) in _COLUMNS.items():
            before, after = (_values(table, names) for table in rows)
            if before != after:
                shown = [_shown(names, values) for values in (before, after)]
                if kind == "sampling":
                    shown = [
                        "the application's own" if is_own else text
                        for is_own, text in zip(own, shown, strict=True)
                    ]
                    blocks = blocks and not any(own)
                found.append(SetupDifference(kind, task, shown[0], shown[1], blocks))
        before_repeats, after_repeats = (
            int(pc.max(table["repeat"]).as_py() or 0) + 1 for table in rows
        )
        if before_repeats != after_repeats:
            found.append(
                SetupDifference("repeats", task, str(before_repeats), str(after_repeats), False)
            )
        changed, total = prompts.get(task, (0, 0))
        if changed:
            found.append(
                SetupDifference(
                    "prompts", task, f"{total} matched", f"{changed} differ", not handed
                )
            )
    return tuple(sorted(found, key=lambda difference: not difference.blocks))


def incomplete(run: OutcomeTable) -> str:
    """Why a run cannot be compared with any other, in a few words; empty where it can."""
    if run.info.partial:
        return f"PARTIAL: {run.info.partial}"
    return f"missing answers: {_missing(run)}" if _n_missing(run) else ""


def _n_missing(run: OutcomeTable) -> int:
    return len(_missing_rows(run))


def _missing_rows(run: OutcomeTable) -> pa.ChunkedArray:
    """The tasks of the rows without a score."""
    missing = pc.is_null(run.arrow.column("score"), nan_is_null=True)
    return run.arrow.column("task").filter(missing).cast(pa.string())


def _missing(run: OutcomeTable) -> str:
    """How many answers of a run are missing, of how many, and of which tasks."""
    total = f"of {len(run):,}"
    counts = pc.value_counts(_missing_rows(run)).to_pylist()
    if not counts:
        return f"none {total}"
    where = ", ".join(f"{found['values']} {found['counts']:,}" for found in counts)
    return f"{sum(found['counts'] for found in counts):,} {total} ({where})"


def _of_task(run: OutcomeTable, task: str) -> pa.Table:
    return run.arrow.filter(pc.equal(run.arrow.column("task").cast(pa.string()), scalar(task)))


def _values(table: pa.Table, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    distinct = table.select(list(names)).group_by(list(names)).aggregate([])
    rows = {tuple(str(row[name]) for name in names) for row in distinct.to_pylist()}
    return sorted(rows)


def _shown(names: tuple[str, ...], values: list[tuple[str, ...]]) -> str:
    def one(row: tuple[str, ...]) -> str:
        if len(names) == 1:
            return row[0][:12]
        shown = zip(names, row, strict=True)
        return ", ".join(f"{name} {value}" for name, value in shown if value)

    return "; ".join(one(row) for row in values)


def _changed_prompts(new: OutcomeTable, old: OutcomeTable) -> dict[str, tuple[int, int]]:
    """By task: how many questions under the same identity were worded differently, of how many."""
    keys = ["identity", "item_id"]

    def prompts(run: OutcomeTable, task: str, name: str) -> pa.Table:
        rows = _of_task(run, task)
        first = rows.filter(pc.equal(rows.column("repeat"), scalar(0, pa.int32())))
        columns = [first.column(key).cast(pa.string()) for key in (*keys, "prompt_hash")]
        return pa.table(dict(zip((*keys, name), columns, strict=True)))

    found = {}
    for task in new.tasks():  # one after the other: joined at once they take five times the room
        both = prompts(new, task, "new").join(
            prompts(old, task, "old"), keys=keys, join_type="inner"
        )
        known = both.filter(pc.and_(pc.is_valid(both["new"]), pc.is_valid(both["old"])))
        if len(known):
            changed = pc.sum(pc.not_equal(known["new"], known["old"]).cast(pa.int64()))
            found[task] = (int(changed.as_py()), len(known))
    return found
