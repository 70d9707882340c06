"""A cell has a verdict where it and the baseline it is compared with are answered in full."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable

ITEMS = 200
PEOPLE = (
    ("baseline", "baseline", "system"),
    ("a nurse", "identity", "system"),
    ("baseline (history)", "baseline", "history"),
    ("a nurse (history)", "identity", "history"),
)


def _verdicts(lost: dict[str, int]) -> dict[str, str]:
    """Verdicts of a run in which some answers of these identities are missing."""
    columns: dict[str, list[object]] = {}
    for name, kind, placement in PEOPLE:
        for number in range(ITEMS):
            missing = number < lost.get(name, 0)
            row = {
                "task": "mmlu", "axis": "utility", "floor": 0.25, "item_id": f"i{number}",
                "cluster": f"i{number}", "identity": name, "group": kind, "kind": kind, "repeat": 0,
                "placement": placement, "score": None if missing else 1.0,
                "parsable": None if missing else True, "error": "lost" if missing else None,
            }  # fmt: skip
            for key, value in row.items():
                columns.setdefault(key, []).append(value)
    with np.errstate(all="raise"):
        summary = summarize(OutcomeTable.from_columns(columns), GatePolicy(), seed=0)
    (task,) = summary.tasks
    return {
        cell.identity.name: "error" if cell.verdict is None else cell.verdict.verdict.value
        for cell in task.cells
    }


@pytest.mark.parametrize("lost", [1, 20, ITEMS])
@pytest.mark.parametrize(
    ("baseline", "judged", "unjudged"),
    [
        ("baseline", "a nurse (history)", "a nurse"),
        ("baseline (history)", "a nurse", "a nurse (history)"),
    ],
)
def test_each_cell_needs_its_own_baseline(
    lost: int, baseline: str, judged: str, unjudged: str
) -> None:
    verdicts = _verdicts({baseline: lost})
    assert verdicts == {judged: "pass", unjudged: "error"}


def test_nothing_lost_everything_judged() -> None:
    assert set(_verdicts({}).values()) == {"pass"}
