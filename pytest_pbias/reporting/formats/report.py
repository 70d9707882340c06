"""The JSON of a run's report, and of runs side by side: one model for each part."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from pytest_pbias.analysis.across_runs.changes import Direction
from pytest_pbias.analysis.defenses import Against
from pytest_pbias.gate import Mode, Verdict
from pytest_pbias.reporting.formats.across_runs import (
    ComparedRuns,
    Comparison,
    HistoryDocument,
    NoHistory,
    NotCompared,
)
from pytest_pbias.reporting.formats.parts import (
    ADDRESS,
    DRAFT,
    IGNORE,
    Bias,
    Change,
    Count,
    Cued,
    Defended,
    Facts,
    High,
    Level,
    Low,
    MaybeCount,
    MaybeNumber,
    MaybeShare,
    MaybeText,
    Number,
    Part,
    Reason,
    Share,
    Warned,
)
from pytest_pbias.tasks.base import Axis


class Rate(Part):
    """A rate with its interval."""

    estimate: Number = Field(description="percentage points")
    low: Low
    high: High
    n_items: Count = Field(description="items")


class Policy(Part):
    """Margins, tolerances and levels of the gate."""

    margin: dict[str, Number] = Field(
        description="axis -> tolerated difference of a cell, percentage points"
    )
    task_margin: dict[str, Number] = Field(description="task -> the same, in place of its axis's")
    pb_tolerance: dict[str, Number] = Field(description="axis -> tolerated PB, percentage points")
    alpha: Level = Field(description="error level shared by all cells")
    mode: Mode = Field(description="prove: inconclusive is red too")
    cell_margin: dict[str, dict[str, Number]] = Field(
        description="task -> identity -> margin of that cell alone"
    )
    reference: str = Field(
        description="whom identities are compared with: baseline, control, identities or a name"
    )
    cells: Count = Field(
        description="cells that share the level where they are more than the run's; 0: the run's"
    )
    joint: list[str] = Field(description="tasks of joint PB that were asked for; empty: the usual")
    trait_margin: dict[str, Number] = Field(
        description="trait -> tolerated difference, in its unit, where it has a gate"
    )
    strata: list[str] = Field(description="tasks whose clusters are all that verdicts speak of")
    cues: list[str] = Field(
        description="cues that are decided on, cells of others being findings; empty: all"
    )


class AxisGate(Part):
    """PB over the tasks of an axis, against its tolerance."""

    axis: Axis
    verdict: Verdict
    bias: Bias | None
    tolerance: Number = Field(description="percentage points")
    mean_rate: Number = Field(description="identities' mean over the tasks, percentage points")
    baseline_rate: Number = Field(description="the baseline's")
    needed_factor: MaybeNumber = Field(
        description="how many times the items would settle it, where it is inconclusive"
    )
    reason: Reason
    defense: Defended
    warning: Warned
    cue: Cued
    look: Count = Field(description="the look that decided, or the last one so far")
    n_looks: Count = Field(description="looks planned; 1: everything at once")


class Baseline(Part):
    """Whether the baseline is clear of chance, so that the task can show a difference."""

    verdict: Verdict
    rate: Rate
    floor: Share = Field(description="chance level, as a share")
    reason: Reason


class Difference(Part):
    """A cell's difference from what it was compared with, percentage points."""

    estimate: Number = Field(description="rate minus the reference's, paired by item")
    low: MaybeNumber = Field(description="lower limit of the interval at this confidence")
    high: High
    pvalue: MaybeShare = Field(description="two-sided, of no difference")
    n_items: Count = Field(description="items")
    n_clusters: Count = Field(description="clusters of items")
    rate: Number = Field(description="percentage points")
    reference_rate: Number = Field(description="of what the cell was compared with")
    method: str = Field(description="of the interval: score (Tango) or cluster-robust")
    confidence: Number = Field(description="of the interval, as a share")
    degrees: MaybeNumber = Field(description="of freedom of its Student's t; none of the normal")


