"""What two runs did differently, other than the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable, scalar

Kind = Literal["data", "prompts", "sampling", "judge", "repetitions", "protocol"]

_COLUMNS: dict[Kind, tuple[tuple[str, ...], bool]] = {
    "sampling": (("max_tokens", "temperature", "top_p", "top_k"), True),
    "judge": (("judge", "judge_version"), True),
    # The same items are matched by their content: other items are only left out.
    "data": (("data_hash",), False),
}


@dataclass(frozen=True, slots=True)
class SetupDifference:
    """One thing that the runs did differently, so that a change need not be the model's.

    ``blocks`` says whether a gate refuses to judge over it.
    """

    kind: Kind
    task: str
    old: str
    new: str
    blocks: bool

    def __str__(self) -> str:
        where = f" of {self.task}" if self.task else ""
        return f"{self.kind}{where}: {self.old} before, {self.new} now"


def setup_differences(new: OutcomeTable, old: OutcomeTable) -> tuple[SetupDifference, ...]:
    """Everything that differs between the runs' tasks in common, worst kind first."""
    found: list[SetupDifference] = []
    old_protocol, new_protocol = (str(run.info.get("protocol", "")) for run in (old, new))
    if old_protocol and new_protocol and old_protocol != new_protocol:
        found.append(SetupDifference("protocol", "", old_protocol, new_protocol, True))
    prompts = _changed_prompts(new, old)
    for task in (name for name in new.tasks() if name in old.tasks()):
        rows = [_of_task(run, task) for run in (old, new)]
        for kind, (names, blocks) in _COLUMNS.items():
            before, after = (_values(table, names) for table in rows)
            if before != after:
                shown = [_shown(names, values) for values in (before, after)]
                found.append(SetupDifference(kind, task, shown[0], shown[1], blocks))
        before_runs, after_runs = (int(pc.max(table["run"]).as_py() or 0) + 1 for table in rows)
        if before_runs != after_runs:
            found.append(
                SetupDifference("repetitions", task, str(before_runs), str(after_runs), False)
            )
        changed, total = prompts.get(task, (0, 0))
        if changed:
            found.append(
                SetupDifference("prompts", task, f"{total} matched", f"{changed} differ", True)
            )
    return tuple(sorted(found, key=lambda difference: not difference.blocks))


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
        return ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True))

    return "; ".join(one(row) for row in values)


def _changed_prompts(new: OutcomeTable, old: OutcomeTable) -> dict[str, tuple[int, int]]:
    """By task: how many questions under the same identity were worded differently, of how many."""
    keys = ["task", "identity", "item_id"]

    def prompts(run: OutcomeTable, name: str) -> pa.Table:
        first = run.arrow.filter(pc.equal(run.arrow.column("run"), scalar(0, pa.int32()))).select(
            [*keys, "prompt_hash"]
        )
        columns = [first.column(key).cast(pa.string()) for key in (*keys, "prompt_hash")]
        return pa.table(dict(zip((*keys, name), columns, strict=True)))

    both = prompts(new, "new").join(prompts(old, "old"), keys=keys, join_type="inner")
    known = both.filter(pc.and_(pc.is_valid(both["new"]), pc.is_valid(both["old"])))
    counted = (
        known.append_column("changed", pc.not_equal(known["new"], known["old"]).cast(pa.int64()))
        .group_by("task")
        .aggregate([("changed", "sum"), ("changed", "count")])
    )
    return {row["task"]: (row["changed_sum"], row["changed_count"]) for row in counted.to_pylist()}
