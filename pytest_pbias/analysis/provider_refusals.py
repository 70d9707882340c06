"""What the provider's content filter stopped, by identity: its doing, not the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    found: dict[tuple[str, str], ProviderRefusals] = {}
    for row in counted:
        key = (row["task"], row["defense"] or "none")
        one = found.setdefault(key, ProviderRefusals(*key, {}, {}))
        found[key] = ProviderRefusals(
            *key,
            {**one.stopped, row["identity"]: row["stopped_sum"] or 0},
            {**one.answers, row["identity"]: row["stopped_count"]},
        )
    return tuple(one for one in found.values() if any(one.stopped.values()))
