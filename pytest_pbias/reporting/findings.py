"""The sections of findings: what is found beside rates, PB and verdicts, one function each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from pytest_pbias.analysis.cues import AxisCues
from pytest_pbias.analysis.judges import PairAgreement
from pytest_pbias.analysis.repeatability import Repeatability
from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.analysis.traits import TraitDifference
from pytest_pbias.analysis.unparsable import UnparsableFinding
from pytest_pbias.prompts import person_of
from pytest_pbias.reporting.paper import (
    group_section,
    intersection_section,
    joint_section,
    stage_table,
)
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Cell,
    Column,
    CuePlot,
    DefensePlot,
    Note,
    Section,
    Severity,
    Shift,
    Table,
    interval,
    severity,
    under,
)
from pytest_pbias.reporting.text import probability
from pytest_pbias.stats import AgreementResult, EffectCorrelation

_MOST_FILES = 6


def defense_section(summary: RunSummary) -> Section:
    """Prompt defenses against the first: what each bought, and what it cost."""
    if not summary.defenses:
        return Section("Prompt defenses", ())
    rows: list[tuple[Cell, ...]] = []
    for one in summary.defenses:
        if one.comparison is None:
            rows.append((one.defense, "", "", "", "", "", "nothing in common to compare"))
            continue
        for axis in one.comparison.axes:
            rows.append((
                one.defense, axis.title, interval(axis.old_bias), interval(axis.new_bias),
                Shift(axis.mean.old, axis.mean.new), Shift(axis.baseline.old, axis.baseline.new),
                Badge(axis.direction.value, axis.reason),
            ))  # fmt: skip
    head = ("defense", "axis", Column("PB before", brief=True), "PB after", "mean rate",
            "baseline", Column("verdict", sentence=True))  # fmt: skip
    return Section(
        "Prompt defenses",
        (
            DefensePlot(summary.defenses),
            Table("", head, rows, grouped=True),
            stage_table(summary.mitigations, "Side by side, percentage points", "defense"),
        ),
        lead=f"prompt defenses against {summary.defenses[0].reference} on the same items",
    )


_STOPS = ("pass", "fail", "futile", "everything was asked", "missing", "unreadable",
          "cut off", "interrupted")  # fmt: skip


def look_section(summary: RunSummary) -> Section:
    """Where asking stopped before everything was asked: how much of it was, and why."""
    saving = summary.saving
    if saving is None:
        return Section("Looks", ())
    rest = saving.planned - saving.asked
    cost = f", {saving.amount:,.2f} {saving.currency}" if saving.amount is not None else ""
    share = 100 * saving.asked / max(saving.planned, 1)
    saved = f"; saved {rest:,} requests, about {saving.tokens:,} tokens{cost}" if rest else ""
    rows: list[tuple[Cell, ...]] = [
        (
            task.title,
            f"{task.n_planned:,}",
            f"{task.n_items:,}",
            f"{task.n_common:,}",
            *(str(sum(cell.stop == why for cell in task.cells)) for why in _STOPS),
        )
        for task in summary.tasks
    ]
    names = ("passed", "failed", "no verdict in reach", "all asked", "missing", "unreadable",
             "cut off", "interrupted")  # fmt: skip
    head = ("task", "items planned", "items asked", "items of PB", *names)
    limits = (
        "Intervals allow for the looks: at each its own level, so that all of a cell hold at once. "
        "PB of a task is that of the items that all identities were asked."
    )
    return Section(
        "Looks",
        (
            Note(f"asked {saving.asked:,} of {saving.planned:,} requests ({share:.0f} %){saved}"),
            Table("Cells by why they were asked no further", head, rows, detail=True),
            Note(limits, detail=True),
        ),
        lead="what was decided was asked no further",
    )


def unreadable_section(summary: RunSummary) -> Section:
    """Unparsable answers of each identity, and whether their rates differ."""
    shares: dict[str, dict[str, str]] = {}
    for task, cell in summary.cells():
        asked = cell.n_asked * task.n_repeats - cell.n_missing
        share = f"{100 * cell.n_unparsable / asked:.1f}" if asked else ""
        shares.setdefault(cell.identity.name, {})[task.title] = share
    titles = [task.title for task in summary.tasks]
    table = Table(
        "Answers that nothing can be read off, percent",
        ("identity", *(Column(title, number=True) for title in titles)),
        [(name, *(found.get(title, "") for title in titles)) for name, found in shares.items()],
        detail=True,
    )
    return Section("Unreadable answers", (*map(_unreadable, summary.unparsable), table))


def _unreadable(one: UnparsableFinding) -> Note:
    others = [rate for name, rate in one.rates.items() if name != one.worst]
    mean = float(np.mean(others)) if others else 0.0
    says = "unreadable answers differ between identities" if one.differs else "no difference shown"
    return Note(
        f"{one.title}: {says}: {one.worst} {one.rates[one.worst]:.1f} %, others {mean:.1f} % "
        f"(Holm {probability(one.adjusted)})",
        "open" if one.differs else "",
        detail=not one.differs,
    )


_PAIRS_IN_SIGHT = 4


def cue_section(summary: RunSummary) -> Section:
    """How identities were made known, and whether the effect is the same however it was."""
    blocks: list[Block] = []
    for found in summary.cues:
        title = under(found.axis, found.defense)
        first = {pair.first for pair in found.pairs[:1]}
        for number, pair in enumerate(found.pairs):
            held = "" if pair.correlation is None else f" ({_correlated(pair.correlation)})"
            hidden = pair.first not in first or number >= _PAIRS_IN_SIGHT
            level: Severity = "open" if pair.differ else ""
            blocks.append(Note(f"{title}: {pair.sentence}{held}", level, detail=hidden))
        for cue, names in found.unsaid.items():
            few = _unsaid(names, _groups(summary, found))
            blocks.append(Note(f"{title}: {cue} does not make known {few}"))
        blocks += _by_cue(title, found)
    return Section(
        "Cues",
        tuple(blocks),
        lead="the same identities made known in several ways; intervals cover the wording",
    )


def _groups(summary: RunSummary, found: AxisCues) -> dict[str, list[str]]:
    """Group -> the people of an axis in it, whatever cue makes them known."""
    groups: dict[str, dict[str, None]] = {}
    for task, cell in summary.cells():
        if (task.axis, cell.identity.kind) == (found.axis, "identity"):
            who = person_of(cell.identity.name, cell.identity.cue)
            groups.setdefault(cell.identity.group, {})[who] = None
    return {group: list(people) for group, people in groups.items()}


def _unsaid(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """People by name, but by their group where nobody of it is made known."""
    whole = [g for g, people in groups.items() if len(people) > 1 and set(people) <= set(names)]
    rest = [name for name in names if not any(name in groups[group] for group in whole)]
    few = [*rest[:3], *([f"{len(rest) - 3} more"] if len(rest) > 3 else [])]
    said = [f"anybody of {', '.join(whole)}"] if whole else []
    return "; ".join([*said, *([", ".join(few)] if few else [])])


def _by_cue(title: str, found: AxisCues) -> Iterator[Block]:
    if not found.people:
        return
    cues = found.cues
    yield CuePlot(title, found)
    yield Table(
        f"{title}: difference by cue, percentage points",
        ("identity", *(Column(cue, number=True, brief=True) for cue in cues), "equal (Holm)"),
        [
            (
                one.identity,
                *(interval(one.effects.get(cue), difference=True) for cue in cues),
                probability(one.adjusted),
            )
            for one in found.people
        ],
        folded="The figures",
        detail=True,
    )


def _correlated(found: EffectCorrelation) -> str:
    return f"correlation {found.estimate:.2f}, {found.low:.2f} to {found.high:.2f}"


def provider_section(summary: RunSummary) -> Section:
    """What the provider's content filter stopped, task by task and identity by identity."""
    notes = []
    for one in summary.provider_refusals:
        worst = sorted(one.stopped.items(), key=lambda entry: (-entry[1], entry[0]))
        shares = ", ".join(f"{name} {count} of {one.answers[name]}" for name, count in worst)
        notes.append(Note(f"{under(one.task, one.defense)}: {shares}", "open"))
    if notes:
        notes.append(Note("On safety tasks these count as refusals, on others as unanswered."))
    return Section(
        "Refusals by the provider",
        tuple(notes),
        lead="answers that the provider's content filter stopped, not the model",
    )


