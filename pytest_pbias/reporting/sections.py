"""The sections of a run that its summary alone gives; each is shown by every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from pytest_pbias.analysis.cues import AxisCues
from pytest_pbias.analysis.judges import PairAgreement
from pytest_pbias.analysis.repeatability import Repeatability
from pytest_pbias.analysis.summary import (
    CellSummary,
    RunSummary,
    TaskSummary,
    policy_notes,
    verdict_counts,
)
from pytest_pbias.analysis.traits import TraitDifference
from pytest_pbias.analysis.unparsable import UnparsableFinding
from pytest_pbias.gate import WORST_FIRST, AxisVerdict, CellVerdict, Verdict
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
    Bullets,
    Cell,
    Column,
    CuePlot,
    DefensePlot,
    Interval,
    Note,
    Section,
    Severity,
    Shift,
    Table,
    interval,
    severity,
    under,
)
from pytest_pbias.reporting.text import application_line, probability, server_line
from pytest_pbias.stats import (
    AgreementResult,
    EffectCorrelation,
    PairedDifferenceResult,
)

_OPEN = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NO_SIGNAL)
_IN_SIGHT = 12  # cells before a click
_FEASIBLE = 1_000_000
_MOST_REASONS = 5
_MOST_FILES = 6


def difference(verdict: CellVerdict) -> Interval:
    """A cell's difference with the limits that its verdict is read off."""
    found = verdict.shown
    return Interval(found.estimate, found.low, found.high, difference=True)


def compared_with(verdicts: Iterable[CellVerdict]) -> str:
    """What cells were compared with, in words, for the title of their differences."""
    found = dict.fromkeys(verdict.reference for verdict in verdicts)
    others = [words for words in found if words != "baseline"]
    if not others:
        return "the baseline"
    return " or ".join(others) + (", else the baseline" if "baseline" in found else "")


def verdict_sentence(summary: RunSummary) -> str:
    """What a reader with ten seconds needs to know; missing answers before anything else."""
    counts = verdict_counts(summary)
    run, n_cells = summary.run, summary.n_cells
    failed = list(dict.fromkeys(a.title for a in summary.axes if a.verdict is Verdict.FAIL))
    waiting = {
        says: [axis.title for axis in summary.axes if axis.verdict is verdict]
        for verdict, says in (
            (Verdict.INCONCLUSIVE, "needs more questions"),
            (Verdict.NO_SIGNAL, "cannot show a difference"),
        )
    }
    biased = _joined(
        (f"{counts['fail']} of {n_cells} cells fail", bool(counts["fail"])),
        (f"PB over {_listed(failed)} is above its tolerance", bool(failed)),
    )
    unsettled = _joined(
        (f"{counts['inconclusive']} of {n_cells} cells need more questions",
         bool(counts["inconclusive"])),
        (f"{counts['no signal']} of {n_cells} cells cannot show a difference",
         bool(counts["no signal"])),
    )  # fmt: skip
    if run.n_missing or counts["error"]:
        missing = _joined(
            (f"{run.n_missing:,} of {run.n_rows:,} answers are missing", bool(run.n_missing)),
            (f"{counts['error']} of {n_cells} cells have no readable answer", not run.n_missing),
        )
        says = f"No verdict on everything: {missing}"
        return f"{says}; {biased}." if biased else f"{says}."
    if biased:
        return f"Biased beyond the margins: {biased}."
    if unsettled:
        return f"Not settled: {unsettled}."
    if any(waiting.values()):
        open_axes = _joined(
            *((f"PB over {_listed(list(dict.fromkeys(axes)))} {says}", bool(axes))
              for says, axes in waiting.items())
        )  # fmt: skip
        return f"Not settled: every cell passes, but {open_axes}."
    if not n_cells:
        return "Nothing was decided."
    return f"No difference beyond the margins in any of {n_cells} cells."


def _listed(names: Sequence[str]) -> str:
    """Names as in a sentence: a, b and c."""
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _joined(*clauses: tuple[str, bool]) -> str:
    return ", and ".join(text for text, holds in clauses if holds)


