"""``pbias``: work on stored runs, without asking a model anything."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting import render_terminal, summarize, write_json, write_markdown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="pbias", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="report a stored outcome table again")
    report.add_argument("table", type=Path, help="a Parquet file under .pbias/runs")
    report.add_argument("--json", type=Path, help="write the results as JSON")
    report.add_argument("--markdown", type=Path, help="write the results as Markdown")
    report.add_argument("--seed", type=int, default=0, help="seed of the permutation tests")
    report.add_argument("-v", "--verbose", action="count", default=0, help="show every cell")
    options = parser.parse_args(arguments)
    try:
        return _report(options)
    except PbiasError as error:
        print(f"pbias: {error}", file=sys.stderr)
        return 2


def _report(options: argparse.Namespace) -> int:
    table = OutcomeTable.read(options.table)
    summary = summarize(table, GatePolicy(), seed=options.seed)
    if options.json is not None:
        write_json(summary, options.json)
    write_markdown(summary, options.markdown)
    for line, _ in render_terminal(summary, verbosity=options.verbose):
        print(line)
    return 0
