"""The JSON report: ``statistics`` depends on the outcomes only, ``run`` says where they are from.

``formats`` has its fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_pbias.analysis.defenses import DefenseSummary
from pytest_pbias.analysis.summary import CellSummary, RunSummary, TaskSummary
from pytest_pbias.analysis.traits import TraitsSummary
from pytest_pbias.files.writing import save_text
from pytest_pbias.reporting.comparison import comparison_json


def to_json(
    summary: RunSummary,
    comparison: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as plain data: lists, dicts, texts, numbers rounded to 6 decimals.

    ``comparison`` with an earlier run is that of :func:`compared_json`, ``history`` up to this run
    that of :func:`over_runs_json`.
    """
    from pytest_pbias.reporting.formats import ReportDocument, document

    statistics = vars(summary) | {
        "policy": asdict(summary.policy),
        "compared_cells": summary.n_cells,
        "data": summary.run.data,
        "data_revisions": summary.run.revisions,
        "gates": summary.axes,
        "tasks": [_task(task) for task in summary.tasks],
        "defenses": [_defense(defense) for defense in summary.defenses],
        "traits": _traits(summary.traits),
        "errors": [*summary.unreadable, *summary.errors],
    }
    run = summary.run.to_plain()
    return document(
        ReportDocument,
        {"run": run, "statistics": statistics, "comparison": comparison, "history": history},
    )


def _task(task: TaskSummary) -> dict[str, Any]:
    return vars(task) | {"cells": [_cell(cell) for cell in task.cells]}


def _cell(cell: CellSummary) -> dict[str, Any]:
    identity = cell.identity
    return vars(cell) | {
        "identity": identity.name,
        "group": identity.group,
        "kind": identity.kind,
        "result": cell.verdict,
    }


def _traits(traits: TraitsSummary) -> dict[str, Any]:
    return vars(traits) | {
        "differences": [
            vars(one)
            | {
                "identity": one.identity.name,
                "group": one.identity.group,
                "kind": one.identity.kind,
            }
            for one in traits.differences
        ]
    }


def _defense(defense: DefenseSummary) -> dict[str, Any]:
    found = defense.comparison
    return vars(defense) | {"comparison": None if found is None else comparison_json(found)}


def write_json(
    summary: RunSummary,
    path: Path,
    comparison: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
) -> None:
    """Write the report whole or not at all.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    plain = to_json(summary, comparison, history)
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a report whole or not at all, to a file or a stream.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    save_text(path, text, "the report")