def verdict_section(summary: RunSummary) -> Section:
    """What a reader with ten seconds needs, and where to look next."""
    return Section(
        "Verdict",
        (
            Note(verdict_sentence(summary), "strong", name="verdict"),
            *_broken(summary),
            *control_section(summary).blocks,
            *_gates(summary),
            *_open_cells(summary),
        ),
    )


def _broken(summary: RunSummary) -> Iterator[Block]:
    """What is missing or cannot be read, the cells without a verdict, and why."""
    run = summary.run
    if run.partial is not None:
        yield Note(f"PARTIAL: {run.partial}", "bad")
    if run.n_missing:
        missing = f"{run.n_missing:,} of {run.n_rows:,} answers are missing"
        cure = "" if run.imported else "; run again to ask for these alone"
        yield Note(f"Error: {missing}{cure}", "bad")
    for text in run.notes:
        yield Note(f"Warning: {text}", "bad")
    for text in summary.unreadable:
        yield Note(f"Error: {text}", "bad")
    for warning in dict.fromkeys(axis.warning for axis in summary.axes if axis.warning):
        yield Note(warning, "bad")
    if summary.errors:
        yield Bullets(tuple(summary.errors[:_MOST_REASONS]))
    rows = [
        (cell.identity.name, task.title, Badge("error"), cell.undecided)
        for task in summary.tasks
        for cell in task.cells
        if cell.verdict is None
    ]
    if rows:
        head = ("identity", "task", "verdict", "why")
        yield Table("Cells without a verdict", head, rows, first=_IN_SIGHT)


def _gates(summary: RunSummary) -> Iterator[Block]:
    rows = [
        (
            axis.title,
            Badge(axis.verdict.value),
            interval(axis.bias),
            f"{axis.tolerance:g}",
            f"{axis.bias.raw:.1f}" if axis.bias else "",
            f"{axis.bias.noise_floor:.1f}" if axis.bias else "",
            f"{axis.mean_rate:.1f}",
            f"{axis.baseline_rate:.1f}",
            items_to_settle(axis),
        )
        for axis in summary.axes
    ]
    if rows:
        head = ("axis", "verdict", "PB debiased (interval)", "tolerance", "PB raw", "noise floor",
                "mean rate", "baseline", "items to settle")  # fmt: skip
        yield Table("Gates, percentage points", head, rows)
    for axis in summary.axes:
        if axis.verdict is Verdict.NO_SIGNAL or axis.bias is None:
            yield Note(f"{axis.title}: {axis.reason}", "open")


def _open_cells(summary: RunSummary) -> Iterator[Block]:
    """The cells that do not pass, those that fail first, the largest difference first."""
    counts = ", ".join(f"{n} {name}" for name, n in sorted(verdict_counts(summary).items()))
    yield Note(f"Cells: {counts or 'none'}.")
    for note in policy_notes(summary):
        yield Note(f"{note[0].upper()}{note[1:]}.")
    found = [
        (cell.verdict, task, cell)
        for task in summary.tasks
        for cell in task.decided
        if cell.verdict is not None and cell.verdict.verdict in _OPEN
    ]
    found.sort(key=lambda row: (_OPEN.index(row[0].verdict), -abs(row[0].difference.estimate)))
    rows = [
        (
            cell.identity.name,
            task.title,
            task.axis,
            Badge(verdict.verdict.value),
            difference(verdict),
            f"{verdict.margin:g}",
            items_to_settle(verdict),
        )
        for verdict, task, cell in found
    ]
    if not rows:
        return
    yield Note(
        "Intervals hold for all cells at once: a cell fails where its whole interval is beyond "
        f"the margin. It passes where its own {100 - 200 * summary.policy.alpha:g} % interval is "
        "within it: a pass is a claim about its cell. That every cell passes is wrong no more "
        "often than the worst of them; of passes among other verdicts some may be wrong."
    )
    head = ("identity", "task", "axis", "verdict", "difference (interval)", "margin",
            "items to settle")  # fmt: skip
    caption = "Cells that do not pass, the largest difference first"
    yield Table(caption, head, rows, first=_IN_SIGHT)


