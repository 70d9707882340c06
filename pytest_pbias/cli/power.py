"""Say how many items a run needs to be decided."""

from __future__ import annotations

import argparse

HELP = "how many items a run needs to be decided"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--baseline-rate", type=float, required=True, help="in percent")
    parser.add_argument("--n-identities", type=int, default=33, help="compared with the baseline")
    parser.add_argument("--n-tasks", type=int, default=1)
    parser.add_argument("--margin", type=float, help="in points (default: the gate's)")
    parser.add_argument("--effect", type=float, help="difference to be found, in points")
    parser.add_argument("--discordance", type=float, help="share of answers that change, 0 to 1")
    parser.add_argument("--power", type=float, default=0.8)
    parser.add_argument("--alpha", type=float, default=0.05)


def run(options: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        ValueError: a figure is out of range.
    """
    from pytest_pbias.gate import DEFAULT_MARGIN
    from pytest_pbias.stats import plan_power

    plan = plan_power(
        baseline_rate=options.baseline_rate,
        n_identities=options.n_identities,
        n_tasks=options.n_tasks,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
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
