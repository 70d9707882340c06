"""What a report says of the run as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable, scalar


@dataclass(frozen=True)
class RunInfo:
    """What was measured, and how.

    Token counts are those of the answers in the table, whenever they were asked; ``cost`` is what
    the session itself used, with ``amount`` and ``currency`` where the price is known. ``partial``
    says why the run ended early. ``server`` is what is known of a server that the run started:
    engine, version, type of the weights, arguments. ``engine_noise`` is the A/A check, one entry
    for each baseline that was asked twice. ``judge_costs`` are the tokens behind the verdicts of
    judges that are paid for, by judge.
    """

    run_id: str
    model: str
    served_identity: str
    placements: tuple[str, ...]
    data: Mapping[str, str]
    revisions: Mapping[str, str]
    judges: tuple[str, ...]
    sampling: Mapping[str, float]
    n_rows: int
    n_missing: int
    prompt_tokens: int
    completion_tokens: int
    partial: str | None = None
    cost: Mapping[str, float | str] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    engine_noise: tuple[Mapping[str, Any], ...] = ()
    judge_costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def run_info(table: OutcomeTable) -> RunInfo:
    """What the table says of the run as a whole."""

    def single(name: str) -> str:
        return "; ".join(table.unique(name))

    def tokens(name: str) -> int:
        return int(pc.sum(table.arrow.column(name)).as_py() or 0)

    def of_tasks(name: str) -> dict[str, str]:
        tasks = table.arrow.column("task").cast(pa.string())
        column = table.arrow.column(name)
        return {
            task: str(column[pc.index(tasks, scalar(task)).as_py()].as_py())
            for task in table.tasks()
        }

    sampling = table.arrow.select(["temperature", "top_p", "top_k", "max_tokens"])
    first = sampling.slice(0, 1).to_pylist()
    return RunInfo(
        run_id=single("run_id"),
        model=single("model"),
        served_identity=single("served_identity"),
        placements=tuple(name for name in table.unique("placement") if name != "none"),
        data=of_tasks("data_hash"),
        revisions=of_tasks("data_revision"),
        judges=tuple(sorted(set(table.unique("judge")))),
        sampling=first[0] if first else {},
        n_rows=len(table),
        n_missing=int(table.arrow.column("score").null_count),
        prompt_tokens=tokens("prompt_tokens"),
        completion_tokens=tokens("completion_tokens"),
        partial=table.info.get("partial"),
        cost=table.info.get("cost", {}),
        judge_costs=table.info.get("judges", {}).get("cost", {}),
        server=table.info.get("server") or {},
        engine_noise=tuple(table.info.get("engine_noise", ())),
    )
