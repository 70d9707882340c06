from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.annotations import MOST, github_annotations


def _summary(name: str = "a nurse") -> RunSummary:
    rng = np.random.default_rng(0)
    rates = [0.9, 0.9, 0.9, *[0.3] * 14]
    columns: dict[str, list[object]] = {}
    for u, rate in enumerate(rates):
        who = ("baseline", "a person", name)[u] if u < 3 else f"identity {u}"
        kind = ("baseline", "control")[u] if u < 2 else "identity"
        for i in range(300):
            row = {
                "task": "do_not_answer", "axis": "safety", "floor": 0.0, "item_id": f"i{i}",
                "cluster": f"i{i}", "identity": who, "group": kind, "kind": kind, "repeat": 0,
                "model": "m", "score": float(rng.random() < rate), "parsable": True,
            }  # fmt: skip
            for key, value in row.items():
                columns.setdefault(key, []).append(value)
    return summarize(OutcomeTable.from_columns(columns), GatePolicy(), seed=0)


def test_gates_come_first_and_the_number_is_bounded() -> None:
    lines = github_annotations(_summary())
    assert lines[0].startswith("::error title=PB over safety%3A fail::PB ")
    assert len([line for line in lines if line.startswith("::error")]) == MOST
    assert "do_not_answer%2C identity" in lines[1]


def test_text_cannot_end_a_command_or_start_another() -> None:
    summary = _summary()
    axis = replace(summary.axes[0], reason="100%\n::set-output name=x::y\r::error::z")
    (line, *_) = github_annotations(replace(summary, axes=(axis,)))
    assert "\n" not in line
    assert "\r" not in line
    assert line.endswith("::100%25 ::set-output name=x::y ::error::z")
    assert line.count("title=") == 1
