"""Report a stored outcome table again, without asking a model anything."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from pytest_pbias.analysis.across_runs.comparison import compare_beside
from pytest_pbias.analysis.summary import summarize
from pytest_pbias.cli.arguments import (
    add_option,
    add_policy_options,
    add_schema_option,
    policy_of,
)
from pytest_pbias.errors import DataError
from pytest_pbias.outcomes import OutcomeTable, stored_texts
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.outcomes.spool import LONG
from pytest_pbias.reporting import render_terminal, write_json, write_markdown
from pytest_pbias.reporting.comparison import compared_json
from pytest_pbias.reporting.html import RunContent, to_html
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.markdown import compared_markdown
from pytest_pbias.reporting.terminal import compared_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", help="number, name or tag of a kept run, 'latest', or a file")
    add_option(parser, "store", help="folder of the runs")
    add_policy_options(parser)
    add_option(parser, "json", help="write the results as JSON")
    add_option(parser, "markdown", help="write the results as Markdown")
    parser.add_argument(
        "--defense-plot", type=Path, metavar="FILE", help="trade-off of prompt defenses, as SVG"
    )
    add_option(parser, "html", help="write the report as one HTML file")
    add_option(parser, "compare", help="an earlier run: say what changed since")
    add_schema_option(parser, "report")
    add_option(parser, "seed", help="seed of the permutation tests")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show every cell")


def run(options: argparse.Namespace) -> int:
    """Print the report and write what was asked for.

    Raises:
        DataError: the table cannot be read.
    """
    path = find_run(options.run, options.store)
    # Answers that are shown are read when it is known which.
    table = OutcomeTable.read(path, leave_out=LONG)
    policy = policy_of(table, options)
    summary = summarize(table, policy, seed=options.seed)
    compared = None
    if options.compare is not None:
        earlier = find_run(options.compare, options.store)
        old = OutcomeTable.read(earlier, leave_out=LONG)
        compared = compare_beside(table, old, policy, name=earlier.stem)
    if options.json is not None:
        write_json(summary, options.json, compared_json(compared) if compared else None)
    if options.markdown is not None:
        write_markdown(summary, options.markdown, compared_markdown(compared) if compared else "")
    if options.html is not None:
        content = RunContent(summary, table, partial(stored_texts, path, "response"), compared)
        write_text(options.html, to_html(content))
    if options.defense_plot is not None:
        from pytest_pbias.reporting.html import defense_svg

        plot = defense_svg(summary.defenses)
        if not plot:
            raise DataError(f"{options.run}: has one prompt defense only: there is nothing to plot")
        write_text(options.defense_plot, plot)
    for line, _ in render_terminal(summary, verbosity=options.verbose):
        print(line)
    for line, _ in compared_lines(compared, options.verbose) if compared else ():
        print(line)
    return 0
