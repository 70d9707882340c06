"""Many runs: which can be joined, what drifts, and that neighbours' noise is no drift."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.condition import decide_condition
from pytest_pbias.analysis.across_runs.history import History, SharedRuns, make_history, share_runs
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.formats import HistoryDocument
from pytest_pbias.reporting.history import history_json, history_section, sparkline
from pytest_pbias.reporting.tables import Bullets

from .conftest import Maker, under, with_holes

WORSE = {"do_not_answer/a man": 0.7}


def _shared(runs: list[OutcomeTable], **options: Any) -> SharedRuns:
    """The runs, given oldest first and called r0, r1, ..."""
    named = [(f"r{number}", lambda run=run: run) for number, run in enumerate(runs)]
    return share_runs(reversed(named), GatePolicy(**options))


def _history(runs: list[OutcomeTable]) -> History:
    return make_history(_shared(runs), GatePolicy())


def test_a_shift_is_found_where_it_happened(make: Maker) -> None:
    runs = [make.table(WORSE if number > 3 else {}, seed=number) for number in range(7)]
    history = _history(runs)
    assert history.drifting == ("safety",)
    (safety,) = (axis for axis in history.axes if axis.axis == "safety")
    assert safety.bias_drift is not None
    contrast, change = safety.bias_drift.clearest
    assert history.shared.runs[contrast.at].name == "r4"
    assert 6 < change.low < change.estimate < change.high < 13
    (drifting,) = (cell for cell in history.cells if cell.drift.shown)
    assert (drifting.task, drifting.identity.name) == ("do_not_answer", "a man")
    assert drifting.changed
    assert drifting.verdicts == ("pass",) * 4 + ("fail",) * 3
    assert drifting.drift.clearest[1].estimate < -10

    shared = history.shared
    for text, verdict in (
        ("pb_safety>+1.0", Verdict.FAIL),
        ("pb_safety>+30", Verdict.PASS),
        ("cell_do_not_answer<-8", Verdict.FAIL),
        ("cell_mmlu<-20", Verdict.PASS),
        ("pb_utility>+0.1", Verdict.INCONCLUSIVE),
        ("rate_safety<-3", Verdict.FAIL),
        ("baseline_safety<-10", Verdict.PASS),
        ("pb_safety>+1.0 and cell_mmlu<-20", Verdict.PASS),
    ):
        outcome = decide_condition(text, shared, alpha=0.05)
        assert outcome.verdict is verdict, (text, outcome.reason)
    assert "a man, do_not_answer, " in decide_condition("cell_safety<-8", shared, alpha=0.05).reason


def test_runs_that_are_alike_do_not_drift(make: Maker) -> None:
    biased = {"a man": 0.6}
    history = _history([make.table(biased, seed=number) for number in range(8)])
    assert history.drifting == ()
    assert not any(cell.drift.shown for cell in history.cells)
    assert all(
        cell.verdicts == ("fail",) * 8 for cell in history.cells if cell.identity.name == "a man"
    )
    assert [len(axis.bias) for axis in history.axes] == [8, 8]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"prompt_hash": "other"}, "prompts of do_not_answer"),
        ({"temperature": 1.0}, "sampling of do_not_answer"),
        ({"judge": "llm"}, "judge of do_not_answer"),
        ({"info": {"protocol": "paper"}}, "protocol"),
        ({"info": {"partial": "stopped"}}, "PARTIAL"),
        ({"first_item": 5000}, "other data"),
        ({"n_items": 90}, "only 90 of 400 questions"),
        ({"tasks": ("mmlu",)}, "do_not_answer was not asked"),
    ],
)
def test_what_was_asked_otherwise_is_set_apart_and_not_joined(
    make: Maker, changed: dict[str, Any], why: str
) -> None:
    usual: dict[str, Any] = {"info": {"protocol": "pbias"}}
    runs = [make.table(seed=number, **usual) for number in range(4)]
    runs[1] = make.table(seed=1, **(usual | changed))
    shared = _shared(runs)
    assert [run.name for run in shared.runs] == ["r0", "r2", "r3"]
    ((name, said),) = shared.set_apart
    assert name == "r1"
    assert why in said
    (bullets,) = (
        block
        for block in history_section(make_history(shared, GatePolicy())).blocks
        if isinstance(block, Bullets)
    )
    assert f"Set apart: r1: {said}" in bullets.texts


def test_a_run_without_all_answers_is_set_apart_also_as_the_newest(make: Maker) -> None:
    runs = [make.table(seed=number) for number in range(4)]
    holes = under(runs[3], "mmlu", "a nurse")[:5]
    runs[3] = with_holes(runs[3], lambda scores: scores.__setitem__(holes, np.nan))
    shared = _shared(runs)
    assert [run.name for run in shared.runs] == ["r0", "r1", "r2"]
    assert dict(shared.set_apart)["r3"].startswith("missing answers: 5 of")


def test_a_run_without_identities_sets_no_other_apart(make: Maker) -> None:
    runs = [make.table(seed=number) for number in range(3)]
    alone = np.array(runs[2].text("identity")) == "baseline"
    runs[2] = OutcomeTable(runs[2].arrow.filter(alone))
    shared = _shared(runs)
    assert [run.name for run in shared.runs] == ["r0", "r1"]
    assert dict(shared.set_apart) == {"r2": "no identity was compared with a baseline"}


def test_only_shared_items_and_identities_count(make: Maker) -> None:
    runs = [make.table(seed=n, n_items=400 - 40 * (n % 2), first_item=30 * n) for n in range(3)]
    history = _history(runs)
    assert history.n_items == {"do_not_answer": 330, "mmlu": 330}
    fewer = runs[0].arrow.filter(np.array(runs[0].text("identity")) != "a nurse")
    shared = _shared([OutcomeTable(fewer), *runs[1:]])
    assert {one.name for one in shared.tasks[0].identities} == {"a man", "a woman", "a person"}
    assert "mmlu: a nurse: not in every run" in shared.left_out


def test_a_new_task_does_not_end_the_history(make: Maker) -> None:
    runs = [make.table(seed=n, tasks=("mmlu",)) for n in range(3)]
    shared = _shared([*runs, make.table(seed=9)])
    assert [task.task for task in shared.tasks] == ["mmlu"]
    assert len(shared.runs) == 4
    assert "do_not_answer: not in the run before" in shared.left_out


def test_the_newest_runs_are_taken_and_the_others_not_read(make: Maker) -> None:
    def tables() -> Any:
        for number in (3, 2):
            yield f"r{number}", partial(make.table, seed=number)
        raise AssertionError("read further than was asked for")

    assert [run.name for run in share_runs(tables(), GatePolicy(), most=2).runs] == ["r2", "r3"]


def test_too_few_runs_say_why(make: Maker) -> None:
    with pytest.raises(DataError, match=r"^a history takes two runs .* and 1 can \(r0: sampling"):
        _shared([make.table(temperature=0.5), make.table(seed=1)])
    with pytest.raises(DataError, match=r"and none can$"):
        _shared([])


def test_the_json_fits_its_model_and_sparklines_their_values(make: Maker) -> None:
    plain = history_json(_history([make.table(WORSE if n else {}, seed=n) for n in range(3)]))
    HistoryDocument.model_validate(plain)
    assert plain["axes"][1]["bias_drift"]["shown"] is True
    assert plain["axes"][1]["bias_drift"]["since"] == "r1"
    assert sparkline([0, 5, 10], "abc") == "abc"
    assert sparkline([2, 2], "abc") == "aa"
