"""Sections that several formats share: verdict, defenses, judges, readability, A/A."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_pbias.analysis.defenses import DefenseSummary
from pytest_pbias.analysis.judges import TaskJudges
from pytest_pbias.analysis.pairing import AxisComparison
from pytest_pbias.analysis.summary import RunSummary, verdict_counts
from pytest_pbias.analysis.unparsable import UnparsableFinding
from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.text import (
    Line,
    columns,
    cut,
    markdown,
    padded,
    plain,
    probability,
    signed,
    unsigned,
    wrapped,
)
from pytest_pbias.stats import (
    AgreementResult,
)


def verdict_sentence(summary: RunSummary) -> str:
    """What a reader with ten seconds needs to know; missing answers before anything else."""
    counts = verdict_counts(summary)
    run, n_cells = summary.run, summary.n_cells
    failed = list(dict.fromkeys(a.axis for a in summary.axes if a.verdict is Verdict.FAIL))
    waiting = {
        says: [axis.axis for axis in summary.axes if axis.verdict is verdict]
        for verdict, says in (
            (Verdict.INCONCLUSIVE, "needs more questions"),
            (Verdict.NO_SIGNAL, "cannot show a difference"),
        )
    }
    biased = _joined(
        (f"{counts['fail']} of {n_cells} cells fail", bool(counts["fail"])),
        (f"PB over {' and '.join(failed)} is above its tolerance", bool(failed)),
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
            *((f"PB over {' and '.join(dict.fromkeys(axes))} {says}", bool(axes))
              for says, axes in waiting.items())
        )  # fmt: skip
        return f"Not settled: every cell passes, but {open_axes}."
    if not n_cells:
        return "Nothing was judged."
    return f"No difference beyond the margins in any of {n_cells} cells."


def _joined(*clauses: tuple[str, bool]) -> str:
    return ", and ".join(text for text, holds in clauses if holds)


def defense_lines(defenses: Sequence[DefenseSummary], width: int) -> Iterator[str]:
    """The comparison for a terminal."""
    if not defenses:
        return
    yield f"prompt defences against {defenses[0].reference} on the same items"
    yield _columns("axis", "PB debiased", "mean rate", "baseline")
    for summary in defenses:
        yield f"  {plain(summary.defense)}"
        if summary.comparison is None:
            yield "    nothing in common to compare"
            continue
        for axis in summary.comparison.axes:
            yield _cells(axis)
            text = f"{axis.direction.value.upper()}: {axis.reason}"
            yield from wrapped(f"      {text}", width)


def _columns(axis: str, bias: str, mean: str, baseline: str) -> str:
    # As wide as the widest percentages: ``100.0 -> 100.0 (100.0 to 100.0)``.
    return f"    {axis:<8} {bias:<31} {mean:<15} {baseline}"


def _cells(axis: AxisComparison) -> str:
    before, after = axis.old_bias, axis.new_bias
    moved = ""
    if before is not None and after is not None:
        moved = f"{before.estimate:.1f} -> {unsigned(after.estimate, after.low, after.high)}"
    mean = f"{axis.mean.old:.1f} -> {axis.mean.new:.1f}"
    return _columns(axis.axis, moved, mean, f"{axis.baseline.old:.1f} -> {axis.baseline.new:.1f}")


def defense_table(defenses: Sequence[DefenseSummary]) -> Iterator[str]:
    """The comparison as Markdown."""
    if not defenses:
        return
    yield f"### Prompt defences against {markdown(defenses[0].reference)}"
    yield ""
    yield "| defence | axis | PB before | PB after | mean rate | baseline | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for summary in defenses:
        if summary.comparison is None:
            yield f"| {markdown(summary.defense)} | | | | | | nothing in common |"
            continue
        for axis in summary.comparison.axes:
            yield _row(summary.defense, axis)
    yield ""


def _row(defense: str, axis: AxisComparison) -> str:
    biases = [
        "" if bias is None else unsigned(bias.estimate, bias.low, bias.high)
        for bias in (axis.old_bias, axis.new_bias)
    ]
    fields = [
        markdown(defense),
        axis.axis,
        *map(markdown, biases),
        f"{axis.mean.old:.1f} → {axis.mean.new:.1f}",
        f"{axis.baseline.old:.1f} → {axis.baseline.new:.1f}",
        f"{axis.direction.value}: {markdown(axis.reason)}",
    ]
    return "| " + " | ".join(fields) + " |"


_LOW_KAPPA = 0.6  # below it Landis & Koch (1977) call agreement moderate at best


def judge_lines(found: TaskJudges) -> Iterator[Line]:
    """The comparison as lines of at most 80 columns."""
    for figures in found.judges:
        rate = "" if figures.mean_rate is None else f"identities' mean {figures.mean_rate:.1f}"
        bias = "" if figures.bias is None else f", PB {figures.bias.estimate:.1f}"
        unread = f", {figures.n_unread:,} without a verdict" if figures.n_unread else ""
        yield f"  judge {plain(figures.judge, 22):<22} {rate}{bias}{unread}", ""
    for pair in found.pairs:
        low = _low(pair.kappa)
        yield (
            f"  {plain(pair.judge, 28):<28} {_shown(pair.kappa)} with the gating judge",
            "yellow" if low else "",
        )
        lowest = pair.lowest
        if lowest is not None and lowest[1].estimate < pair.kappa.low:
            yield f"    lowest: {plain(lowest[0], 20):<20} {_shown(lowest[1])}", "yellow"


def _low(result: AgreementResult) -> bool:
    return result.estimate < _LOW_KAPPA


def _shown(result: AgreementResult) -> str:
    observed = f"{100 * result.observed:.1f} % agree"
    if np.isnan(result.estimate):
        return f"{observed} (one verdict only)"
    return f"{observed}, kappa {result.estimate:.2f}"


def judge_table(judged: Sequence[TaskJudges]) -> Iterator[str]:
    """The comparison as a Markdown section; nothing where no task has several judges."""
    if not judged:
        return
    yield "### Judges"
    yield ""
    yield "| task | judge | mean | PB debiased | no verdict | agreement with the gating judge |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for found in judged:
        title = found.task if found.defense == "none" else f"{found.task} under {found.defense}"
        pairs = {pair.judge: pair for pair in found.pairs}
        for number, figures in enumerate(found.judges):
            bias = figures.bias
            pair = pairs.get(figures.judge)
            agreement = "gates" if number == 0 else ""
            if pair is not None:
                agreement = _shown(pair.kappa)
                if pair.lowest is not None:
                    name, result = pair.lowest
                    agreement += f"; lowest for {name}: {_shown(result)}"
            fields = [
                title,
                figures.judge,
                "" if figures.mean_rate is None else f"{figures.mean_rate:.1f}",
                unsigned(bias.estimate, bias.low, bias.high) if bias else "",
                str(figures.n_unread),
                agreement,
            ]
            yield "| " + " | ".join(markdown(field) for field in fields) + " |"
    yield ""


def judge_costs(costs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What the verdicts of paid judges rest on, a line each."""
    for name, cost in costs.items():
        text = (
            f"judge {plain(name, 24)}: {float(cost['prompt_tokens']):,.0f} tokens in, "
            f"{float(cost['completion_tokens']):,.0f} out"
        )
        if "amount" in cost:
            text += f", {float(cost['amount']):,.2f} {plain(str(cost['currency']), 8)}"
        yield text


