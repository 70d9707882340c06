"""The published schemas: whatever the reports write fits them, and they name every field."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_pbias import gate, stats
from pytest_pbias.analysis import cues, judges, unparsable
from pytest_pbias.analysis.across_runs import changes, condition, setup
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.across_runs.condition import decide_comparison
from pytest_pbias.analysis.across_runs.pairing import pair_runs
from pytest_pbias.analysis.summary import Saving, summarize
from pytest_pbias.cli import main
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.models.spec import ServerFacts
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.reporting import schemas, to_json
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.formats import across_runs, make_schema, parts, report
from pytest_pbias.reporting.schemas import SchemaName, schema_text

DOCS = Path(__file__).parents[2] / "docs" / "report-format.md"


def schema(name: SchemaName) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(schema_text(name))
    return found


@pytest.mark.parametrize("name", get_args(SchemaName))
def test_the_published_schema_is_made_from_the_models(name: SchemaName) -> None:
    """With PBIAS_WRITE_SCHEMAS=1 it is written (``nox -s schemas``)."""
    text = json.dumps(make_schema(name), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("PBIAS_WRITE_SCHEMAS"):
        (Path(schemas.__file__).parent / f"{name}.schema.json").write_text(text, "utf-8")
    assert schema_text(name) == text


PARTS: dict[type[Any], type[Any]] = {
    parts.Bias: stats.PersonalizationBiasResult,
    parts.Change: stats.ChangeResult,
    report.Rate: stats.RateResult,
    report.Difference: stats.PairedDifferenceResult,
    report.Agreement: stats.AgreementResult,
    report.Policy: GatePolicy,
    report.AxisGate: gate.AxisVerdict,
    report.Baseline: gate.BaselineVerdict,
    report.CellResult: gate.CellVerdict,
    across_runs.RateChange: changes.RateChange,
    across_runs.SetupDifference: setup.SetupDifference,
    across_runs.CellChange: changes.CellChange,
    across_runs.TaskChange: changes.TaskComparison,
    across_runs.AxisChange: changes.AxisComparison,
    across_runs.Condition: condition.Condition,
    across_runs.ConditionOutcome: condition.ConditionOutcome,
    across_runs.ComparisonGate: condition.GateOutcome,
    report.JudgeFigures: judges.JudgeFigures,
    report.JudgePair: judges.PairAgreement,
    report.TaskJudges: judges.TaskJudges,
    report.Unparsable: unparsable.UnparsableFinding,
    report.Saving: Saving,
    report.CueEffect: stats.CueEffectResult,
    report.EffectCorrelation: stats.EffectCorrelation,
    report.PersonByCue: cues.PersonByCue,
    report.AxisCues: cues.AxisCues,
}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: str(part.__name__))
def test_a_part_has_every_field_of_its_finding(part: type[Any]) -> None:
    assert list(part.model_fields) == [field.name for field in fields(PARTS[part])]


def test_what_does_not_fit_is_one_line_and_no_report() -> None:
    summary = summarize(table(), GatePolicy(), seed=0)
    (axis,) = summary.axes
    for bad in (replace(axis, tolerance=math.nan), replace(axis, axis="speed")):
        with pytest.raises(DataError, match=r"statistics\.gates\.0\.(tolerance|axis)") as caught:
            to_json(replace(summary, axes=(bad,)))
        assert "\n" not in str(caught.value)


def strict(part: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(part, list):
        return [strict(one) for one in part]
    if not isinstance(part, dict):
        return part
    closed = {name: strict(value) for name, value in part.items()}
    if "properties" in part and "additionalProperties" not in part and "$ref" not in part:
        closed["additionalProperties"] = False
    return closed


def table(
    *, task: str = "mmlu", axis: str = "utility", shift: float = 0.2, missing: int = 0,
    defense: str = "none", items: int = 60, runs: int = 1, identities: int = 4, seed: int = 0,
) -> OutcomeTable:  # fmt: skip
    """A run of which the last identity loses ``shift``; its first answers are missing."""
    rng = np.random.default_rng(seed)
    names = ["baseline", "a person", *(f"identity {u}" for u in range(2, identities))]
    rows = []
    for u, name in enumerate(names):
        kind = ("baseline", "control", "identity")[min(u, 2)]
        last = u == identities - 1
        for i in range(items):
            for run in range(runs):
                gone = last and i < missing
                score = float(rng.random() < 0.9 - shift * last)
                rows.append({
                    "task": task, "axis": axis, "floor": 0.0, "item_id": f"i{i}", "repeat": run,
                    "cluster": f"c{i}", "identity": name, "group": kind, "kind": kind,
                    "model": "tiny", "defense": defense, "placement": "system",
                    "prompt_hash": f"{name} {i}", "data_hash": "d", "data_revision": "r",
                    "score": None if gone else score, "parsable": None if gone else True,
                    "judge": "choice", "error": "it died" if gone else None, "temperature": 1.0,
                    "top_p": 1.0, "top_k": 10, "max_tokens": 300, "prompt_tokens": 5,
                    "completion_tokens": 5, "run_id": "r1", "served_identity": "weights",
                })  # fmt: skip
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})


def reported(found: OutcomeTable) -> dict[str, Any]:
    return to_json(summarize(found, GatePolicy(), seed=0))


RUNS: dict[str, Callable[[], OutcomeTable]] = {
    "both axes": lambda: concatenate([table(), table(task="xstest", axis="safety", runs=2)]),
    "missing answers": lambda: table(missing=3),
    "nobody to compare": lambda: table(identities=2),
    "everyone perfect": lambda: table(shift=-1.0),
    "two defenses": lambda: concatenate([table(), table(defense="warning", seed=1)]),
    "facts": lambda: table().with_info(RunFacts(
        partial="stopped", cost=Spent(1, 0, amount=2.5, currency="USD"),
        server=ServerFacts("vllm"), margins={"mmlu": {"identity 2": 7.0}},
    )),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_reports_fit_and_every_field_is_described(name: str) -> None:
    found = reported(RUNS[name]())
    jsonschema.validate(found, schema("report"))
    whole = strict(schema("report"))
    jsonschema.Draft202012Validator(
        {"$ref": "#/properties/statistics", **{k: whole[k] for k in ("properties", "$defs")}}
    ).validate(found["statistics"])


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 12), st.integers(2, 5), st.integers(0, 4), st.integers(1, 3), st.integers(0, 99)
)
def test_any_table_gives_a_report_that_fits(
    items: int, identities: int, missing: int, runs: int, seed: int
) -> None:
    made = table(items=items, identities=identities, missing=missing, runs=runs, seed=seed)
    jsonschema.validate(reported(made), schema("report"))


def test_comparisons_fit_alone_and_within_a_report() -> None:
    old, new = table(shift=0.0), table(seed=1)
    comparison = compare_runs(new, old, GatePolicy())
    found = decide_comparison(
        "cell_mmlu<-5", comparison, pair_runs(new, old, GatePolicy()), GatePolicy()
    )
    for plain in (comparison_json(comparison, found), comparison_json(comparison)):
        jsonschema.validate(plain, strict(schema("comparison")))
        whole = to_json(summarize(new, GatePolicy(), seed=0), {"with": "0001"} | plain)
        jsonschema.validate(whole, schema("report"))
    problem = {"with": "0001", "problem": "it has nothing in common with this run"}
    jsonschema.validate(to_json(summarize(new, GatePolicy(), seed=0), problem), schema("report"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("statistics", "gates", 0, "verdict"), "good"),
        (("statistics", "tasks", 0, "cells", 0, "result", "difference", "estimate"), None),
        (("statistics", "tasks", 0, "pvalue"), 1.5),
        (("run", "n_missing"), -1),
        (("comparison",), {"with": "0001"}),
    ],
)
def test_what_is_no_report_does_not_fit(path: tuple[str | int, ...], value: object) -> None:
    found: Any = reported(RUNS["both axes"]())
    part = found
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema("report"))


def test_the_report_carries_the_schema_of_comparisons() -> None:
    report, comparison = schema("report"), schema("comparison")
    assert report["$defs"].items() >= comparison["$defs"].items()
    for part in ("properties", "required"):
        assert report["$defs"]["Comparison"][part] == comparison[part]


def test_every_field_has_words_or_a_definition() -> None:
    """A reader of the schema meets no field without a meaning; names that say it are let be."""
    plain = {"axis", "task", "tag", "model", "commit", "name", "group", "reason", "identity"}
    for name in get_args(SchemaName):
        for kind, definition in schema(name)["$defs"].items():
            for field, shape in definition.get("properties", {}).items():
                told = {"description", "$ref", "anyOf", "enum", "const", "items"} & set(shape)
                assert told or field in plain or "defense" in field, (kind, field)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("report", "report"),
        ("compare", "comparison"),
        ("history", "history"),
        ("stages", "stages"),
    ],
)
def test_the_commands_print_their_schema(
    command: str, name: SchemaName, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--schema"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == schema(name)


def test_the_docs_have_every_field_of_a_report() -> None:
    text = DOCS.read_text("utf-8")
    defined = schema("report")["$defs"]
    for part in ("RunEntry", "Statistics"):
        for field in defined[part]["properties"]:
            assert f"`{field}`" in text, field
