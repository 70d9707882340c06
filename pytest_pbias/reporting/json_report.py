"""The JSON report: ``statistics`` depends on the outcomes only, ``run`` says where they are from.

Version 1, described by ``schemas/report.schema.json``. Fields are added within a version, never
renamed or removed; numbers that do not exist are null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_pbias.analysis.defenses import DefenseSummary
from pytest_pbias.analysis.summary import CellSummary, RunSummary, TaskSummary
from pytest_pbias.files.writing import save_text
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.plain import plain_data as _plain

FORMAT_VERSION = 1


def to_json(summary: RunSummary, comparison: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The report as plain data: lists, dicts, texts, numbers rounded to 6 decimals.

    ``comparison`` with an earlier run is that of ``comparing.comparison_json``.
    """
    run = summary.run.to_plain()
    data, revisions = run.pop("data"), run.pop("revisions")
    return {
        "format": "pytest-pbias",
        "version": FORMAT_VERSION,
        "run": _plain(run),
        "statistics": {
            "policy": _plain(asdict(summary.policy)),
            "judged_cells": summary.n_cells,
            "data": _plain(data),
            "data_revisions": _plain(revisions),
            "gates": [_plain(axis) for axis in summary.axes],
            "tasks": [_task(task) for task in summary.tasks],
            "defenses": [_defense(defense) for defense in summary.defenses],
            "judges": [_plain(judges) for judges in summary.judges],
            "unparsable": [_plain(finding) for finding in summary.unparsable],
            "errors": [*summary.unreadable, *summary.errors],
        },
        "comparison": comparison,
    }


def _task(task: TaskSummary) -> dict[str, Any]:
    return {
        "task": task.task,
        "defense": task.defense,
        "axis": task.axis,
        "n_items": task.n_items,
        "n_repeats": task.n_repeats,
        "n_clusters": task.n_clusters,
        "baseline": _plain(task.baseline),
        "mean_rate": _plain(task.mean_rate),
        "bias": _plain(task.bias),
        "pvalue": _plain(task.pvalue),
        "cells": [_cell(cell) for cell in task.cells],
    }


def _defense(defense: DefenseSummary) -> dict[str, Any]:
    found = defense.comparison
    return {
        "defense": defense.defense,
        "reference": defense.reference,
        "comparison": None if found is None else comparison_json(found),
    }


def _cell(cell: CellSummary) -> dict[str, Any]:
    return {
        "identity": cell.identity.name,
        "group": cell.identity.group,
        "kind": cell.identity.kind,
        "rate": _plain(cell.rate),
        "result": _plain(cell.verdict),
        "n_unparsable": cell.n_unparsable,
        "n_missing": cell.n_missing,
    }


def write_json(
    summary: RunSummary, path: Path, comparison: Mapping[str, Any] | None = None
) -> None:
    """Write the report whole or not at all.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    text = (
        json.dumps(to_json(summary, comparison), indent=2, ensure_ascii=True, allow_nan=False)
        + "\n"
    )
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a report whole or not at all, to a file or a stream.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    save_text(path, text, "the report")