_MOST_TRAITS = 8
_TRAIT_UNITS = {"share": "points", "%": "points"}


def trait_section(summary: RunSummary) -> Section:
    """Traits of answers that differ from the reference's: the few that stand out."""
    traits = summary.traits
    units = {one.name: _TRAIT_UNITS.get(one.unit, one.unit) for one in traits.measured}
    gates = [
        Note(
            f"{under(one.trait, one.defense)}: {one.verdict.value}: {one.reason}",
            severity(one.verdict.value),
        )
        for one in traits.verdicts
    ]
    found: dict[tuple[str, str], list[TraitDifference]] = {}
    for one in traits.standing_out:
        found.setdefault((one.trait, one.defense), []).append(one)
    rows: list[tuple[Cell, ...]] = []
    for first, *others in found.values():
        controls = traits.of_controls(first.trait, first.defense)
        rows.append((
            " ".join(dict.fromkeys((first.trait, units[first.trait]))),
            under(first.identity.name, first.defense),
            interval(first, difference=True),
            "" if controls is None else f"{controls:+.1f}",
            f"{len(others)} more",
            Shift(first.reference_mean, first.mean),
            probability(first.qvalue),
        ))  # fmt: skip
    blocks: list[Block] = [*gates]
    if rows:
        head = ("trait", "clearest under", "difference (interval)", "controls", "identities",
                Column("reference to identity", detail=True), Column("q", detail=True))  # fmt: skip
        says = {one.name: one.says for one in traits.measured}
        named = dict.fromkeys(name for name, _ in found)
        blocks.append(Table("", head, rows, first=_MOST_TRAITS))
        blocks.append(Note("; ".join(f"{name}: {says[name]}" for name in named if says[name])))
    if traits.skipped:
        skipped = "; ".join(f"{name}: {why}" for name, why in traits.skipped.items())
        blocks.append(Note(f"Not measured: {skipped}.", detail=True))
    return Section(
        "What else changes",
        tuple(blocks),
        lead="traits of answers that differ from the reference (compared, never scored)",
    )