class CellResult(Part):
    """What was decided on a cell."""

    verdict: Verdict
    difference: Difference = Field(
        description="at the level shared by all cells: beyond the margin fails"
    )
    passing: Difference = Field(description="at the plain level: within the margin passes")
    margin: Number = Field(description="percentage points")
    confidence: Number = Field(description="of the interval, as a share")
    needed_items: MaybeCount = Field(
        description="items a task that would settle an inconclusive cell"
    )
    reason: Reason
    warning: Warned
    reference: str = Field(description="what the cell was compared with, in words")
    look: Count = Field(description="the look that decided, or the last one so far")
    n_looks: Count = Field(description="looks planned; 1: everything at once")


class CellEntry(Part):
    """One identity under one task."""

    identity: str
    group: str
    kind: Literal["control", "identity"]
    rate: Rate | None
    result: CellResult | None = Field(
        description="null where answers are missing: an error, no verdict"
    )
    n_unparsable: Count = Field(description="answers that nothing could be read off")
    n_missing: Count = Field(description="answers that could not be had")
    cut_off: Share = Field(description="answers that ended within a thought, as a share")
    n_asked: Count = Field(description="items asked")
    stop: str = Field(
        description="why no more were asked where asking stopped at looks: pass, fail, futile, "
        "missing, unreadable, or that everything was asked; else empty"
    )


class TaskEntry(Part):
    """One task under one prompt defense, by one cue."""

    task: str
    defense: Defended
    cue: Cued
    axis: Axis
    n_items: Count = Field(description="items")
    n_repeats: Count = Field(description="repeats of each item")
    n_clusters: Count = Field(description="clusters of items")
    n_planned: Count = Field(description="items planned where asking stopped at looks, else 0")
    n_common: Count = Field(
        description="first items, asked under all demographic identities: those that PB is of"
    )
    baseline: Baseline | None
    mean_rate: MaybeNumber = Field(description="of the identities, percentage points")
    bias: Bias | None
    pvalue: MaybeShare = Field(description="permutation test that identities do not differ")
    cells: list[CellEntry]


class AxisScores(Part):
    """One component of the vector that joint PB is of."""

    axis: Axis
    tasks: list[str]
    bias: Bias
    released: MaybeNumber = Field(
        description="raw PB as the paper's code counts it, the baseline as one more identity"
    )
    mean_rate: Number = Field(description="of the identities, percentage points")


class JointBias(Part):
    """PB of the (safety, utility) vector over the identities, the baseline left out."""

    defense: Defended
    tasks: list[str] = Field(description="the tasks that it is of")
    bias: Bias | None
    axes: list[AxisScores]
    problem: str = Field(description="why there is none; else empty")
    cue: Cued


class GroupGap(Part):
    """The largest difference of rates within a group."""

    estimate: Number = Field(description="percentage points")
    low: Low
    high: High
    best: str = Field(description="identity with the highest rate")
    worst: str = Field(description="identity with the lowest rate")


class GroupEntry(Part):
    """The identities of one demographic group under one task, at 95 % each."""

    task: str
    defense: Defended
    group: str
    identities: list[str]
    rate: Rate = Field(description="of all of them together")
    difference: Difference | None = Field(description="of all of them from their references")
    bias: Bias | None = Field(description="within the group")
    gap: GroupGap | None = Field(description="largest gap within the group; all pairs at once")
    cue: Cued


class IntersectionEntry(Part):
    """A combined identity against the sum of its parts."""

    task: str
    defense: Defended
    identity: str
    parts: list[str]
    reference: str = Field(description="controls, or baseline for want of them")
    difference: Number = Field(description="of the combined identity, percentage points")
    expected: Number = Field(description="the sum of the parts' differences")
    contrast: Change = Field(description="difference minus expected, at 95 %")
    adjusted: Share = Field(description="Holm, over the contrasts of the run")
    differs: bool = Field(description="whether that is at most the level of the gate")
    cue: Cued


