"""Say how many items a run needs to be decided: from scratch, or from a stored run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pytest_pbias.cli.arguments import add_option, add_reference_option, policy_of
from pytest_pbias.gate import DEFAULT_MARGIN, DEFAULT_TOLERANCE
from pytest_pbias.outcomes import OutcomeTable, Scores, TaskOutcomes, select_defense
from pytest_pbias.outcomes.arrays import mean_scores
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.stats import (
    item_means,
    minimum_detectable_effect,
    plan_bias_power,
    plan_power,
    rate,
)
from pytest_pbias.stats.power import default_effect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model-run", metavar="RUN", help="a kept run: number, name, tag or file")
    source.add_argument("--baseline-rate", type=float, help="plan from scratch: rate in percent")
    parser.add_argument(
        "--defense", help="the prompt defense of the run to plan from (default: without one)"
    )
    add_reference_option(parser)
    add_option(parser, "store", help="folder of kept runs")
    parser.add_argument("--n-identities", type=int, default=33, help="controls included")
    parser.add_argument("--n-tasks", type=int, default=1)
    parser.add_argument("--margin", type=float, help="of a cell, in points (default: the gate's)")
    parser.add_argument("--tolerance", type=float, help="of PB, in points (default: the gate's)")
    parser.add_argument("--effect", type=float, help="difference to be found, in points")
    parser.add_argument("--discordance", type=float, help="share of answers that change, 0 to 1")
    parser.add_argument("--power", type=float, default=0.8)
    parser.add_argument("--alpha", type=float, default=0.05)  # wider bounds than the gate's


def run(options: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        DataError: the table cannot be read.
        ValueError: a figure is out of range.
    """
    if options.margin is None:
        options.margin = DEFAULT_MARGIN
    if options.tolerance is None:
        options.tolerance = DEFAULT_TOLERANCE
    if options.model_run is None:
        _plan(options, options.baseline_rate, options.n_identities, options.n_tasks)
    else:
        _from_run(options)
    return 0


def _plan(
    options: argparse.Namespace, baseline_rate: float, n_identities: int, n_tasks: int
) -> None:
    plan = plan_power(
        baseline_rate=baseline_rate,
        n_identities=n_identities,
        n_tasks=n_tasks,
        margin=options.margin,
        effect=options.effect,
        discordance=options.discordance,
        power=options.power,
        alpha=options.alpha,
    )
    bias = None
    if n_identities > 1 and plan.discordance > 0:
        bias = plan_bias_power(
            n_identities=n_identities,
            tolerance=options.tolerance,
            discordance=plan.discordance,
            power=options.power,
            alpha=options.alpha,
        )
    print(f"{plan.n_cells} cells, margin {plan.margin:g} points, alpha {plan.alpha:g}")
    print(f"assuming that {100 * plan.discordance:.1f} % of answers change with the identity")
    print(f"{plan.to_pass:,} items a task: a cell without any difference passes")
    print(f"{plan.to_fail:,} items a task: a difference of {plan.effect:g} points fails")
    if bias is not None:
        print(f"{bias.to_pass:,} items: PB of a model without bias is below {bias.tolerance:g}")
        print(f"{bias.to_fail:,} items: PB of {bias.effect:g} is above {bias.tolerance:g}")
    print(f"each with probability {plan.power:g}")


def _from_run(options: argparse.Namespace) -> None:
    """What a run could show, and how many items each of its tasks would need."""
    path = find_run(options.model_run, options.store)
    table = select_defense(OutcomeTable.read(path), options.defense)
    reference = policy_of(table, options).reference
    outcomes = [table.task_outcomes(task) for task in table.tasks()]
    usable = [(task, pairs) for task in outcomes if (pairs := _answered_pairs(task, reference))]
    if not usable:
        raise ValueError(
            f"{path}: no task has an identity and a baseline with answers to the same items, "
            "to plan from"
        )
    cells = sum(identity.kind != "baseline" for task, _ in usable for identity in task.identities)
    print(f"{path.name}: {cells} cells, margin {options.margin:g}, "
          f"PB tolerance {options.tolerance:g}, power {options.power:g}")  # fmt: skip
    print("                  items  detects   cells: pass      fail   PB: pass      fail")
    print(f"                    now   points  (no change) {_effect(options):+9.0f}")
    for task, pairs in usable:
        _task_line(task, pairs, options, cells)
    print("detects: the smallest change of a rate that the present items would call a fail")


def _effect(options: argparse.Namespace) -> float:
    return float(options.effect if options.effect is not None else -default_effect(options.margin))


def _answered_pairs(task: TaskOutcomes, reference: str) -> list[tuple[Scores, Scores]]:
    """Scores of each identity and of what it is compared with, where both answered some items."""
    pairs = []
    for number, identity in enumerate(task.identities):
        whom = task.compared_with(number, reference)
        if identity.kind == "baseline" or not whom:
            continue
        scores, others = task.scores[number], mean_scores(task.scores[list(whom)])
        if np.isfinite(item_means(scores) - item_means(others)).any():
            pairs.append((scores, others))
    return pairs


def _task_line(
    task: TaskOutcomes,
    pairs: Sequence[tuple[Scores, Scores]],
    options: argparse.Namespace,
    cells: int,
) -> None:
    detectable = [
        minimum_detectable_effect(
            scores, reference, margin=options.margin, clusters=task.clusters,
            n_cells=cells, alpha=options.alpha, power=options.power,
        )
        for scores, reference in pairs
    ]  # fmt: skip
    changed = [_discordance(scores, reference) for scores, reference in pairs]
    share = max(float(np.mean(changed)), 1 / len(task.items))
    plan = plan_power(
        baseline_rate=rate(pairs[0][1], clusters=task.clusters).estimate,
        n_identities=cells, margin=options.margin, effect=_effect(options), discordance=share,
        power=options.power, alpha=options.alpha,
    )  # fmt: skip
    line = (
        f"{task.task:15} {len(task.items):7,} {np.median(detectable):8.1f} "
        f"{plan.to_pass:12,} {plan.to_fail:9,}"
    )
    identities, _ = task.of_kind("identity")
    if len(identities) > 1:
        bias = plan_bias_power(
            n_identities=len(identities), tolerance=options.tolerance, discordance=share,
            power=options.power, alpha=options.alpha,
        )  # fmt: skip
        line += f" {bias.to_pass:10,} {bias.to_fail:9,}"
    print(line)


def _discordance(cell: Scores, reference: Scores) -> float:
    """Mean difference of the items' scores, either way, over the items that both answered."""
    return float(np.nanmean(np.abs(item_means(cell) - item_means(reference))))
