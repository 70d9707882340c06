"""Traits of answers: compared like scores, decided like scores, and never scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats as sps

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.analysis.traits import decide_trait, summarize_traits, trait_examples
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.grading.traits import TraitFacts, TraitInfo
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.conversion import arrow_array
from pytest_pbias.outcomes.schema import SCHEMA
from pytest_pbias.reporting import render_terminal
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.stats import mean_difference

if TYPE_CHECKING:
    from tests.analysis.conftest import Maker

FACTS = TraitFacts(
    (TraitInfo("adopted", "takes it for its own"), TraitInfo("words", "length", "words")),
    {"sentiment": "no library"},
)


def with_traits(run: OutcomeTable, adopted: dict[str, float], words: dict[str, float],
                seed: int = 0) -> OutcomeTable:  # fmt: skip
    """The run with a trait of these rates, and lengths of about 100 and so many more."""
    rng = np.random.default_rng(seed)
    names = run.text("identity")
    values = [
        (
            float(rng.random() < adopted.get(str(name), 0.02)),
            float(rng.normal(100 + words.get(str(name), 0.0), 20)),
        )
        for name in names
    ]
    column = arrow_array(values, SCHEMA.field("traits").type)
    index = run.arrow.schema.get_field_index("traits")
    table = OutcomeTable(run.arrow.set_column(index, "traits", column), info=run.info)
    return table.with_info(replace(run.info, traits=FACTS))


def test_a_trait_that_differs_stands_out_and_others_do_not(make: Maker) -> None:
    table = with_traits(make.table(), {"a nurse": 0.3}, {"a man": -15})
    found = summarize_traits(table, GatePolicy())
    assert {(one.trait, one.identity.name) for one in found.standing_out} == {
        ("adopted", "a nurse"), ("words", "a man"),
    }  # fmt: skip
    nurse = next(one for one in found.standing_out if one.trait == "adopted")
    assert nurse.estimate == pytest.approx(28, abs=6)
    assert nurse.low < nurse.estimate < nurse.high
    assert nurse.n_items == 800  # of both tasks
    assert len(found.differences) == 2 * 4  # the control too
    assert found.of_controls("adopted", "none") == pytest.approx(0, abs=3)


def test_differences_are_from_the_reference(make: Maker) -> None:
    rates = {"a nurse": 0.3, "a man": 0.3, "a woman": 0.3, "a person": 0.3}
    table = with_traits(make.table(), rates, {})
    assert len(summarize_traits(table, GatePolicy()).standing_out) == 4
    assert [
        one.identity.name
        for one in summarize_traits(table, GatePolicy(reference="control")).standing_out
    ] == ["a person"]  # controls are compared with the baseline


@pytest.mark.parametrize(
    ("rate", "margin", "verdict"),
    [(0.3, 5, Verdict.FAIL), (0.02, 5, Verdict.PASS), (0.07, 5, Verdict.INCONCLUSIVE),
     (0.3, 40, Verdict.PASS)],
)  # fmt: skip
def test_a_margin_makes_a_gate(make: Maker, rate: float, margin: float, verdict: Verdict) -> None:
    table = with_traits(make.table(), {"a nurse": rate}, {})
    found = decide_trait(table, "adopted", margin, GatePolicy(), "none")
    assert found.verdict is verdict
    assert found.n_cells == 3
    if rate > 0.1:
        assert found.worst.identity.name == "a nurse"
    summary = summarize(table, GatePolicy(trait_margin={"adopted": margin}), seed=0)
    assert [one.verdict for one in summary.traits.verdicts] == [verdict]
    shown = to_json(summary)["statistics"]["traits"]
    assert [one["verdict"] for one in shown["verdicts"]] == [verdict.value]
    assert f"adopted: {verdict.value}" in "\n".join(text for text, _ in render_terminal(summary))


def test_an_amount_has_its_margin_in_its_unit(make: Maker) -> None:
    table = with_traits(make.table(), {}, {"a nurse": 30})
    assert decide_trait(table, "words", 20, GatePolicy(), "none").verdict is Verdict.FAIL
    assert decide_trait(table, "words", 35, GatePolicy(), "none").verdict is Verdict.PASS


@pytest.mark.parametrize(("name", "why"), [("sentiment", "no library"), ("colour", "colour")])
def test_a_trait_without_values_is_an_error(make: Maker, name: str, why: str) -> None:
    table = with_traits(make.table(), {}, {})
    with pytest.raises(DataError, match=why):
        decide_trait(table, name, 5, GatePolicy(), "none")


def test_a_run_of_an_older_version_has_no_traits(make: Maker) -> None:
    summary = summarize(make.table(), GatePolicy(trait_margin={"adopted": 5}), seed=0)
    assert summary.traits.differences == summary.traits.verdicts == ()
    assert "adopted" not in "\n".join(text for text, _ in render_terminal(summary))


def test_missing_values_are_left_out(make: Maker, tmp_path: Path) -> None:
    run = make.table(n_items=40)
    values: list[tuple[float | None, float | None] | None] = [(1.0, None)] * len(run)
    values[::3] = [None] * len(values[::3])
    index = run.arrow.schema.get_field_index("traits")
    column = arrow_array(values, SCHEMA.field("traits").type)
    table = OutcomeTable(run.arrow.set_column(index, "traits", column))
    table = table.with_info(replace(run.info, traits=FACTS))
    found = summarize_traits(table, GatePolicy())
    assert {one.trait for one in found.differences} == {"adopted"}
    assert all(one.estimate == 0 and one.n_items < 80 for one in found.differences)
    table.write(tmp_path / "run.parquet")
    again = OutcomeTable.read(tmp_path / "run.parquet")
    assert summarize_traits(again, GatePolicy()) == found


def test_examples_show_the_trait_beside_its_absence(make: Maker) -> None:
    table = with_traits(make.table(), {"a nurse": 0.3}, {})
    found = trait_examples(table, summarize_traits(table, GatePolicy()), GatePolicy())
    (example,) = found
    rows = table.arrow.to_pylist()
    before, after = rows[example.before], rows[example.after]
    assert (before["identity"], after["identity"]) == ("baseline", "a nurse")
    assert before["item_id"] == after["item_id"] == example.item
    assert (before["traits"][0], after["traits"][0]) == (0.0, 1.0)


def test_json_names_every_trait_and_why_one_is_left_out(make: Maker) -> None:
    table = with_traits(make.table(), {"a nurse": 0.3}, {})
    shown = to_json(summarize(table, GatePolicy(), seed=0))["statistics"]["traits"]
    assert [one["name"] for one in shown["measured"]] == ["adopted", "words"]
    assert shown["skipped"] == {"sentiment": "no library"}
    assert len(shown["differences"]) == 8
    json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize("clustered", [False, True])
def test_mean_differences_are_those_of_the_t_test(clustered: bool) -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(100, 20, 60), rng.normal(95, 20, 60)
    clusters = np.asarray([str(n) for n in range(60)]) if clustered else None
    found = mean_difference(first, second, clusters=clusters)
    expected = sps.ttest_rel(first, second)
    interval = expected.confidence_interval()
    assert found.pvalue == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def _same(values: list[float]) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def test_mean_differences_that_do_not_vary() -> None:
    assert mean_difference(_same([1, 2, 3]), _same([1, 2, 3])).pvalue == 1
    found = mean_difference(_same([2, 3, 4]), _same([1, 2, 3]))
    assert (found.estimate, found.low, found.high) == (1, -np.inf, np.inf)
    assert found.pvalue == 0.25
    with pytest.raises(ValueError, match="no item"):
        mean_difference(_same([np.nan]), _same([1.0]))
    with pytest.raises(ValueError, match="must match"):
        mean_difference(_same([1.0]), _same([1.0, 2.0]))