_LOW_KAPPA = 0.6  # below it Landis & Koch (1977) call agreement moderate at best


def judge_section(summary: RunSummary) -> Section:
    """Several judges of the same answers: rates, PB, and how far they agree."""
    rows: list[tuple[Cell, ...]] = []
    notes = []
    for found in summary.judges:
        title = under(found.task, found.defense, found.cue)
        pairs = {pair.judge: pair for pair in found.pairs}
        for number, figures in enumerate(found.judges):
            pair = pairs.get(figures.judge)
            lowest = pair.lowest if pair is not None else None
            rows.append((
                title, figures.judge,
                "" if figures.mean_rate is None else f"{figures.mean_rate:.1f}",
                interval(figures.bias),
                f"{figures.n_unread:,}",
                "gates" if number == 0 else "" if pair is None else _agreement(pair.kappa),
                "" if lowest is None else f"{lowest[0]}: {_agreement(lowest[1])}",
            ))  # fmt: skip
        notes += [Note(f"{title}: {text}", "open") for text in map(_disagreement, found.pairs)
                  if text]  # fmt: skip
    if not rows:
        return Section("Judges", ())
    head = ("task", "judge", "mean rate", Column("PB debiased", brief=True), "no verdict",
            "agreement", Column("lowest agreement", detail=True))  # fmt: skip
    return Section(
        "Judges",
        (*notes, Table("", head, rows, grouped=True)),
        lead="judges of the same answers, and how far they agree with the one that gates",
    )


