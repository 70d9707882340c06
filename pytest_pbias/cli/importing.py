"""Make an outcome table of answers that exist already, in the logs of another harness."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pytest_pbias.analysis.samples import sampled_questions
from pytest_pbias.analysis.summary import RunSummary, summarize, verdict_counts
from pytest_pbias.cli.arguments import add_option
from pytest_pbias.cli.plugins import tasks_for
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.importing.making import import_logs
from pytest_pbias.outcomes.importing.mapping import Mapped
from pytest_pbias.outcomes.importing.sources import find_sources
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting.findings import imported_lines
from pytest_pbias.reporting.text import wrapped
from pytest_pbias.tasks import TASKS
from pytest_pbias.tasks.base import AXES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="[IDENTITY=]LOG",
        help="Inspect .eval or .json, lm-evaluation-harness samples_*.jsonl, promptfoo .json, "
        "a table (.csv, .tsv, .jsonl, .parquet), or a folder of logs; with IDENTITY= all answers "
        "in it were asked under that one",
    )
    who = parser.add_argument_group("which is which (FIELD as metadata.persona, or a column)")
    who.add_argument("--identity", metavar="FIELD", help="who asked")
    who.add_argument("--baseline", metavar="NAME", help="the identity that states nobody")
    who.add_argument(
        "--control",
        metavar="NAME",
        action="append",
        default=[],
        help="an identity that tells nothing of a person; may be given again",
    )
    who.add_argument("--item", metavar="FIELD", help="which question")
    who.add_argument("--cluster", metavar="FIELD", help="questions that stand or fall together")
    who.add_argument("--group", metavar="FIELD", help="the group of an identity, as Occupation")
    who.add_argument(
        "--where",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="take these answers only; may be given again",
    )
    score = parser.add_argument_group("scores")
    score.add_argument("--score", metavar="NAME", help="the scorer or metric that counts")
    score.add_argument("--reverse", action="store_true", help="a score of 1 is the bad end")
    score.add_argument(
        "--grade-as", metavar="TASK", help="grade the responses as those of this task instead"
    )
    add_option(score, "tasks")
    score.add_argument("--target", metavar="FIELD", help="the right answer, for --grade-as")
    score.add_argument("--choices", metavar="FIELD", help="the choices of a question")
    score.add_argument("--task", metavar="NAME", help="what to call the task")
    score.add_argument("--axis", choices=AXES, help="what a score is about")
    score.add_argument(
        "--floor", type=_share, metavar="RATE", help="the rate that guessing reaches, in [0, 1]"
    )
    kept = parser.add_argument_group("the table")
    add_option(kept, "store", help="folder of the runs")
    add_option(kept, "tag", help="name the run")
    add_option(kept, "table")
    add_option(kept, "seed", help="seed of permutations")


def run(options: argparse.Namespace) -> int:
    """Keep the table as a run, and say what it is made of.

    Raises:
        PbiasError: a log cannot be read, or its answers cannot be named, paired or graded.
    """
    mapped = _mapped(options)
    known = TASKS if mapped.grade_as is None else tasks_for([mapped.grade_as], options.tasks)
    table = import_logs(find_sources(options.logs), mapped, known)
    summary = summarize(table, GatePolicy(), seed=options.seed)
    texts = {task: {one.id: one.prompt for one in table.items(task).values() if one.prompt}
             for task in table.tasks()}  # fmt: skip
    questions = sampled_questions(table, summary, texts)
    table = table.with_info(replace(table.info, questions=questions))
    if options.table is not None:
        _write(table, options.table)
    path = keep_run(
        table,
        options.store,
        model="; ".join(table.unique("model")) or "imported",
        tag=options.tag or "",
        verdicts=verdict_counts(summary),
        bias={axis.title: axis.bias.estimate for axis in summary.axes if axis.bias is not None},
    )
    for line in _said(table, summary):
        print("\n".join(wrapped(line)))
    print(f"kept as run {path.stem}")
    return 0


def _said(table: OutcomeTable, summary: RunSummary) -> Iterator[str]:
    for task in table.tasks():
        outcomes = table.task_outcomes(task)
        repeats = outcomes.scores.shape[2]
        again = f", each {repeats} times" if repeats > 1 else ""
        yield (
            f"{task}: {len(outcomes.identities)} identities (baseline included), "
            f"{len(outcomes.items):,} items{again}"
        )
    yield from imported_lines(summary)


def _write(table: OutcomeTable, path: Path) -> None:
    try:
        table.write(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}", setting="table"
        ) from None


def _mapped(options: argparse.Namespace) -> Mapped:
    where = {}
    for text in options.where:
        path, equals, value = text.partition("=")
        if not path or not equals or not value:
            raise ConfigurationError(f"{text!r} is not of the form FIELD=VALUE", setting="where")
        where[path] = value
    if options.grade_as is not None and options.score is not None:
        raise ConfigurationError(
            "is given together with --score: responses are graded, or scores taken over",
            setting="grade-as",
        )
    names = ("identity", "baseline", "item", "cluster", "group", "score", "target", "choices")
    return Mapped(
        **{name: getattr(options, name) for name in names},
        controls=tuple(options.control),
        task=options.task,
        axis=options.axis,
        floor=options.floor,
        grade_as=options.grade_as,
        where=where,
        reverse=options.reverse,
    )


def _share(text: str) -> float:
    try:
        number = float(text) if text.isascii() else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to less than 1")
    return number
