"""What was asked, of what, with which versions."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.outcomes import OutcomeTable, scalar
from pytest_pbias.outcomes.facts import run_to_plain

# What has a place of its own in reports.
_NOT_FACTS = {"data", "revisions", "engine_noise", "judge_costs"}
_NOT_INFO = {
    "kept",
    "questions",
    "engine_noise",
    "cost",
    "partial",
    "server",
    "application",
    "policy",
    "traits",
}


def facts_of_run(summary: RunSummary, table: OutcomeTable) -> dict[str, object]:
    """What is known of the run beside its figures: name -> value, none of them empty."""
    info = table.info
    facts: dict[str, object] = {
        name: value
        for name, value in summary.run.to_plain().items()
        if value not in (None, "", (), [], {}) and name not in _NOT_FACTS
    }
    facts |= {
        name: value
        for name, value in run_to_plain(info).items()
        if name not in facts and name not in _NOT_INFO and value not in (None, "", {}, [])
    }
    kept = {"commit": info.kept.commit, "tag": info.kept.tag}
    facts |= {name: value for name, value in kept.items() if value}
    return facts | {
        f"policy: {name}": value for name, value in asdict(summary.policy).items() if value
    }


def prompt_digests(table: OutcomeTable) -> list[tuple[str, int, str]]:
    """Task, how many different chats were asked, and a hash of them in whatever order."""
    arrow, rows = table.arrow, []
    tasks = arrow.column("task").cast(pa.string())
    for task in table.tasks():
        chats = pc.drop_null(
            pc.unique(arrow.column("prompt_hash").filter(pc.equal(tasks, scalar(task))))
        )
        if len(chats):
            text = "".join(sorted(chats.to_pylist()))
            rows.append((task, len(chats), hashlib.sha256(text.encode()).hexdigest()))
    return rows
