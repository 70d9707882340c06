"""Pack a run as evidence for those who must rely on it, or verify such a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_pbias.analysis.audit import TaskAudit, answers, evaluate, read_labels
from pytest_pbias.analysis.summary import summarize
from pytest_pbias.cli.arguments import add_option, add_reference_option, policy_of
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.files.writing import save_bytes
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.reporting.evidence import load_cyclonedx, make_bundle, verify_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "run", nargs="?", help="number, name or tag of a kept run, 'latest', or a file"
    )
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT.zip", help="the bundle")
    add_option(parser, "store", help="folder of the runs")
    add_reference_option(parser)
    add_option(parser, "joint")
    add_option(parser, "seed", help="seed of the permutation tests")
    parser.add_argument("--answers", action="store_true", help="include what the model answered")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="the labelled sample of `pbias audit`"
    )
    parser.add_argument(
        "--verify", type=Path, metavar="OUT.zip", help="check a bundle: its hashes and its figures"
    )


def run(options: argparse.Namespace) -> int:
    """Write the bundle, or say what of one was checked.

    Raises:
        PbiasError: the run cannot be read, or the bundle is not what it says.
    """
    if options.verify is not None:
        if options.run is not None:
            raise ConfigurationError("verifying takes the bundle alone, and no run")
        for line in verify_bundle(options.verify):
            print(line)
        return 0
    if options.run is None or options.out is None:
        raise ConfigurationError("give a run and the file to write, or a bundle to verify")
    load_cyclonedx()
    table = OutcomeTable.read(find_run(options.run, options.store))
    summary = summarize(table, policy_of(table, options), seed=options.seed)
    content = make_bundle(
        table,
        summary,
        seed=options.seed,
        audits=_audits(table, options.labels),
        answers=options.answers,
    )
    save_bytes(options.out, content, "the bundle")
    print(f"{options.out}: {len(content):,} bytes, {len(table):,} outcomes")
    return 0


def _audits(table: OutcomeTable, labels: Path | None) -> list[TaskAudit] | None:
    if labels is None:
        return None
    population = answers(table)
    return evaluate(table, population, read_labels(labels, population))
