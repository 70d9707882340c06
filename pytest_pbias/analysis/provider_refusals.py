"""What the provider's content filter stopped, by identity: its doing, not the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.grading.standing import PROVIDER_REFUSAL
from pytest_pbias.outcomes import OutcomeTable, scalar


@dataclass(frozen=True)
class ProviderRefusals:
    """One task under one prompt defense: identity -> answers stopped, and answers had at all."""

    task: str
    defense: str
    stopped: Mapping[str, int]
    answers: Mapping[str, int]


def provider_refusals(table: OutcomeTable) -> tuple[ProviderRefusals, ...]:
    """The tasks of which the provider's filter stopped anything, in the table's order."""
    stopped = pc.equal(table.arrow.column("label").cast(pa.string()), scalar(PROVIDER_REFUSAL))
    if not pc.any(stopped).as_py():
        return ()
    names = ("task", "defense", "identity")
    rows = pa.table(
        {name: table.arrow.column(name).cast(pa.string()) for name in names}
        | {"stopped": stopped.cast(pa.int64())}
    )
    grouped = rows.group_by(names, use_threads=False)
    counted = grouped.aggregate([("stopped", "sum"), ("stopped", "count")]).to_pylist()
    by_task: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in counted:
        by_task.setdefault((row["task"], row["defense"] or "none"), []).append(row)
    return tuple(
        ProviderRefusals(
            *key,
            stopped={row["identity"]: row["stopped_sum"] or 0 for row in of_task},
            answers={row["identity"]: row["stopped_count"] for row in of_task},
        )
        for key, of_task in by_task.items()
        if any(row["stopped_sum"] for row in of_task)
    )