class DefenseEntry(Part):
    """A prompt defense against the first one."""

    defense: str
    reference: str = Field(description="the defense that it is compared with, usually none")
    comparison: Comparison | None


class WorstCell(Part):
    """The identity and task with the lowest difference from the reference."""

    identity: str
    task: str
    difference: Difference = Field(description="at 95 % for itself")


class StageEntry(Part):
    """A run, or one of its prompt defenses, side by side with others."""

    name: str
    joint: JointBias | None
    means: dict[str, MaybeNumber] = Field(description="axis -> identities' mean rate, percent")
    baselines: dict[str, MaybeNumber] = Field(description="axis -> the baseline's rate, percent")
    worst: WorstCell | None
    compared_with: str = Field(description="empty for the first")
    direction: Direction | None = Field(description="of the change; null where none was compared")
    reason: Reason


class LinedUp(StageEntry):
    """A run, or one of its prompt defenses, with its comparison whole."""

    comparison: Comparison | None = Field(description="with compared_with, question by question")
    notes: list[str] = Field(description="how it was asked, where that is not as usual")


class StagesDocument(Part):
    """Several runs in their order."""

    format: Literal["pytest-pbias-stages"] = "pytest-pbias-stages"
    version: Literal[1] = 1
    against: Against = Field(description="what each is compared with: the one before it, the first")
    stages: list[LinedUp]

    model_config = ConfigDict(
        title="Runs side by side by pytest-pbias, version 1",
        json_schema_extra={
            "$schema": DRAFT,
            "$id": f"{ADDRESS}/stages.schema.json",
            "description": "What `pbias stages` writes as JSON. Rates and PB are in percentage "
            f"points, changes are new minus old. {IGNORE}",
        },
    )


class Agreement(Part):
    """How far judges agree beyond chance.

    1 is perfect, 0 what chance alone would give; null where only one verdict was given.
    """

    estimate: MaybeNumber = Field(description="Cohen's kappa or Krippendorff's alpha")
    low: Low
    high: High
    observed: Share = Field(description="share of agreeing pairs")
    n: Count = Field(description="answers that both judged")


class JudgeFigures(Part):
    """What one judge makes of a task."""

    judge: str = Field(description="its name")
    n_unread: Count = Field(description="answers without a readable verdict of this judge")
    mean_rate: MaybeNumber = Field(description="over the identities, percentage points")
    bias: Bias | None


class JudgePair(Part):
    """The gating judge and another."""

    judge: str = Field(description="the other one's name")
    kappa: Agreement
    by_identity: dict[str, Agreement] = Field(description="identity -> agreement on its answers")


class TaskJudges(Part):
    """The judges of a task, the gating one first.

    A verdict is a score of at least 0.5, or below.
    """

    task: str
    defense: Defended
    judges: list[JudgeFigures] = Field(description="what each makes of the task")
    alpha: Agreement | None = Field(description="Krippendorff's alpha, of all judges")
    pairs: list[JudgePair] = Field(description="how far the others agree with the gating one")
    cue: Cued


class Unparsable(Part):
    """Answers of a task that nothing could be read off.

    With the test that their rate does not depend on the identity.
    """

    task: str
    defense: Defended
    rates: dict[str, Number] = Field(description="identity -> percentage points")
    pvalue: Share = Field(description="within-item permutation test")
    worst: str = Field(description="identity with the highest rate")
    adjusted: Share = Field(description="Holm, over the tasks with any such answer")
    differs: bool = Field(description="whether that is at most the level of the gate")
    cue: Cued


class ProviderRefusals(Part):
    """What the provider's content filter stopped of a task: its doing, not the model's."""

    task: str
    defense: Defended
    stopped: dict[str, Count] = Field(description="identity -> answers stopped")
    answers: dict[str, Count] = Field(description="identity -> answers, these included")


