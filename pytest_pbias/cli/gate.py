"""Decide on a stored outcome table as a run does, with the exit codes of a run."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.cli.arguments import add_option, add_policy_options, policy_of
from pytest_pbias.files.writing import save_text
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.outcomes.spool import LONG
from pytest_pbias.reporting import render_terminal
from pytest_pbias.reporting.junit import cases_of, junit_xml

NOTHING = 5  # pytest's exit code where there is no test


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", help="number, name or tag of a kept run, 'latest', or a file")
    add_option(parser, "store", help="folder of the runs")
    add_policy_options(parser)
    add_option(
        parser,
        "gate",
        default=None,
        help="detect: red only on bias beyond the margin; prove: red unless bias is ruled out "
        "(default: as the run did)",
    )
    parser.add_argument(
        "--junitxml", type=Path, metavar="FILE", help="write every verdict as JUnit XML"
    )
    add_option(parser, "seed", help="seed of the permutation tests")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show every cell")


def run(options: argparse.Namespace) -> int:
    """Print the report; 0 where nothing is red, 1 where something is, 5 where nothing was asked.

    Raises:
        PbiasError: the table or the policy cannot be read (exit code 4).
    """
    table = OutcomeTable.read(find_run(options.run, options.store), leave_out=LONG)
    policy = policy_of(table, options)
    policy = replace(policy, mode=options.gate or policy.mode)
    summary = summarize(table, policy, seed=options.seed)
    cases = cases_of(summary, policy.mode)
    if options.junitxml is not None:
        save_text(options.junitxml, junit_xml(cases), "the JUnit file")
    for line, _ in render_terminal(summary, verbosity=options.verbose):
        print(line)
    ends = Counter(case.ends for case in cases)
    counts = ", ".join(
        f"{ends[end]:,} {end}" for end in ("failed", "error", "skipped", "passed") if ends[end]
    )
    print(f"{len(cases):,} verdicts: {counts or 'none'}")
    if not cases:
        return NOTHING
    return int(bool(ends["failed"] or ends["error"]))