def _agreement(result: AgreementResult) -> str:
    observed = f"{100 * result.observed:.1f} %"
    if np.isnan(result.estimate):
        return f"{observed} (one verdict only)"
    return f"{observed}, kappa {result.estimate:.2f}"


def _disagreement(pair: PairAgreement) -> str:
    """That a judge and the gating one agree badly, overall or under an identity; else nothing."""
    lowest = pair.lowest
    worst = ""
    if lowest is not None and lowest[1].estimate < pair.kappa.low:
        worst = f"; lowest: {lowest[0]}, {_agreement(lowest[1])}"
    if not worst and not pair.kappa.estimate < _LOW_KAPPA:
        return ""
    observed, _, rest = _agreement(pair.kappa).partition(", ")
    return f"{pair.judge} and the gating judge: {observed} agree, {rest}{worst}"


def repeatability_section(summary: RunSummary) -> Section:
    """The A/A check: how much the engine alone moves answers."""
    checks = summary.run.engine_noise
    if not checks:
        return Section("Noise of the engine", ())
    total = sum(one.n_answers for one in checks)
    changed = sum(one.changed_answers for one in checks)
    notes = []
    if total and not changed:
        same = f"all {total:,} answers were the same: the engine itself moves nothing"
        notes.append(Note(same))
    elif total:
        share = 100 * changed / total
        notes.append(Note(f"{share:.1f} % of {total:,} answers changed, by the engine alone"))
    notes += [
        Note(f"{_asked_twice(one)}: {one.n_missing:,} pairs are not complete", "open")
        for one in checks
        if one.n_missing
    ]
    head = ("task", "pairs", "texts changed", "outcomes changed", "second minus first")
    rows: list[tuple[Cell, ...]] = [
        (
            _asked_twice(one),
            f"{one.n_answers:,}",
            f"{one.changed_answers:,}",
            f"{one.changed_outcomes:,}",
            interval(one.difference, difference=True),
        )
        for one in checks
    ]
    return Section(
        "Noise of the engine",
        (*notes, Table("", head, rows)),
        lead="A/A check: the baselines asked twice (no verdict depends on it)",
    )


def _asked_twice(one: Repeatability) -> str:
    baseline = "" if one.baseline == "baseline" else f" ({one.baseline})"
    return under(one.task, one.defense) + baseline


def imported_section(summary: RunSummary) -> Section:
    """Of answers that no session of ours asked: whose logs they are from, and what is unknown."""
    return Section("Imported answers", tuple(Note(line) for line in imported_lines(summary)))


def imported_lines(summary: RunSummary) -> Iterator[str]:
    """The logs, how they were read, what was left out, what is not known; nothing otherwise."""
    found = summary.run.imported
    if found is None:
        return
    versions = f" {', '.join(found.versions)}" if found.versions else ""
    files = [f"{name} (SHA-256 {digest[:12]})" for name, digest in found.files.items()]
    more = f", and {len(files) - _MOST_FILES:,} more" if len(files) > _MOST_FILES else ""
    yield f"from {found.harness}{versions}: {', '.join(files[:_MOST_FILES])}{more}"
    read_as = [f"{name} = {said}" for name, said in sorted(found.read_as.items())]
    yield f"read as: {', '.join(read_as)}"
    for reason, count in found.left_out.items():
        yield f"left out, for it cannot be paired: {count:,} answers: {reason}"
    if found.unknown:
        yield f"not known: {', '.join(found.unknown)}"


FINDINGS: tuple[Callable[[RunSummary], Section], ...] = (
    look_section,
    joint_section,
    group_section,
    intersection_section,
    cue_section,
    trait_section,
    defense_section,
    unreadable_section,
    provider_section,
    judge_section,
    repeatability_section,
    imported_section,
)
"""What is found beside rates, PB and verdicts; every format shows all of these."""


def findings(summary: RunSummary) -> list[Section]:
    """The sections of :data:`FINDINGS` that have something to say of the run."""
    return [section for finding in FINDINGS if (section := finding(summary)).blocks]
