"""What the A/A check says: how much the engine alone moves answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_pbias.reporting.text import Line, columns, cut, markdown, padded, plain, signed

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
