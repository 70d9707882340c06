"""Grade the stored responses of a run again, by its judges or others, without asking the model."""

from __future__ import annotations

import argparse
import datetime
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_pbias.analysis.summary import summarize, verdict_counts
from pytest_pbias.cli.arguments import (
    add_data_arguments,
    add_judge_arguments,
    add_option,
    data_options,
)
from pytest_pbias.cli.plugins import chosen_judging
from pytest_pbias.collecting.store import Store
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RegradedFrom, RunFacts
from pytest_pbias.outcomes.regrading import TaskChange, regrade, task_of_run
from pytest_pbias.outcomes.saved_runs import find_run, keep_run
from pytest_pbias.reporting import render_terminal
from pytest_pbias.reporting.text import plain
from pytest_pbias.stats import AgreementResult, cohen_kappa, krippendorff_alpha


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", help="number, name or tag of a kept run, 'latest', or a file")
    add_option(parser, "store", help="folder of the runs")
    add_data_arguments(parser)
    add_judge_arguments(parser)
    add_option(parser, "tag", help="name the new run")
    add_option(parser, "seed", help="seed of intervals and permutations")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show every cell")


def run(options: argparse.Namespace) -> int:
    """Keep the newly graded table as a run of its own; print what changed, and the report.

    Raises:
        PbiasError: the run or its data is not found, or answers cannot be graded here.
    """
    path = find_run(options.run, options.store)
    old = OutcomeTable.read(path)
    noted = old.info.judges
    data = data_options(options, old)
    asked = [task_of_run(name, old, data.tasks) for name in old.tasks()]
    judging = chosen_judging(options, noted.names, noted.hidden or _names(old), asked)
    table, changes = regrade(old, data, judging, Store(options.store / "responses.sqlite"))
    table = table.with_info(replace(_facts(path, old, changes), judges=judging.facts()))
    summary = summarize(table, GatePolicy.of_run(table.info), seed=options.seed)
    kept = keep_run(
        table,
        options.store,
        model="; ".join(table.unique("model")),
        commit=old.info.kept.commit,
        tag=options.tag or "",
        verdicts=verdict_counts(summary),
        bias={axis.title: axis.bias.estimate for axis in summary.axes if axis.bias is not None},
    )
    for line in _change_lines(changes, np.random.default_rng(options.seed)):
        print(line)
    print()
    for line, _ in render_terminal(summary, verbosity=options.verbose):
        print(line)
    print(f"kept as run {kept.stem}")
    return 0


def _names(table: OutcomeTable) -> list[str]:
    """The identities of a run that did not note their words."""
    kinds = zip(table.text("identity"), table.text("kind"), strict=True)
    return sorted({str(name) for name, kind in kinds if kind != "baseline"})


def _facts(path: Path, old: OutcomeTable, changes: list[TaskChange]) -> RunFacts:
    """What the new run's metadata says of it, and of where it comes from."""
    return replace(
        old.info,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        cost=None,  # nothing was asked
        engine_noise=(),  # its outcomes were those of the old judges
        regraded_from=RegradedFrom(
            run=path.stem,
            run_ids=old.unique("run_id"),
            created=old.info.created,
            judges={change.task: change.old_judge for change in changes},
            changed={change.task: change.changed for change in changes},
        ),
    )


def _change_lines(changes: list[TaskChange], rng: np.random.Generator) -> Iterator[str]:
    """What changed and how far the two judges agree, at most 80 columns."""
    for change in changes:
        total = len(change.items)
        judges = f"{change.old_judge} -> {change.new_judge}"
        yield plain(f"{change.task}: {change.changed} of {total} verdicts changed ({judges})", 80)
        if not change.changed:
            continue
        items, old, new = map(np.asarray, (change.items, change.old_verdicts, change.new_verdicts))
        ratings = np.stack([old, new], axis=1)
        yield "  Cohen's kappa          " + _shown(cohen_kappa(old, new, items=items, rng=rng))
        alpha = krippendorff_alpha(ratings, items=items, rng=rng)
        yield "  Krippendorff's alpha   " + _shown(alpha)
        identities = np.asarray(change.identities)
        for name in dict.fromkeys(change.identities):
            chosen = identities == name
            result = cohen_kappa(old[chosen], new[chosen], items=items[chosen], rng=rng)
            yield f"    {plain(name, 30):<30} {_shown(result)}"


def _shown(result: AgreementResult) -> str:
    """A coefficient, its interval, and the plain agreement."""
    observed = f"{100 * result.observed:5.1f} % agree"
    if math.isnan(result.estimate):
        return f"  n/a (one label only)   {observed}"
    return f"{result.estimate:5.2f} ({result.low:5.2f} to {result.high:5.2f})   {observed}"
