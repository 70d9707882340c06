"""Compare two kept runs, question by question."""

from __future__ import annotations

import argparse
import json

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.across_runs.condition import decide_comparison
from pytest_pbias.analysis.across_runs.pairing import pair_runs
from pytest_pbias.cli.arguments import (
    add_gate_cues_option,
    add_option,
    add_reference_option,
    add_schema_option,
    policy_of,
)
from pytest_pbias.errors import DataError
from pytest_pbias.gate import Verdict
from pytest_pbias.outcomes import OutcomeTable, select_defense
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.outcomes.spool import LONG
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.markdown import comparison_markdown
from pytest_pbias.reporting.terminal import comparison_terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    names = "number, name or tag of a kept run, 'latest', 'latest-of-MODEL', or a file"
    parser.add_argument("old", help=f"the earlier run: {names}")
    parser.add_argument("new", help="the run that is compared with it")
    parser.add_argument("--defense", help="the prompt defense to compare (default: without one)")
    add_option(parser, "store", help="folder of the runs")
    add_reference_option(parser)
    add_option(parser, "joint")
    add_gate_cues_option(parser)
    parser.add_argument(
        "--fail",
        metavar="EXPR",
        help="exit with 1 where this holds beyond noise: 'pb_safety>+1.0, baseline_mmlu<-2'",
    )
    add_option(parser, "gate", help="prove: exit with 1 also where --fail is not ruled out")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="decide --fail although the runs were asked otherwise or lack answers",
    )
    add_option(parser, "json", help="write the comparison as JSON")
    add_schema_option(parser, "comparison")
    add_option(parser, "markdown", help="write it as Markdown")
    add_option(parser, "html", help="write it as a page")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show every cell")
    parser.add_argument("-q", "--quiet", action="count", default=0, help="one line")


def run(options: argparse.Namespace) -> int:
    """Print the comparison; 1 where ``--fail`` holds, 0 otherwise.

    Raises:
        PbiasError: a run is not found, or the two cannot be compared, or cannot be decided (the
            comparison is printed and written all the same).
    """
    old, new = (
        OutcomeTable.read(find_run(name, options.store), leave_out=LONG)
        for name in (options.old, options.new)
    )
    old, new = (select_defense(table, options.defense) for table in (old, new))
    policy = policy_of(new, options)
    pairs = pair_runs(new, old, policy)
    comparison = compare_runs(new, old, policy, pairs=pairs)
    gate, refused = None, None
    if options.fail is not None:
        try:
            gate = decide_comparison(options.fail, comparison, pairs, policy, anyway=options.anyway)
        except DataError as error:
            refused = error
    for line, _ in comparison_terminal(comparison, gate, verbosity=options.verbose - options.quiet):
        print(line)
    if options.json is not None:
        write_text(options.json, json.dumps(comparison_json(comparison, gate), indent=2) + "\n")
    if options.markdown is not None:
        write_text(options.markdown, comparison_markdown(comparison, gate))
    if options.html is not None:
        from pytest_pbias.reporting.html import comparison_page

        write_text(options.html, comparison_page(comparison, gate))
    if refused is not None:
        raise refused
    if gate is None or gate.verdict is Verdict.PASS:
        return 0
    return int(gate.verdict is Verdict.FAIL or options.gate == "prove")
