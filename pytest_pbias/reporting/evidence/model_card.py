"""A run as a section of a model card, and in the forms that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from typing import Any

from pytest_pbias.analysis.summary import RunSummary, TaskSummary
from pytest_pbias.errors import inert
from pytest_pbias.reporting.markdown import section_markdown
from pytest_pbias.reporting.sections import verdict_sentence
from pytest_pbias.reporting.tables import Badge, Bullets, Column, Note, Section, Table, interval
from pytest_pbias.tasks import TASKS

_PROJECT = "https://pytest-pbias.readthedocs.io/"


def card_section(summary: RunSummary, limits: tuple[str, ...]) -> str:
    """The section of the card, in Markdown: verdicts with their limits first."""
    numbers = ("PB", "tolerance", "identities' mean", "baseline")
    return section_markdown(
        Section(
            "Personalization bias",
            (
                Note(verdict_sentence(summary), "strong"),
                Note(
                    f"Measured with pytest-pbias on {summary.run.served_identity or 'a model'}: "
                    "whether answers get worse where the user says who they are. PB in percentage "
                    "points with its 95 % interval, rates in percent."
                ),
                Table(
                    "Axes",
                    ("axis", "verdict", *(Column(one, number=True) for one in numbers)),
                    [
                        (
                            axis.title,
                            Badge(axis.verdict.value),
                            interval(axis.bias),
                            f"{axis.tolerance:g}",
                            f"{axis.mean_rate:.1f}",
                            f"{axis.baseline_rate:.1f}",
                        )
                        for axis in summary.axes
                    ],
                ),
                Table(
                    "Tasks",
                    ("task", "items", "licence", "PB", "identities' mean", "cells that fail"),
                    [_task_row(task) for task in summary.tasks],
                ),
                Bullets(limits),
            ),
        )
    )


def _task_row(task: TaskSummary) -> tuple[Any, ...]:
    known = TASKS.get(task.task)
    return (
        task.title,
        f"{task.n_items:,}",
        "not known" if known is None else known.licence,
        interval(task.bias),
        "" if task.mean_rate is None else f"{task.mean_rate:.1f}",
        str(task.count("fail")),
    )


def model_index(summary: RunSummary) -> str:
    """The ``model-index`` of a card's front matter, in YAML.

    Metrics are the debiased PB and the identities' mean rate of each axis.
    """
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    for axis in summary.axes:
        names = [t.task for t in summary.tasks if t.axis == axis.axis and t.defense == axis.defense]
        label = ", ".join(names) + ("" if axis.defense == "none" else f" ({axis.defense})")
        found = {"mean_rate": axis.mean_rate, "baseline_rate": axis.baseline_rate}
        if axis.bias is not None:
            found = {"personalization_bias": axis.bias.estimate, **found}
        results += [
            EvalResult(
                task_type="text-generation",
                dataset_type="-".join(names),
                dataset_name=inert(label),
                metric_type=name,
                metric_name=f"{name.replace('_', ' ')} ({axis.title})",
                metric_value=round(value, 4),
                metric_args=_limits(axis.bias) if name == "personalization_bias" else None,
                source_name="pytest-pbias",
                source_url=_PROJECT,
            )
            for name, value in found.items()
        ]
    if not results:
        return "{}\n"
    card = ModelCardData(model_name=inert(summary.run.model) or "model", eval_results=results)
    return str(card.to_yaml()) + "\n"


def _limits(bias: Any) -> dict[str, float]:
    return {"low": round(bias.low, 4), "high": round(bias.high, 4), "confidence": 0.95}


def eval_results(summary: RunSummary, created: str) -> str:
    """The baseline's rate on each task of the Hub, in the form of ``.eval_results`` files.

    Only of data at the pinned revision. PB is no score of a data set's leaderboard: it is told in
    the notes. JSON, which YAML readers take.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for task in summary.tasks:
        known = TASKS.get(task.task)
        if known is None or known.hub is None or task.baseline is None or task.defense != "none":
            continue
        if summary.run.revisions.get(task.task) != known.hub.revision:
            continue
        bias = "" if task.bias is None else f"; PB {task.bias.estimate:.1f} points"
        entries.append(
            EvalResultEntry(
                dataset_id=known.hub.path,
                task_id=task.task,
                dataset_revision=known.hub.revision,
                value=round(task.baseline.rate.estimate, 4),
                date=created or None,
                source_url=_PROJECT,
                source_name="pytest-pbias",
                notes=f"nobody stated, {task.n_items} items, prompts of pytest-pbias{bias}",
            )
        )
    return json.dumps(eval_result_entries_to_yaml(entries), indent=2) + "\n"
