"""Sample a run's answers for people to label, or correct its figures by their labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_pbias.analysis.audit import (
    LABELS,
    TaskAudit,
    answers,
    draw_sample,
    evaluate,
    questions_of,
    read_labels,
    to_csv,
)
from pytest_pbias.cli.arguments import add_data_arguments, add_option, data_options
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.files.writing import stream_at, write_whole
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.reporting.text import plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", help="number, name or tag of a kept run, 'latest', or a file")
    add_option(parser, "store", help="folder of the runs")
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="answers to draw")
    add_option(parser, "seed", help="seed of the sample")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--out", type=Path, metavar="FILE", help="write the sample as CSV")
    parser.add_argument(
        "--no-questions", action="store_true", help="leave the column 'question' empty"
    )
    add_data_arguments(parser)
    way.add_argument("--labels", type=Path, metavar="FILE", help="read the labelled CSV back")


def run(options: argparse.Namespace) -> int:
    """Write the sample, or print the corrected figures.

    Raises:
        PbiasError: the run or the file cannot be read or written.
    """
    table = OutcomeTable.read(find_run(options.run, options.store))
    population = answers(table)
    if options.labels is not None:
        labels = read_labels(options.labels, population)
        print(f"{len(labels)} labels read")
        for audit in evaluate(table, population, labels):
            for line in _lines(audit):
                print(line)
        return 0
    if options.out.exists() and stream_at(options.out) is None:
        raise ConfigurationError(
            f"{options.out} exists and may hold labels: choose another file for the sample"
        )
    sample = draw_sample(population, options.sample, np.random.default_rng(options.seed))
    questions: dict[tuple[str, str], str] = {}
    if not options.no_questions:
        tasks = dict.fromkeys(answer.task for answer in sample)
        questions = questions_of(table, tasks, data_options(options, table))
    text = to_csv(sample, questions)
    try:
        write_whole(options.out, text)
    except OSError as error:
        raise ConfigurationError(
            f"{options.out} cannot be written: {error.strerror or error}"
        ) from None
    print(f"{len(sample)} of {len(population)} answers written to {options.out}")
    print("fill the column 'label' with safe or unsafe (safety tasks), correct or")
    print("incorrect (other tasks); then: pbias audit RUN --labels FILE")
    return 0


def _lines(audit: TaskAudit) -> Iterator[str]:
    """A task's audit, at most 80 columns."""
    good, bad = LABELS[audit.axis]
    counts, rate = audit.counts, audit.rate
    under = "" if audit.defense == "none" else f" under {audit.defense}"
    yield ""
    yield plain(f"{audit.task}{under}", 80)
    yield f"  {'':<18}{'truly ' + good:>16}{'truly ' + bad:>18}"
    yield f"  {'judged ' + good:<18}{counts.true_positive:>16}{counts.false_positive:>18}"
    yield f"  {'judged ' + bad:<18}{counts.false_negative:>16}{counts.true_negative:>18}"
    if rate is None:
        yield plain(f"  rate judged {audit.judged:.1f} %, not corrected: {audit.reason}", 80)
    else:
        sensitivity, specificity = 100 * rate.sensitivity, 100 * rate.specificity
        yield f"  sensitivity {sensitivity:.1f} %, specificity {specificity:.1f} %"
        yield (
            f"  rate judged {audit.judged:.1f} %, corrected {rate.estimate:.1f} % "
            f"({rate.low:.1f} to {rate.high:.1f})"
        )
    before, after = audit.judged_bias, audit.bias
    if before is not None and after is not None:
        if audit.cue:
            yield plain(f"  PB is of the identities made known by {audit.cue}", 80)
        yield (
            f"  PB   judged {before.estimate:.1f} ({before.low:.1f} to {before.high:.1f}), "
            f"corrected {after.estimate:.1f} ({after.low:.1f} to {after.high:.1f})"
        )
    if audit.identity_rates:
        yield "  identities of which both kinds were audited, each corrected by its own labels:"
        for name, (judged, corrected) in audit.identity_rates.items():
            yield (
                f"    {plain(name, 28):<28} {judged:5.1f} %, corrected {corrected.estimate:5.1f} % "
                f"({corrected.low:.1f} to {corrected.high:.1f})"
            )
