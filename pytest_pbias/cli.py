"""``pbias``: work on stored runs, without asking a model anything."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import DEFAULT_MARGIN, GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting import render_terminal, summarize, write_json, write_markdown
from pytest_pbias.stats import plan_power


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
    power = commands.add_parser("power", help="how many items a run needs to be decided")
    power.add_argument("--baseline-rate", type=float, required=True, help="in percent")
    power.add_argument("--n-identities", type=int, default=33, help="compared with the baseline")
    power.add_argument("--n-tasks", type=int, default=1)
    power.add_argument("--margin", type=float, default=DEFAULT_MARGIN, help="in points")
    power.add_argument("--effect", type=float, help="difference to be found, in points")
    power.add_argument("--discordance", type=float, help="share of answers that change, 0 to 1")
    power.add_argument("--power", type=float, default=0.8)
    power.add_argument("--alpha", type=float, default=0.05)
    options = parser.parse_args(arguments)
    try:
        return _power(options) if options.command == "power" else _report(options)
    except (PbiasError, ValueError) as error:
        print(f"pbias: {error}", file=sys.stderr)
        return 2


def _power(options: argparse.Namespace) -> int:
    plan = plan_power(
        baseline_rate=options.baseline_rate,
        n_identities=options.n_identities,
        n_tasks=options.n_tasks,
        margin=options.margin,
        effect=options.effect,
        discordance=options.discordance,
        power=options.power,
        alpha=options.alpha,
    )
    print(f"{plan.n_cells} cells, margin {plan.margin:g} points, alpha {plan.alpha:g}")
    print(f"assuming that {100 * plan.discordance:.1f} % of answers change with the identity")
    print(f"{plan.to_pass:,} items a task: a cell without any difference passes")
    print(f"{plan.to_fail:,} items a task: a difference of {plan.effect:g} points fails")
    print(f"each with probability {plan.power:g}")
    return 0


def _report(options: argparse.Namespace) -> int:
    table = OutcomeTable.read(options.table)
    summary = summarize(table, GatePolicy(), seed=options.seed)
    if options.json is not None:
        write_json(summary, options.json)
    write_markdown(summary, options.markdown)
    for line, _ in render_terminal(summary, verbosity=options.verbose):
        print(line)
    return 0
