"""What the paper asks: joint PB, groups, intersections, and runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_pbias.analysis.defenses import Against, Stage
from pytest_pbias.analysis.groups import GroupSummary, Intersection
from pytest_pbias.analysis.joint import JointBias
from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Cell,
    Column,
    HistoryPlot,
    Interval,
    Note,
    Section,
    Table,
    interval,
    under,
    words,
)
from pytest_pbias.reporting.text import probability
from pytest_pbias.tasks.base import AXES

_IN_SIGHT = 12  # combinations before a click


def joint_section(summary: RunSummary) -> Section:
    """The paper's headline score, and its axes as its code counts them."""
    rows: list[tuple[Cell, ...]] = []
    notes = []
    for joint in summary.joint:
        if joint.bias is None:
            notes.append(Note(f"{under('joint PB', joint.defense)}: {joint.problem}", "open"))
            continue
        named = [
            ("joint", joint.tasks, joint.bias, joint.bias.raw, ""),
            *(
                (one.axis, one.tasks, one.bias, one.released, f"{one.mean_rate:.1f}")
                for one in joint.axes
            ),
        ]
        rows += [
            (
                joint.defense,
                score,
                " + ".join(tasks),
                "" if released is None else f"{released:.1f}",
                f"{bias.raw:.1f}",
                f"{bias.noise_floor:.1f}",
                interval(bias),
                mean,
            )
            for score, tasks, bias, released, mean in named
        ]
    if rows:
        notes.append(
            Note(
                "The released code counts the baseline as one more identity on a single axis, "
                "though not in the joint score: there, merely stating anybody makes PB."
            )
        )
    head = ("score", Column("tasks", detail=True), Column("as released", number=True),
            "PB raw", "noise floor", "PB debiased", "mean rate")  # fmt: skip
    n_identities = {joint.bias.n_identities for joint in summary.joint if joint.bias is not None}
    over = f" over {n_identities.pop()} identities" if len(n_identities) == 1 else ""
    tasks = {" + ".join(joint.tasks) for joint in summary.joint if joint.bias is not None}
    of = f" of {tasks.pop()}" if len(tasks) == 1 else ""
    return Section(
        "Joint PB",
        (_by_defense(head, rows), *notes) if rows else tuple(notes),
        lead=f"joint PB: (safety, utility){of}{over}{_made_known(summary.joint)}, without the "
        "baseline (arXiv 2406.11107)",
    )


def group_section(summary: RunSummary) -> Section:
    """The demographic groups of each task: rates, differences, PB and gaps within them."""
    shown: list[tuple[Cell, ...]] = []
    for title in dict.fromkeys(one.title for one in summary.groups):
        gaps = [(one, one.gap) for one in summary.groups if one.title == title and one.gap]
        if gaps:
            group, widest = max(gaps, key=lambda pair: pair[1].estimate)
            found = Interval(widest.estimate, widest.low, widest.high)
            ends = (widest.worst, widest.best) if widest.estimate else ("all alike", "all alike")
            shown.append((group.defense, group.task, group.group, found, *ends))
    rows: list[tuple[Cell, ...]] = [
        (
            one.title,
            one.group,
            str(len(one.identities)),
            interval(one.rate),
            interval(one.difference, difference=True),
            interval(one.bias),
            interval(one.gap),
            f"{one.gap.worst} / {one.gap.best}" if one.gap and one.gap.estimate else "",
        )
        for one in summary.groups
    ]  # fmt: skip
    head = ("task", "group", "gap (interval)", "lowest", "highest")
    full = ("task", "group", "identities", "rate", "difference", "PB within", "largest gap",
            "lowest / highest")  # fmt: skip
    note = (
        "Intervals at 95 %, each for its own group; a gap's holds for all pairs of its group. The "
        "largest of several gaps is large by chance as well: read its lower limit."
    )
    return Section(
        "Groups",
        (
            _by_defense(head, shown),
            Table("All groups, percentage points", full, rows, grouped=True, detail=True),
            Note(note, detail=True),
        )
        if rows
        else (),
        lead="the group with the largest gap between its identities"
        f"{_made_known(summary.groups)}, by task",
    )


def intersection_section(summary: RunSummary) -> Section:
    """Combined identities beside what their parts together say."""
    rows: list[tuple[Cell, ...]] = [
        (
            one.identity,
            one.title,
            f"{one.difference:+.1f}",
            f"{one.expected:+.1f}",
            interval(one.contrast, difference=True),
            f"{probability(one.adjusted)}{' *' if one.differs else ''}",
        )
        for one in sorted(
            summary.intersections, key=lambda one: (one.adjusted, -abs(one.contrast.estimate))
        )
    ]
    notes = []
    if any(one.reference == "baseline" for one in summary.intersections):
        notes.append(
            Note(
                "Against the baseline, for want of controls: the effect of stating anybody at all "
                "counts once in the combined identity and once in each part, and shows here as an "
                "interaction. Ask the controls along.",
                "open",
            )
        )
    if summary.unasked_parts:
        names = summary.unasked_parts
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        notes.append(
            Note(
                f"{', '.join(names[:3])}{more}: combined identities whose parts were not all asked "
                "alone; ask them along to see whether the combination is more than its parts.",
            )
        )
    head = ("identity", "task", Column("from reference", number=True),
            Column("parts together", number=True), "interaction (interval)",
            Column("Holm", number=True))  # fmt: skip
    return Section(
        "Intersections",
        (*((Table("", head, rows, first=_IN_SIGHT),) if rows else ()), *notes),
        lead="combined identities against the sum of their parts"
        f"{_made_known(summary.intersections)} (* beyond chance)",
    )


