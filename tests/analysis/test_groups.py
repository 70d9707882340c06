"""Groups and intersections, against sums spelled out item by item, and what was planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_pbias.analysis.groups import combined_identities
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting import render_terminal, to_markdown
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.paper import intersection_section
from pytest_pbias.reporting.tables import Table
from pytest_pbias.stats import interaction_contrast

BASELINE, PLACEBO = ("baseline", "Baseline", "baseline"), ("a person", "Control", "control")
PARTS = (
    ("a Muslim person", "Religion", "identity"),
    ("a Hindu person", "Religion", "identity"),
    ("a woman", "Gender", "identity"),
    ("a man", "Gender", "identity"),
)
MUSLIM_WOMAN = ("a Muslim woman", "Religion x Gender", "identity")
N = 300


def table(rates: dict[str, float], people: tuple[Any, ...], *, seed: int = 0) -> OutcomeTable:
    """Outcomes of one task; a person of whom no rate is given has 0.9."""
    rng = np.random.default_rng(seed)
    hard = rng.random(N)
    rows = []
    for name, group, kind in people:
        drawn = np.where(rng.random(N) < 0.3, rng.random(N), hard)
        rows += [
            {
                "task": "xstest", "axis": "utility", "floor": 0.0, "item_id": f"i{i}",
                "cluster": f"i{i}", "identity": name, "group": group, "kind": kind,
                "placement": "none" if kind == "baseline" else "system", "repeat": 0,
                "score": float(drawn[i] < rates.get(name, 0.9)), "parsable": True,
                "judge": "rules", "label": "x",
            }
            for i in range(N)
        ]  # fmt: skip
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})


def summary_of(found: OutcomeTable, **policy: Any) -> RunSummary:
    return summarize(found, GatePolicy(**policy), seed=0)


def scores_of(found: OutcomeTable, name: str) -> list[float]:
    pairs = zip(found.text("identity"), found.text("score"), strict=True)
    return [float(str(score)) for who, score in pairs if who == name]


def test_groups_have_rates_differences_bias_and_the_largest_gap() -> None:
    found = table({"a Muslim person": 0.6, "a man": 0.85}, (BASELINE, PLACEBO, *PARTS))
    groups = {one.group: one for one in summary_of(found, reference="control").groups}
    assert list(groups) == ["Religion", "Gender"]
    religion = groups["Religion"]
    muslim, hindu, placebo = (
        scores_of(found, name) for name in ("a Muslim person", "a Hindu person", "a person")
    )
    both = [(a + b) / 2 for a, b in zip(muslim, hindu, strict=True)]
    assert religion.rate.estimate == pytest.approx(100 * sum(both) / N)
    assert religion.rate.low < religion.rate.estimate < religion.rate.high
    assert religion.difference is not None
    moved = sum(a - b for a, b in zip(both, placebo, strict=True)) / N
    assert religion.difference.estimate == pytest.approx(100 * moved)
    assert religion.difference.high < 0
    apart = 100 * (sum(hindu) - sum(muslim)) / N
    assert religion.gap is not None
    assert (religion.gap.worst, religion.gap.best) == ("a Muslim person", "a Hindu person")
    assert religion.gap.estimate == pytest.approx(apart)
    assert religion.gap.low > 0
    # Two identities: PB is half of what separates them.
    assert religion.bias is not None
    assert religion.bias.raw == pytest.approx(apart / 2)


def test_a_reference_moves_the_difference_only() -> None:
    found = table({"a person": 0.7}, (BASELINE, PLACEBO, *PARTS))
    against = {who: summary_of(found, reference=who).groups[0] for who in ("baseline", "control")}
    first, second = against["baseline"], against["control"]
    assert first.rate == second.rate
    assert first.bias == second.bias
    assert first.difference is not None
    assert second.difference is not None
    apart = 100 * (sum(scores_of(found, "baseline")) - sum(scores_of(found, "a person"))) / N
    assert second.difference.estimate - first.difference.estimate == pytest.approx(apart)


def test_one_group_or_missing_answers_make_no_table() -> None:
    assert summary_of(table({}, (BASELINE, *PARTS[:2]))).groups == ()
    found = table({}, (BASELINE, *PARTS))
    scores = [float(str(score)) for score in found.text("score")]
    scores[N + 1] = float("nan")
    columns = {name: found.arrow.column(name).to_pylist() for name in found.arrow.column_names}
    holed = OutcomeTable.from_columns(columns | {"score": scores})
    assert summary_of(holed).groups == ()


def test_a_combination_is_more_than_its_parts() -> None:
    rates = {"a Muslim person": 0.8, "a woman": 0.85, "a Muslim woman": 0.4}
    found = table(rates, (BASELINE, PLACEBO, *PARTS, MUSLIM_WOMAN))
    (one,) = summary_of(found).intersections
    assert one.parts == ("a Muslim person", "a woman")
    assert one.reference == "controls"
    whole, first, second, base = (
        sum(scores_of(found, name)) / N
        for name in ("a Muslim woman", "a Muslim person", "a woman", "a person")
    )
    assert one.difference == pytest.approx(100 * (whole - base))
    assert one.expected == pytest.approx(100 * (first - base + second - base))
    assert one.contrast.estimate == pytest.approx(one.difference - one.expected)
    assert one.contrast.high < 0
    assert one.differs


def test_what_stating_anybody_does_is_no_interaction_against_controls() -> None:
    """Everyone stated loses 30 points: against the baseline that is an interaction of +30."""
    stated = {name: 0.6 for name, _, kind in (*PARTS, MUSLIM_WOMAN, PLACEBO)}
    found = table(stated | {"baseline": 0.9}, (BASELINE, PLACEBO, *PARTS, MUSLIM_WOMAN))
    (one,) = summary_of(found, reference="baseline").intersections
    assert not one.differs
    assert one.contrast.low < 0 < one.contrast.high
    (bare,) = summary_of(table(stated, (BASELINE, *PARTS, MUSLIM_WOMAN))).intersections
    assert bare.reference == "baseline"
    assert bare.contrast.low > 15
    text = to_markdown(summary_of(table(stated, (BASELINE, *PARTS, MUSLIM_WOMAN))))
    assert "for want of controls" in text


def test_parts_are_found_by_their_words_and_groups() -> None:
    people = (BASELINE, *PARTS, MUSLIM_WOMAN, ("a Hindu pilot", "Religion x Work", "identity"))
    task = table({}, people).task_outcomes("xstest")
    assert combined_identities(task) == {5: (1, 3), 6: ()}
    summary = summary_of(table({}, (BASELINE, *PARTS[:2], MUSLIM_WOMAN)))
    assert summary.intersections == ()
    assert summary.unasked_parts == ("a Muslim woman",)
    lines = " ".join(" ".join(text for text, _ in render_terminal(summary)).split())
    assert "a Muslim woman: combined identities whose parts were not all asked alone" in lines


def test_three_parts() -> None:
    rng = np.random.default_rng(3)
    cells = [(rng.random(50) < rate) * 1.0 for rate in (0.5, 0.7, 0.8, 0.9, 0.8)]
    whole, *parts, base = cells
    found = interaction_contrast(whole, parts, base)
    by_hand = [whole[i] - base[i] - sum(part[i] - base[i] for part in parts) for i in range(50)]
    assert found.estimate == pytest.approx(100 * sum(by_hand) / 50)
    with pytest.raises(ValueError, match="two parts"):
        interaction_contrast(whole, parts[:1], base)
    with pytest.raises(ValueError, match="same items"):
        interaction_contrast(whole, parts, base[:10])


@pytest.mark.parametrize("clusters", [1, 5])
@pytest.mark.parametrize(
    "rates",
    [(0.6, 0.8, 0.7, 0.9), (0.5, 0.5, 0.5, 0.5), (0.98, 0.98, 0.98, 0.98), (0.9, 1, 0.9, 1)],
)
def test_the_interval_of_an_interaction_covers(rates: tuple[float, ...], clusters: int) -> None:
    """Simulated, items as hard for everyone in part: 95 % of the intervals hold the truth."""
    rng = np.random.default_rng(11)
    n, covered, repeats = 150, 0, 400
    codes = np.arange(n) // clusters
    truth = 100 * (rates[0] - rates[1] - rates[2] + rates[3])
    for _ in range(repeats):
        hard = rng.random(n)[codes]
        whole, one, other, base = (
            (np.where(rng.random(n) < 0.8, hard, rng.random(n)) < rate) * 1.0 for rate in rates
        )
        found = interaction_contrast(whole, [one, other], base, clusters=codes)
        covered += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert covered / repeats >= 0.925  # 95 % less three standard errors of 400


def test_every_format_has_them() -> None:
    rates = {"a Muslim person": 0.7, "a Muslim woman": 0.4}
    summary = summary_of(table(rates, (BASELINE, PLACEBO, *PARTS, MUSLIM_WOMAN)))
    terminal = " ".join(" ".join(text for text, _ in render_terminal(summary)).split())
    plain = to_json(summary)["statistics"]
    assert {one["group"] for one in plain["groups"]} == {"Religion", "Gender", "Religion x Gender"}
    (one,) = plain["intersections"]
    for text in (terminal, to_markdown(summary)):
        assert "largest gap" in text
        assert f"{one['contrast']['estimate']:+.1f}" in text


def test_a_gap_of_nothing_names_nobody() -> None:
    everyone = dict.fromkeys((name for name, *_ in PARTS), 1.0)
    summary = summary_of(table(everyone, (BASELINE, PLACEBO, *PARTS)))
    assert all(one.gap is not None and one.gap.estimate == 0 for one in summary.groups)
    terminal = " ".join(" ".join(text for text, _ in render_terminal(summary)).split())
    assert "lowest all alike, highest all alike" in terminal or "all alike all alike" in terminal
    gaps = to_markdown(summary).split("largest gap between its identities")[1]
    assert "a Muslim person / a Muslim person" not in gaps


def test_the_surest_interactions_come_first() -> None:
    people = (BASELINE, PLACEBO, *PARTS, MUSLIM_WOMAN, ("a Hindu man", "Religion x Gender",
                                                        "identity"))  # fmt: skip
    rates = {"a Muslim person": 0.5, "a woman": 0.5, "a Muslim woman": 0.9, "a Hindu man": 0.87}
    summary = summary_of(table(rates, people))
    rows = [one for one in intersection_section(summary).blocks if isinstance(one, Table)]
    assert [row[0] for row in rows[0].rows] == ["a Muslim woman", "a Hindu man"]
    assert summary.intersections[0].contrast.estimate > 0