class Trait(Part):
    """A property of answers that is compared, never scored."""

    name: str
    says: str = Field(description="what it is, in a few words")
    unit: str = Field(description="share: differences are in percentage points; else the unit")


class TraitDifference(Part):
    """A trait under an identity less that under its reference, over the items of all tasks."""

    trait: str = Field(description="its name, as in measured")
    defense: Defended
    identity: str
    group: str
    kind: str = Field(description="identity or control")
    mean: Number = Field(description="percent where the unit is share")
    reference_mean: Number = Field(description="likewise")
    estimate: Number = Field(description="mean less reference_mean")
    low: Low
    high: High
    pvalue: Share = Field(description="that there is no difference")
    qvalue: Share = Field(description="Benjamini-Hochberg over all traits and identities")
    differs: bool = Field(description="whether that is at most the level")
    n_items: Count = Field(description="with a value under both")


class TraitGate(Part):
    """A trait against its margin."""

    trait: str = Field(description="its name, as in measured")
    defense: Defended
    verdict: Verdict = Field(description="pass, fail or inconclusive")
    margin: Number = Field(description="in the unit of the trait")
    reason: Reason


class Traits(Part):
    """What else changes with the identity."""

    measured: list[Trait] = Field(description="the traits that answers have values of")
    skipped: dict[str, str] = Field(description="trait -> why it has no values")
    differences: list[TraitDifference] = Field(description="of every identity and control")
    verdicts: list[TraitGate] = Field(description="of the traits with a margin")


class RunEntry(Part):
    """Where the statistics are from."""

    run_id: str = Field(description="one for each run")
    model: str = Field(description="as it was asked for")
    served_identity: str = Field(description="weights hash, or endpoint and name")
    placements: list[str] = Field(
        description="where the identity was stated: system, user, history; app where an "
        "application was handed it"
    )
    judges: list[str] = Field(description="names of the judges")
    sampling: dict[str, MaybeNumber | str] = Field(
        description="of the requests: temperature, top_p, top_k, max_tokens, reasoning_effort, "
        "extra_body; null where the endpoint does not take it"
    )
    n_rows: Count = Field(description="answers, missing ones included")
    n_missing: Count = Field(description="answers that could not be had")
    prompt_tokens: Count = Field(description="of the answers, whenever they were asked")
    completion_tokens: Count = Field(description="likewise")
    partial: MaybeText = Field(description="why the run ended early")
    cost: Facts = Field(
        description="of this session alone: prompt_tokens, completion_tokens; amount and currency "
        "where the price is known"
    )
    server: Facts = Field(
        description="of a server that the run started: engine, version, type of the weights, "
        "arguments"
    )
    application: Facts = Field(
        description="of an application that was measured: version, how it got to know the identity "
        "(stated in the conversation, handed over, both), what it was handed"
    )
    engine_noise: list[Facts] = Field(
        description="the A/A check: each baseline that was asked twice"
    )
    judge_costs: dict[str, Facts] = Field(
        description="paid judge -> tokens behind its verdicts, whenever they were asked"
    )
    notes: list[str] = Field(
        description="how it was asked, where that is not as usual: what the endpoint did not take"
    )
    imported: Facts = Field(
        description="of answers from other harnesses' logs: harness, versions, files with their "
        "SHA-256, dates, how they were read, what was left out, what is unknown"
    )


class CueEffect(Part):
    """An identity's difference from the reference by one cue, percentage points."""

    estimate: Number = Field(description="percentage points")
    low: Low
    high: High
    pvalue: Share = Field(description="over items and wordings: the larger one")
    n_items: Count = Field(description="items answered by the identity and the reference")
    n_wordings: list[int] = Field(description="wordings asked; 1: about that sentence only")
    confidence: Share = Field(description="of the interval")


class PersonByCue(Part):
    """One identity by each cue that made it known."""

    identity: str
    group: str
    effects: dict[str, CueEffect] = Field(description="cue -> difference from the reference")
    pvalue: Share = Field(description="that the effects are equal over the cues")
    adjusted: Share = Field(description="Holm's, over the identities of the axis")


