"""Beside the findings: other runs, defences, judges, the engine, and where it is all from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import scalar
from pytest_pbias.reporting.html.comparison import comparison_tables
from pytest_pbias.reporting.html.content import RunContent
from pytest_pbias.reporting.html.elements import badge, html_table, safe
from pytest_pbias.reporting.html.figures import defense_plot
from pytest_pbias.reporting.text import signed, unsigned

_NOT_FACTS = {"data", "revisions", "engine_noise", "judge_costs"}
_NOT_INFO = {"kept", "questions", "engine_noise", "cost", "partial", "server", "policy"}


def comparison_section(run: RunContent) -> str:
    """What changed since the earlier run, where the run was compared with one."""
    compared = run.compared
    if compared is None:
        return ""
    if compared.comparison is None:
        return f"<p>Not compared with {safe(compared.name)}: {safe(compared.problem)}</p>"
    return comparison_tables(compared.comparison, compared.gate)


def defense_section(run: RunContent) -> str:
    """Prompt defences against the first: what each bought, and what it cost."""
    rows = []
    for one in run.summary.defenses:
        for axis in one.comparison.axes if one.comparison is not None else ():
            biases = [
                "" if bias is None else unsigned(bias.estimate, bias.low, bias.high)
                for bias in (axis.old_bias, axis.new_bias)
            ]
            rows.append((
                safe(one.defense), axis.axis, *biases,
                f"{axis.mean.old:.1f} → {axis.mean.new:.1f}",
                f"{axis.baseline.old:.1f} → {axis.baseline.new:.1f}",
                badge(axis.direction.value) + " " + safe(axis.reason),
            ))  # fmt: skip
    if not rows:
        return ""
    reference = run.summary.defenses[0].reference
    head = ("defence", "axis", "PB before", "PB after", "mean rate", "baseline", "verdict")
    plot = defense_plot(run.summary.defenses)
    figure = f"<figure>{plot}</figure>" if plot else ""
    return figure + html_table(
        f"Prompt defences against {reference}, percentage points", head, rows
    )


def judge_section(run: RunContent) -> str:
    """Several judges of the same answers: rates, PB, and how far they agree."""
    rows = []
    for found in run.summary.judges:
        pairs = {pair.judge: pair for pair in found.pairs}
        title = found.task if found.defense == "none" else f"{found.task} under {found.defense}"
        for number, figures in enumerate(found.judges):
            pair = pairs.get(figures.judge)
            lowest = pair.lowest if pair is not None else None
            bias = figures.bias
            rows.append((
                safe(title), safe(figures.judge),
                "" if figures.mean_rate is None else f"{figures.mean_rate:.1f}",
                unsigned(bias.estimate, bias.low, bias.high) if bias else "",
                f"{figures.n_unread:,}",
                "gates" if number == 0 else "" if pair is None
                else f"{100 * pair.kappa.observed:.1f} %, kappa {pair.kappa.estimate:.2f}",
                "" if lowest is None else f"{safe(lowest[0])}: kappa {lowest[1].estimate:.2f}",
            ))  # fmt: skip
    if not rows:
        return ""
    head = ("task", "judge", "mean rate", "PB debiased", "without a verdict",
            "agreement with the gating judge", "lowest agreement")  # fmt: skip
    return html_table("Judges of the same answers", head, rows)


def noise_section(run: RunContent) -> str:
    """The A/A check: how much the engine alone moves answers."""
    rows = []
    for one in run.summary.run.engine_noise:
        found = one.get("difference")
        under = "" if one.get("defense", "none") == "none" else f" under {one['defense']}"
        rows.append((
            safe(f"{one.get('task', '')}{under}"), safe(one.get("baseline", "")),
            f"{int(one.get('n_answers', 0)):,}", f"{int(one.get('changed_answers', 0)):,}",
            f"{int(one.get('changed_outcomes', 0)):,}",
            signed(found["estimate"], found["low"], found["high"]) if found else "",
        ))  # fmt: skip
    if not rows:
        return ""
    head = ("task", "baseline", "answers", "changed answers", "changed outcomes", "difference")
    return (
        "<p>The baselines were asked twice: what changed here, the engine alone changed.</p>"
        + html_table("A/A check, percentage points", head, rows)
    )


def provenance_section(run: RunContent) -> str:
    """What was asked, of what, with which versions."""
    summary, info = run.summary, run.table.info
    facts: dict[str, object] = {
        name: value
        for name, value in asdict(summary.run).items()
        if value not in (None, "", (), {}) and name not in _NOT_FACTS
    }
    facts |= {
        name: value
        for name, value in info.items()
        if name not in facts and name not in _NOT_INFO and value not in (None, "", {}, [])
    }
    kept = info.get("kept", {})
    facts |= {name: kept[name] for name in ("commit", "tag") if kept.get(name)}
    facts |= {f"policy: {name}": value for name, value in asdict(summary.policy).items() if value}
    data = [
        (safe(task), safe(summary.run.revisions.get(task, "")), _hash(digest))
        for task, digest in summary.run.data.items()
    ]
    return (
        html_table(
            "Provenance",
            ("what", "value"),
            [(safe(name.replace("_", " ")), _value(value)) for name, value in facts.items()],
        )
        + html_table("Data", ("task", "revision", "hash of the items"), data)
        + html_table("Prompts", ("task", "different chats", "hash of all of them"), _prompts(run))
    )


def _prompts(run: RunContent) -> list[tuple[str, str, str]]:
    """What was asked in each task: the same hash is the same chats, in whatever order."""
    table, rows = run.table.arrow, []
    tasks = table.column("task").cast(pa.string())
    for task in run.table.tasks():
        chats = pc.drop_null(
            pc.unique(table.column("prompt_hash").filter(pc.equal(tasks, scalar(task))))
        )
        if len(chats):
            text = "".join(sorted(chats.to_pylist()))
            digest = hashlib.sha256(text.encode()).hexdigest()
            rows.append((safe(task), f"{len(chats):,}", _hash(digest)))
    return rows


def _hash(digest: str) -> str:
    return f"<code>{safe(digest)}</code>"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return safe(", ".join(f"{name}: {_plain(one)}" for name, one in value.items()))
    if isinstance(value, list | tuple):
        return safe(", ".join(_plain(one) for one in value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else safe(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
