"""Several judges of one run in the reports, and answers that cannot be read."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import numpy as np
import pytest

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.gate import GatePolicy
from pytest_pbias.grading.judges.judging import JudgingFacts
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.reporting import render_terminal
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.markdown import to_markdown
from pytest_pbias.reporting.schemas import schema_text
from pytest_pbias.stats import cohen_kappa

IDENTITIES = ("baseline", "a man", "a woman", "a <b>nurse</b>")
N = 120


def _table(
    first: np.ndarray, second: np.ndarray | None, *, unparsable: np.ndarray | None = None
) -> OutcomeTable:
    """A run of one task; scores of shape (identities, items), of ``second`` NaN where unread."""
    rows: list[dict[str, Any]] = []
    for u, identity in enumerate(IDENTITIES):
        for i in range(N):
            grade = None
            if second is not None:
                score = float(second[u, i])
                unread = np.isnan(score)
                grade = [
                    {
                        "judge": "llm:guard",
                        "version": "1 referee",
                        "score": 0.0 if unread else score,
                        "label": "unparsable" if unread else "x",
                        "parsable": not unread,
                    }
                ]
            rows.append(
                {
                    "task": "do_not_answer",
                    "axis": "safety",
                    "floor": 0.0,
                    "item_id": f"i{i}",
                    "cluster": f"c{i % 12}",
                    "identity": identity,
                    "group": "Group",
                    "kind": "baseline" if u == 0 else "identity",
                    "repeat": 0,
                    "model": "tiny",
                    "score": float(first[u, i]),
                    "parsable": unparsable is None or not unparsable[u, i],
                    "judge": "rules",
                    "judge_version": "2",
                    "other_grades": grade,
                    "response": "r",
                }
            )
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    """Two judges who agree but for the third identity, where the second sees harm in half."""
    rng = np.random.default_rng(4)
    first = (rng.random((4, N)) < 0.8).astype(float)
    second = first * 0.75 + 0.125
    flipped = rng.random(N) < 0.5
    second[2, flipped] = 1 - second[2, flipped]
    second[3, :5] = np.nan
    return first, second


def test_agreement_is_counted_overall_and_for_each_identity(
    scores: tuple[np.ndarray, np.ndarray],
) -> None:
    first, second = scores
    table = _table(first, second).with_info(
        RunFacts(judges=JudgingFacts(cost={"llm:guard": Spent(4800, 480)}))
    )
    summary = summarize(table, GatePolicy(), seed=0)
    (judges,) = summary.judges
    (pair,) = judges.pairs
    seen = ~np.isnan(second)
    expected = cohen_kappa(
        (first >= 0.5)[seen], (second >= 0.5)[seen], rng=np.random.default_rng(0), n_resamples=0
    )
    assert pair.kappa.estimate == pytest.approx(expected.estimate)
    assert pair.kappa.n == 4 * N - 5
    assert {name: round(one.estimate, 6) for name, one in pair.by_identity.items()} == {
        "baseline": 1.0,
        "a man": 1.0,
        "a woman": round(pair.by_identity["a woman"].estimate, 6),
        "a <b>nurse</b>": 1.0,
    }
    assert pair.by_identity["a woman"].estimate < 0.3
    assert pair.lowest is not None
    assert pair.lowest[0] == "a woman"
    rules, guard = judges.judges
    assert (rules.judge, rules.n_unread, guard.judge, guard.n_unread) == (
        "rules", 0, "llm:guard", 5,
    )  # fmt: skip
    assert rules.bias is not None
    assert guard.bias is None  # verdicts are missing
    assert judges.alpha is not None
    assert judges.alpha.n == 4 * N - 5

    lines = [line for line, _ in render_terminal(summary)]
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    assert "judge llm:guard: 4,800 tokens in, 480 out" in text
    assert re.search(r"judge +mean rate +PB debiased +no verdict +agreement$", text, re.MULTILINE)
    assert re.search(r"^    llm:guard +[\d.]+ +5 +[\d.]+ %, kappa", text, re.MULTILINE)
    assert "lowest: a woman" in text
    page = to_markdown(summary)
    assert "### Judges" in page
    assert "<b>" not in page
    plain = json.loads(json.dumps(to_json(summary), allow_nan=False))
    jsonschema.validate(plain, json.loads(schema_text("report")))
    (entry,) = plain["statistics"]["judges"]
    assert entry["pairs"][0]["judge"] == "llm:guard"
    assert entry["pairs"][0]["by_identity"]["a woman"]["estimate"] < 0.3
    assert entry["judges"][1]["n_unread"] == 5
    assert plain["run"]["judge_costs"]["llm:guard"]["prompt_tokens"] == 4800.0


def test_one_judge_is_compared_with_nobody(scores: tuple[np.ndarray, np.ndarray]) -> None:
    summary = summarize(_table(scores[0], None), GatePolicy(), seed=0)
    assert summary.judges == ()
    assert summary.unparsable == ()
    assert "Judges" not in to_markdown(summary)


def test_judges_of_one_verdict_only_have_no_kappa() -> None:
    always = np.ones((4, N))
    summary = summarize(_table(always, always), GatePolicy(), seed=0)
    text = "\n".join(line for line, _ in render_terminal(summary))
    assert "100.0 % (one verdict only)" in text
    json.dumps(to_json(summary), allow_nan=False)


def test_unreadable_answers_under_one_identity_are_a_finding() -> None:
    rng = np.random.default_rng(8)
    unparsable = rng.random((4, N)) < np.array([0.02, 0.02, 0.02, 0.3])[:, None]
    scores = np.where(unparsable, 0.0, 1.0)
    summary = summarize(_table(scores, None, unparsable=unparsable), GatePolicy(), seed=0)
    (finding,) = summary.unparsable
    assert finding.differs
    assert finding.worst == "a <b>nurse</b>"
    assert finding.adjusted <= 0.001
    assert finding.rates["a man"] == pytest.approx(100 * unparsable[1].mean())
    text = "\n".join(line for line, _ in render_terminal(summary))
    assert "do_not_answer: unreadable answers differ between identities" in text
    assert "<b>" not in to_markdown(summary)
    plain = to_json(summary)
    jsonschema.validate(plain, json.loads(schema_text("report")))
    assert plain["statistics"]["unparsable"][0]["differs"] is True


def test_unreadable_answers_under_all_alike_are_none() -> None:
    rng = np.random.default_rng(8)
    unparsable = rng.random((4, N)) < 0.1
    scores = np.where(unparsable, 0.0, 1.0)
    summary = summarize(_table(scores, None, unparsable=unparsable), GatePolicy(), seed=0)
    (finding,) = summary.unparsable
    assert not finding.differs
    assert "unreadable" not in "\n".join(line for line, _ in render_terminal(summary))
    assert "unreadable" not in to_markdown(summary)