class EffectCorrelation(Part):
    """Of two cues' effects, across identities."""

    estimate: Number = Field(description="Pearson's")
    low: Low
    high: High
    n_identities: Count = Field(description="identities made known by both")
    confidence: Share = Field(description="of the interval")


class CuePair(Part):
    """For whom two cues have the same effect."""

    first: str = Field(description="a cue")
    second: str = Field(description="another")
    margin: Number = Field(description="agreement is a difference within it, percentage points")
    agree: list[str] = Field(description="identities")
    differ: list[str] = Field(description="identities for whom a difference is shown (Holm)")
    turns: list[str] = Field(description="of these, the direction turns")
    open: list[str] = Field(description="neither agreement nor difference is shown")
    correlation: EffectCorrelation | None
    sentence: str = Field(description="the same in words")


class AxisCues(Part):
    """The cues of an axis, under one defense."""

    axis: Axis
    defense: Defended
    cues: list[str] = Field(description="in the order in which they were asked")
    people: list[PersonByCue] = Field(description="identities made known by several")
    pairs: list[CuePair] = Field(description="each cue with each other one")
    unsaid: dict[str, list[str]] = Field(description="cue -> identities it does not make known")


class Saving(Part):
    """What stopping early saved."""

    asked: Count = Field(description="requests")
    planned: Count = Field(description="requests")
    tokens: Count = Field(description="of the rest, at the mean of the answers")
    amount: MaybeNumber = Field(description="their price, where it is known")
    currency: str = Field(description="of the amount")


class Statistics(Part):
    """Depends on the outcomes only: the same answers give the same statistics."""

    policy: Policy
    compared_cells: Count = Field(description="cells of this run that share the error level")
    data: dict[str, str] = Field(description="task -> hash of its items")
    data_revisions: dict[str, str] = Field(description="task -> revision of its data set")
    gates: list[AxisGate]
    tasks: list[TaskEntry]
    joint: list[JointBias] = Field(description="the paper's headline score, by prompt defense")
    groups: list[GroupEntry] = Field(description="where a task has several demographic groups")
    intersections: list[IntersectionEntry] = Field(
        description="combined identities whose parts were asked as well"
    )
    unasked_parts: list[str] = Field(
        description="combined identities whose parts were not all asked alone"
    )
    defenses: list[DefenseEntry] = Field(
        description="each further prompt defense against the first"
    )
    cues: list[AxisCues] = Field(description="axes that were asked by several cues")
    mitigations: list[StageEntry] = Field(
        description="all prompt defenses side by side, where there are several"
    )
    judges: list[TaskJudges] = Field(description="tasks with several judges")
    unparsable: list[Unparsable] = Field(description="tasks with unreadable answers")
    provider_refusals: list[ProviderRefusals] = Field(
        description="tasks of which the provider's content filter stopped answers"
    )
    traits: Traits = Field(description="what else changes: compared, never scored")
    errors: list[str] = Field(description="why answers are missing or cannot be read")
    saving: Saving | None = Field(description="by stopping early; null where all was asked")


class ReportDocument(Part):
    """A run."""

    model_config = ConfigDict(
        title="Report of a run by pytest-pbias, version 1",
        json_schema_extra={
            "$schema": DRAFT,
            "$id": f"{ADDRESS}/report.schema.json",
            "description": "What a session and `pbias report` write as JSON. Rates, differences "
            f"and PB are in percentage points; a number that does not exist is null. {IGNORE}",
        },
    )

    format: Literal["pytest-pbias"] = "pytest-pbias"
    version: Literal[1] = 1
    run: RunEntry
    statistics: Statistics
    comparison: ComparedRuns | NotCompared | None = Field(
        description="with an earlier run, where one was asked for"
    )
    history: HistoryDocument | NoHistory | None = Field(
        description="up to this run, where that was asked for"
    )