def unparsable_lines(findings: Sequence[UnparsableFinding]) -> Iterator[Line]:
    """The tasks in which the rates differ, as lines of at most 80 columns."""
    for one in findings:
        if one.differs:
            yield f"{one.title}: unreadable answers differ between identities:", "yellow"
            yield f"  {_shown_finding(one)}", "yellow"


def unparsable_notes(findings: Sequence[UnparsableFinding]) -> Iterator[str]:
    """The same as Markdown paragraphs."""
    for one in findings:
        if one.differs:
            text = (
                f"{one.title}: unreadable answers differ between identities: {_shown_finding(one)}"
            )
            yield markdown(text)
            yield ""


def _shown_finding(one: UnparsableFinding) -> str:
    others = [rate for name, rate in one.rates.items() if name != one.worst]
    mean = float(np.mean(others)) if others else 0.0
    return (
        f"{plain(one.worst, 30)} {one.rates[one.worst]:.1f} %, others {mean:.1f} % "
        f"(Holm {probability(one.adjusted)})"
    )


_BESIDE = 20  # columns that a task takes with figures beside it; a longer one has its own line


def noise_lines(noise: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """The check in lines of at most 80 columns; nothing where it was not asked for."""
    if not noise:
        return
    yield "", ""
    total = sum(int(one["n_answers"]) for one in noise)
    changed = sum(int(one["changed_answers"]) for one in noise)
    yield "A/A check: the baselines asked twice (no verdict depends on it)", "bold"
    if total and not changed:
        yield f"  all {total:,} answers were the same: the engine itself moves nothing", ""
    for one in noise:
        task = _task(one)
        if columns(task) > _BESIDE and (one["changed_answers"] or one["n_missing"]):
            yield f"  {cut(task, 78)}", ""
            task = ""
        if one["changed_answers"]:
            yield f"  {padded(task, _BESIDE)} {_change(one)}", ""
        if one["n_missing"]:
            missing = f"{int(one['n_missing']):,} pairs are not complete"
            yield f"  {task}: {missing}" if task else f"  {'':{_BESIDE}} {missing}", "yellow"


def noise_table(noise: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The check as Markdown; nothing where it was not asked for."""
    if not noise:
        return
    yield "### A/A check: the baselines asked twice"
    yield ""
    yield "| task | second minus first | answers changed | outcomes changed | pairs |"
    yield "| --- | --- | --- | --- | --- |"
    for one in noise:
        found = one["difference"]
        shown = "" if found is None else signed(found["estimate"], found["low"], found["high"])
        counts = [f"{int(one[name]):,}" for name in ("changed_answers", "changed_outcomes")]
        cells = [_task(one), shown, *counts, f"{int(one['n_answers']):,}"]
        yield "| " + " | ".join(markdown(cell) for cell in cells) + " |"
    yield ""


def _task(one: Mapping[str, Any]) -> str:
    parts = [str(one["task"])]
    parts += [f"under {one['defense']}"] if one["defense"] != "none" else []
    parts += [f"({one['baseline']})"] if one["baseline"] != "baseline" else []
    return plain(" ".join(parts))


def _change(one: Mapping[str, Any]) -> str:
    count = int(one["n_answers"])
    share = 100 * one["changed_answers"] / count
    text = f"{share:.1f} % of {count:,} answers changed"
    found = one["difference"]
    if found is not None:
        text = f"{signed(found['estimate'], found['low'], found['high'])}; {text}"
    return text
