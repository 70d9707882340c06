"""Report a stored outcome table again, without asking a model anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_pbias.cli.schema_option import add_schema_option

HELP = "report a stored outcome table again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", help="number, name or tag of a kept run, 'latest', or a file")
    parser.add_argument("--store", type=Path, default=Path(".pbias"), help="folder of the runs")
    parser.add_argument("--json", type=Path, help="write the results as JSON")
    parser.add_argument("--markdown", type=Path, help="write the results as Markdown")
    parser.add_argument(
        "--defense-plot", type=Path, metavar="FILE", help="trade-off of prompt defences, as SVG"
    )
    parser.add_argument("--html", type=Path, help="write the report as one HTML file")
    add_schema_option(parser, "report")
    parser.add_argument("--seed", type=int, default=0, help="seed of the permutation tests")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show every cell")


def run(options: argparse.Namespace) -> int:
    """Print the report and write what was asked for.

    Raises:
        DataError: the table cannot be read.
    """
    from pytest_pbias.errors import DataError
    from pytest_pbias.gate import GatePolicy
    from pytest_pbias.outcomes import OutcomeTable
    from pytest_pbias.reporting import render_terminal, summarize, write_json, write_markdown
    from pytest_pbias.reporting.defense_plot import defense_plot
    from pytest_pbias.reporting.json_report import write_text
    from pytest_pbias.runs import find_run

    table = OutcomeTable.read(find_run(options.run, options.store))
    policy = GatePolicy.from_plain(table.info.get("policy", {}))
    summary = summarize(table, policy, seed=options.seed)
    if options.json is not None:
        write_json(summary, options.json)
    if options.markdown is not None:
        write_markdown(summary, options.markdown)
    if options.html is not None:
        from pytest_pbias.reporting.html import to_html

        write_text(options.html, to_html(summary, table))
    if options.defense_plot is not None:
        plot = defense_plot(summary.defenses)
        if not plot:
            raise DataError(f"{options.run}: has one prompt defence only: there is nothing to plot")
        write_text(options.defense_plot, plot)
    for line, _ in render_terminal(summary, verbosity=options.verbose):
        print(line)
    return 0