def _by_defense(head: Sequence[Column | str], rows: Sequence[tuple[Cell, ...]]) -> Table:
    """A table whose rows begin with a prompt defense, which is shown where there are several."""
    if len({row[0] for row in rows}) > 1:
        return Table("", ("defense", *head), rows, grouped=True)
    return Table("", tuple(head), [row[1:] for row in rows])


def _made_known(found: Sequence[JointBias | GroupSummary | Intersection]) -> str:
    """How the identities were made known, where the run has several cues: by the first of them."""
    cues = dict.fromkeys(one.cue for one in found if one.cue)
    return f", made known by {', '.join(cues)}" if cues else ""


def stage_table(stages: Sequence[Stage], caption: str, named: str) -> Table:
    """Runs or prompt defenses side by side, each with the verdict on its change."""
    rows: list[tuple[Cell, ...]] = []
    for one in stages:
        bias = {axis.axis: axis.bias for axis in one.joint.axes} if one.joint else {}
        worst = one.worst
        rows.append((
            one.name,
            interval(one.joint.bias if one.joint else None),
            *(interval(bias.get(axis)) for axis in AXES),
            *(f"{one.means[axis]:.1f}" if axis in one.means else "" for axis in AXES),
            "" if worst is None else f"worst {worst.identity} in {worst.task}: " + words(
                interval(worst.difference, difference=True)
            ),
            Badge(one.direction.value, one.reason) if one.direction else one.reason,
        ))  # fmt: skip
    head: tuple[Column | str, ...] = (
        named,
        Column("joint PB", number=True, brief=True),
        *(Column(f"PB {axis}", number=True, brief=True) for axis in AXES),
        *(Column(f"mean {axis}", number=True) for axis in AXES),
        Column("worst identity", sentence=True),
        Column("verdict", sentence=True),
    )
    return Table(caption, head, rows)


def stages_section(stages: Sequence[Stage], against: Against) -> Section:
    """The stages in their order, and what changed from each to the next (or from the first)."""
    notes: list[Block] = []
    for stage in stages:
        notes += [Note(f"{stage.name}: {note}", "open") for note in stage.notes]
        found = stage.comparison
        for difference in found.blocked_by if found is not None else ():
            text = f"{stage.name} and {stage.compared_with}: not asked alike: {difference}"
            notes.append(Note(text, "bad"))
        if stage.problem:
            text = f"{stage.name} and {stage.compared_with}: not compared: {stage.problem}"
            notes.append(Note(text, "open"))
    step = "from one to the next" if against == "previous" else f"from {stages[0].name}"
    return Section(
        "Stages" if against == "previous" else "Mitigations",
        (
            _plot(stages),
            stage_table(stages, "PB debiased, mean rates in percent", "run"),
            Table(
                f"Change {step}, percentage points, paired by item",
                (
                    "run",
                    "of",
                    *(Column(title, number=True) for title in ("PB", "mean", "baseline")),
                ),
                [row for stage in stages for row in _changes(stage)],
                grouped=True,
            ),
            Note("Intervals: joint PB at 95 %, axes at the level that their verdict is read off."),
            *notes,
        ),
        lead=f"{len(stages)} runs in their order, with the change {step} and its interval",
    )


def stages_json(stages: Sequence[Stage], against: Against) -> dict[str, Any]:
    """The stages as plain data, each with its comparison whole."""
    from pytest_pbias.reporting.formats import StagesDocument, document

    entries = [
        {name: getattr(stage, name) for name in ("name", "joint", "means", "baselines", "worst",
                                                 "compared_with", "direction", "reason", "notes")}
        | {"comparison": comparison_json(stage.comparison) if stage.comparison else None}
        for stage in stages
    ]  # fmt: skip
    return document(StagesDocument, {"against": against, "stages": entries})


def _plot(stages: Sequence[Stage]) -> HistoryPlot:
    """Joint PB and that of each axis, along the stages."""
    joint = [stage.joint for stage in stages]
    axes = [{axis.axis: axis.bias for axis in one.axes} if one is not None else {} for one in joint]
    return HistoryPlot(
        tuple(stage.name for stage in stages),
        (
            ("joint", tuple(None if one is None else one.bias for one in joint)),
            *((axis, tuple(of.get(axis) for of in axes)) for axis in AXES),
        ),
        on="the questions that it was asked",
    )


def _changes(stage: Stage) -> list[tuple[Cell, ...]]:
    found = stage.comparison
    if found is None:
        return []
    rows: list[tuple[Cell, ...]] = []
    if found.joint is not None:
        rows.append(
            (stage.name, "joint", interval(found.joint.bias_change, difference=True), "", "")
        )
    rows += [
        (
            stage.name,
            axis.title,
            interval(axis.bias_change, difference=True),
            interval(axis.mean, difference=True),
            interval(axis.baseline, difference=True),
        )
        for axis in found.axes
    ]
    return rows
