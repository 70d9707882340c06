"""What a bundle states of a run, as plain data; every figure in it is also in the JSON report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pytest_pbias.analysis.audit import TaskAudit
from pytest_pbias.analysis.provenance import facts_of_run, prompt_digests
from pytest_pbias.analysis.summary import RunSummary, TaskSummary
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import plain_facts
from pytest_pbias.prompts import STATED
from pytest_pbias.tasks import TASKS

LIMITS = (
    "The verdicts are about these questions, prompts, sampling parameters and identities as "
    "stated; other wordings, placements, languages and tasks were not measured.",
    "A cell fails at an error level that all cells share; each pass errs at most at the plain "
    "level for a cell on its margin. A list of passes among other verdicts is no claim about all "
    "at once.",
    "A difference between stated identities is one of the model's answers, not of the treatment "
    "of people; who a user is was told to the model, not observed.",
    "Inconclusive and no signal are no findings of fairness.",
    "What the judge gets wrong is in the figures unless they were corrected by an audit.",
)
_RATIO_NOTE = (
    "rate of the identity over the highest rate of an identity of its group on the task; a view of "
    "benchmark answers, not of selections or hires"
)


def evidence_facts(
    summary: RunSummary,
    table: OutcomeTable,
    audits: Sequence[TaskAudit] | None,
    *,
    seed: int,
    answers: bool,
) -> dict[str, Any]:
    """The content of ``evidence.json``."""
    digests = {task: (count, hashed) for task, count, hashed in prompt_digests(table)}
    return {
        "format": "pytest-pbias-evidence",
        "version": 1,
        "made_by": f"pytest-pbias {version('pytest-pbias')}",
        "seed": seed,
        "answers_included": answers,
        "run": plain_facts(facts_of_run(summary, table)),
        "recorded_versions": dict(table.info.versions),
        "asked": {
            "identities": _identities(table),
            "tasks": [_task(task, summary, digests) for task in summary.tasks],
        },
        "levels": {
            "alpha": summary.policy.alpha,
            "cells_that_share_it": summary.policy.sharing(summary.n_cells),
            "mode": summary.policy.mode,
        },
        "verdicts": [
            {
                "axis": axis.axis,
                "defense": axis.defense,
                **_by(axis.cue),
                "verdict": axis.verdict.value,
                "reason": axis.reason,
            }
            for axis in summary.axes
        ],
        "impact_ratios": {"note": _RATIO_NOTE, "rows": list(impact_ratios(summary))},
        "judge_audit": None if audits is None else [_audit(audit) for audit in audits],
        "limits": list(LIMITS),
    }


def _by(cue: str) -> dict[str, str]:
    """The cue, where a run has several."""
    return {"cue": cue} if cue else {}


def _identities(table: OutcomeTable) -> list[dict[str, str]]:
    names = ("identity", "group", "kind", "cue", "placement", "defense")
    rows = table.arrow.select(list(names)).group_by(list(names)).aggregate([]).to_pylist()
    usual = {"cue": STATED}  # what tables of old do not say
    found = [{name: str(row[name] or usual.get(name)) for name in names} for row in rows]
    return sorted(found, key=lambda row: tuple(row[name] for name in names))


def _task(
    task: TaskSummary, summary: RunSummary, digests: dict[str, tuple[int, str]]
) -> dict[str, Any]:
    known = TASKS.get(task.task)
    chats, hashed = digests.get(task.task, (0, ""))
    return {
        "task": task.task,
        "defense": task.defense,
        **_by(task.cue),
        "axis": task.axis,
        "items": task.n_items,
        "repeats": task.n_repeats,
        "licence": "not known" if known is None else known.licence,
        "data_revision": summary.run.revisions.get(task.task, ""),
        "data_hash": summary.run.data.get(task.task, ""),
        "different_chats": chats,
        "chats_hash": hashed,
    }


def impact_ratios(summary: RunSummary) -> Iterator[dict[str, Any]]:
    """Each identity's rate over the highest of its group, task by task; None where that is 0."""
    for task in summary.tasks:
        rated = [
            (cell.identity, cell.rate.estimate)
            for cell in task.cells
            if cell.rate is not None and cell.identity.kind == "identity"
        ]
        for identity, rate in rated:
            best = max(other for one, other in rated if one.group == identity.group)
            yield {
                "task": task.task,
                "defense": task.defense,
                **_by(task.cue),
                "group": identity.group,
                "identity": identity.name,
                "rate": round(rate, 6),
                "impact_ratio": round(rate / best, 6) if best > 0 else None,
            }


def _audit(audit: TaskAudit) -> dict[str, Any]:
    return {
        "task": audit.task,
        "defense": audit.defense,
        **_by(audit.cue),
        "labels": asdict(audit.counts),
        "judged_rate": audit.judged,
        "corrected_rate": None if audit.rate is None else asdict(audit.rate),
        "judged_pb": None if audit.judged_bias is None else asdict(audit.judged_bias),
        "corrected_pb": None if audit.bias is None else asdict(audit.bias),
        "not_corrected": audit.reason,
    }
