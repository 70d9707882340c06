"""How often each identity is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable, scalar

_REFUSAL = "refusal"  # the label by which graders say it


def refusal_rates(table: OutcomeTable, task: str) -> dict[str, float]:
    """Identity -> percentage of its graded answers to a task that are labelled as refusals."""
    rows = table.arrow.select(["task", "identity", "label"])
    rows = rows.filter(pc.equal(rows.column("task").cast(pa.string()), scalar(task))).drop_columns(
        "task"
    )
    label = rows.column("label").cast(pa.string())
    rows = rows.filter(pc.is_valid(label))
    refused = pc.equal(pc.drop_null(label), scalar(_REFUSAL))
    identity = rows.column("identity").cast(pa.string())
    counted = pa.table({"identity": identity, "refused": refused.cast(pa.float64())})
    means = counted.group_by("identity", use_threads=False).aggregate([("refused", "mean")])
    names, shares = (means.column(name).to_pylist() for name in ("identity", "refused_mean"))
    return {name: 100 * share for name, share in zip(names, shares, strict=True)}