def items_to_settle(verdict: CellVerdict | AxisVerdict) -> str:
    """How many items would settle an inconclusive verdict; nothing where it is settled."""
    if verdict.verdict is not Verdict.INCONCLUSIVE:
        return ""
    needed = verdict.needed_items
    return "no feasible number" if needed is None or needed > _FEASIBLE else f"{needed:,}"


def task_table(summary: RunSummary) -> Table:
    """Each task in a row: rates, and PB with what noise alone would give."""
    head = ("task", "axis", "items", "clusters", "baseline", "mean rate", "PB raw", "noise floor",
            "PB debiased", "identities alike?")  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            task.title,
            task.axis,
            f"{task.n_items:,}",
            f"{task.n_clusters:,}",
            interval(task.baseline.rate) if task.baseline else "",
            f"{task.mean_rate:.1f}" if task.mean_rate is not None else "",
            f"{task.bias.raw:.1f}" if task.bias else "",
            f"{task.bias.noise_floor:.1f}" if task.bias else "",
            interval(task.bias),
            probability(task.pvalue) if task.pvalue is not None else "",
        )
        for task in summary.tasks
    ]
    return Table("Rates and PB, percentage points", head, rows)


def cluster_warnings(*tasks: TaskSummary) -> Iterator[Note]:
    """What verdicts on too few clusters of items leave open; nothing where there are enough."""
    for task in tasks:
        if task.warned:
            few = "; ".join([f"few clusters: {task.n_clusters}", *task.cluster_notes])
            yield Note(f"{task.title}: {few}", "open")


def control_section(summary: RunSummary) -> Section:
    """What stating anybody does: the controls, who say nothing of a person, against the baseline.

    It stands before everything that is said of identities, those that do not pass first.
    """
    found = [
        (cell.verdict, task, cell)
        for task, cell in _cells_of(summary)
        if cell.identity.kind == "control" and cell.verdict is not None
    ]
    found.sort(
        key=lambda row: (WORST_FIRST.index(row[0].verdict), -abs(row[0].difference.estimate))
    )
    moved = tuple(
        Note(
            f"{task.title}: any persona prompt moves this model (control: {cell.identity.name})",
            "open",
        )
        for verdict, task, cell in found
        if verdict.verdict is Verdict.FAIL
    )
    rows = [
        (
            cell.identity.name,
            task.title,
            Badge(verdict.verdict.value),
            difference(verdict),
            f"{verdict.margin:g}",
            items_to_settle(verdict),
        )
        for verdict, task, cell in found
    ]
    head = ("control", "task", "verdict", "difference (interval)",
            Column("margin", detail=True), Column("items to settle", detail=True))  # fmt: skip
    caption = "Stating anybody: the controls against the baseline"
    table = Table(caption, head, rows, first=_IN_SIGHT)
    return Section("Stating anybody", (table, *moved) if rows else ())


def _cells_of(summary: RunSummary) -> Iterator[tuple[TaskSummary, CellSummary]]:
    for task in summary.tasks:
        for cell in task.cells:
            yield task, cell


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
    for task, cell in _cells_of(summary):
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
    for task, cell in _cells_of(summary):
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
                *(
                    Interval(effect.estimate, effect.low, effect.high, difference=True)
                    if (effect := one.effects.get(cue))
                    else ""
                    for cue in cues
                ),
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
            Interval(first.estimate, first.low, first.high, difference=True),
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
            _moved(one.difference),
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


def _moved(found: PairedDifferenceResult | None) -> Cell:
    if found is None:
        return ""
    return Interval(found.estimate, found.low, found.high, difference=True)


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


def measured_note(summary: RunSummary) -> Note:
    """What was asked, in two sentences."""
    run = summary.run
    cells = max(summary.n_cells, summary.policy.cells)
    served = f" Served by {server_line(run.server)}." if run.server else ""
    if run.application:
        served = f" An {application_line(run.application)}."
    turns = [name for name in run.placements if name != "app"]
    turn = f"{', '.join(turns) or 'no'} turn"
    return Note(
        f"Rates and PB in percentage points. {run.n_rows:,} answers; alpha "
        f"{summary.policy.alpha:g} over {cells} cells; identity in "
        f"{turn}.{served}"
    )
