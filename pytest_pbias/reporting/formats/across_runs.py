"""The JSON of comparisons and histories: one model for each part."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from pytest_pbias.analysis.across_runs.changes import Direction, Family
from pytest_pbias.analysis.across_runs.setup import Kind
from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.formats.parts import (
    ADDRESS,
    DRAFT,
    IGNORE,
    Bias,
    Change,
    Count,
    Cued,
    High,
    Low,
    MaybeNumber,
    MaybeShare,
    Number,
    Part,
    Reason,
)
from pytest_pbias.tasks.base import Axis


class RateChange(Part):
    """A rate before and after, with the paired interval of its change."""

    old: Number = Field(description="rate before, percentage points")
    new: Number = Field(description="rate now")
    estimate: Number = Field(description="new minus old")
    low: Low
    high: High


class JointChange(Part):
    """Joint PB on the items and identities that both runs asked, by the first cue."""

    tasks: list[str] = Field(description="the tasks that it is of")
    old_bias: Bias
    new_bias: Bias
    bias_change: Change
    cue: Cued


class RunTitle(Part):
    """A run in a few words; empty where unknown."""

    model: str
    served_identity: str = Field(description="weights hash, or endpoint and name")
    created: str = Field(description="ISO 8601")
    commit: str
    tag: str


class SetupDifference(Part):
    """What a run lacks, or what was asked otherwise, other than the model."""

    kind: Kind = Field(
        description="missing: answers that could not be had or judged; partial: ended early; else "
        "what was asked otherwise. Kinds may be added"
    )
    task: str = Field(description="empty where it is no matter of one task")
    old: str = Field(description="of the earlier run")
    new: str = Field(description="of the new run")
    blocks: bool = Field(description="whether a gate refuses to decide over it")


class AxisChange(Part):
    """An axis on the items and identities that both runs asked, by one cue."""

    axis: Axis
    cue: Cued
    old_bias: Bias | None
    new_bias: Bias | None
    bias_change: Change | None
    baseline: RateChange
    mean: RateChange
    direction: Direction
    reason: Reason


class ComparedIdentity(Part):
    """Who asked."""

    name: str
    group: str
    kind: Literal["baseline", "control", "identity"]


class CellChange(Part):
    """One identity under one task, before and now."""

    identity: ComparedIdentity
    old_rate: Number = Field(description="percentage points")
    new_rate: Number = Field(description="percentage points")
    old_difference: Number = Field(description="from the reference, before")
    new_difference: Number = Field(description="from the reference, now")
    change: Change = Field(description="of the difference, at 95 % for this cell alone")
    at_level: Change = Field(description="the same at the level shared by all cells")
    qvalue: MaybeShare = Field(description="Benjamini and Hochberg's, over all cells")


class TaskChange(Part):
    """One task on the items that both runs asked."""

    task: str = Field(description="with its cue where the run has several: mmlu by profile")
    axis: Axis
    n_items: Count = Field(description="items that both asked")
    only_new_items: Count = Field(description="items without a match in the earlier run")
    only_old_items: Count = Field(description="items without a match in the new run")
    only_new: list[str] = Field(description="identities that the new run alone asked")
    only_old: list[str] = Field(description="identities that the earlier run alone asked")
    baseline: RateChange
    mean: RateChange
    bias_change: Change | None
    cells: list[CellChange]


class Condition(Part):
    """One condition of an expression: a metric beyond a threshold."""

    family: Family
    scope: str = Field(description="an axis or a task")
    above: bool = Field(description="whether above the threshold is worse, or below it")
    threshold: Number = Field(description="percentage points")


class ConditionOutcome(Part):
    """A condition with the change that it was decided on."""

    condition: Condition
    verdict: Verdict
    estimate: MaybeNumber = Field(description="the change")
    low: Low
    high: High
    who: str = Field(
        description="identity and task that it is about, for cells; else the cue, of several"
    )


class ComparisonGate(Part):
    """What the expression came to that says when the new run is worse."""

    verdict: Verdict
    outcomes: list[ConditionOutcome]


class Comparison(Part):
    """Two runs, question by question."""

    format: Literal["pytest-pbias-comparison"] = "pytest-pbias-comparison"
    version: Literal[1] = 1
    direction: Direction
    comparable: bool = Field(description="false where something blocks a gate: see setup")
    old: RunTitle
    new: RunTitle
    setup: list[SetupDifference] = Field(
        description="what the runs lack or did differently, other than the model"
    )
    left_out: list[str] = Field(description="tasks that could not be compared, and why")
    axes: list[AxisChange]
    joint: JointChange | None = Field(description="null where one axis alone was asked")
    tasks: list[TaskChange]
    strata: list[str] = Field(description="tasks whose clusters are all that changes speak of")
    gate: ComparisonGate | None


class ComparisonDocument(Comparison):
    """What compares two runs, in a file of its own."""

    model_config = ConfigDict(
        title="Comparison of two runs by pytest-pbias, version 1",
        json_schema_extra={
            "$schema": DRAFT,
            "$id": f"{ADDRESS}/comparison.schema.json",
            "description": "What `pbias compare` writes as JSON. Changes are new minus old, in "
            f"percentage points. {IGNORE}",
        },
    )


class _WithEarlier(Part):
    earlier: str = Field(alias="with", description="the earlier run's name")


class ComparedRuns(Comparison, _WithEarlier):
    """The comparison with an earlier run."""


class NotCompared(_WithEarlier):
    """Why there is no comparison with an earlier run."""

    problem: str = Field(description="why it could not be compared")


class HistoryRun(RunTitle):
    """A run of a history."""

    name: str = Field(description="its name among the saved runs, or its file's")


class Drift(Part):
    """The clearest change over the runs: the trend, or a shift of level."""

    shown: bool = Field(description="whether the change is beyond noise, at the level of the test")
    trend: bool = Field(description="later runs against earlier ones; else there is since")
    since: str | None = Field(description="the run from which on the level is another")
    change: Change = Field(description="limits hold for the trend and all shifts at once")


class AxisHistory(Part):
    """An axis over the runs, by one cue, oldest first."""

    axis: Axis
    cue: Cued
    bias: list[Bias | None]
    baseline: list[Number] = Field(description="rate of the baseline, percentage points")
    mean: list[Number] = Field(description="identities' mean rate, percentage points")
    bias_drift: Drift | None
    mean_drift: Drift | None


class CellHistory(Part):
    """A cell over the runs, oldest first."""

    task: str = Field(description="with its cue where the runs have several: mmlu by profile")
    identity: str
    differences: list[Number] = Field(description="from its reference, percentage points")
    verdicts: list[str] = Field(description="of each run on the shared items; error: none")
    drift: Drift = Field(description="at a level that all cells share")


class HistoryDocument(Part):
    """Many runs on the items that all of them asked, oldest first."""

    format: Literal["pytest-pbias-history"] = "pytest-pbias-history"
    version: Literal[1] = 1
    runs: list[HistoryRun]
    set_apart: dict[str, str] = Field(description="runs that cannot be compared, with the reason")
    left_out: list[str] = Field(description="tasks and identities that not all runs asked")
    n_items: dict[str, Count] = Field(
        description="items of each task (by each cue) that all runs asked"
    )
    axes: list[AxisHistory]
    cells: list[CellHistory]
    strata: list[str] = Field(description="tasks whose clusters are all that verdicts speak of")
    gate: ComparisonGate | None = Field(description="by the expression that was asked for")

    model_config = ConfigDict(
        title="History of runs by pytest-pbias, version 1",
        json_schema_extra={
            "$schema": DRAFT,
            "$id": f"{ADDRESS}/history.schema.json",
            "description": f"What `pbias history` writes as JSON. {IGNORE}",
        },
    )


class NoHistory(Part):
    """Why there is no history of a run and those before it."""

    problem: str = Field(description="why")
