"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn, get_args

from pytest_pbias.analysis.joint import require_both_axes
from pytest_pbias.cli.plugins import tasks_for
from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.gate import GatePolicy, require_cues
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.references import require_reference
from pytest_pbias.outcomes.regrading import DataOptions, grading_tasks
from pytest_pbias.plugin.options import Option, find_option, split_names
from pytest_pbias.reporting.schemas import SchemaName, schema_text
from pytest_pbias.tasks.base import Axis


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number of at least ``least`` and at most ``most``."""

    def read(text: str) -> int:
        try:
            number = int(text) if text.isascii() else least - 1
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            until = "" if most is None else f" to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}{until}")
        return number

    return read


def above_zero(text: str) -> float:
    """The type of a number above 0."""
    return _number(text, "above 0", lambda number: number > 0)


def from_zero(text: str) -> float:
    """The type of a number of at least 0."""
    return _number(text, "from 0", lambda number: number >= 0)


def _number(text: str, meaning: str, allowed: Callable[[float], bool]) -> float:
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not allowed(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {meaning}")
    return number


def add_schema_option(parser: argparse.ArgumentParser, name: SchemaName) -> None:
    """Add ``--schema``, which like ``--help`` needs no other argument."""
    parser.add_argument(
        "--schema", action=_PrintSchema, const=name, help="print the JSON Schema of --json and exit"
    )


class _PrintSchema(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(schema_text(self.const), end="")
        sys.stdout.flush()
        parser.exit()


def add_option(parser: argparse._ActionsContainer, name: str, **changes: Any) -> None:
    """Add ``--NAME`` as pytest's option of this name is declared; ``changes`` are argparse's."""
    option = find_option(name)
    assert option.cli, name
    if option.flag:
        parser.add_argument(f"--{name}", action="store_true", help=changes.get("help", option.help))
        return
    default = None if option.default is None else option.parse(option.default)
    shown = "" if option.default is None else f" (default: {option.default})"
    settings: dict[str, Any] = {
        "type": _type(option),
        "default": default,
        "help": option.help + shown,
    }
    settings["choices" if option.choices else "metavar"] = option.choices or option.metavar
    if option.repeated:
        settings |= {"action": _Joined}
    parser.add_argument(f"--{name}", **settings | changes)


class _Joined(argparse.Action):
    """The values of an option that may be given again, with commas between."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is None else f"{before},{values}")


def _type(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def add_reference_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--reference``, which without a value is the run's own."""
    add_option(
        parser,
        "reference",
        default=None,
        help="compare identities with: baseline, control (the mean of the placebos), identities "
        "(the mean of all), or one of them by name (default: as the run did)",
    )


def add_gate_cues_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--gate-cues``, which without a value are the run's own."""
    declared = find_option("gate-cues").help.replace("default: all", "default: as the run did")
    add_option(parser, "gate-cues", help=declared)


def gate_cues(options: argparse.Namespace, policy: GatePolicy) -> tuple[str, ...]:
    """The cues that were given, else the policy's."""
    return split_names(vars(options).get("gate_cues")) or policy.cues


_AXES: tuple[Axis, ...] = get_args(Axis)


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add what of a policy can be said anew; what is not given is the run's own."""
    add_reference_option(parser)
    add_option(parser, "joint")
    add_gate_cues_option(parser)
    parser.add_argument(
        "--margin",
        type=_type(find_option("margin-utility")),
        metavar="POINTS",
        help="tolerated change of every rate, in points",
    )
    for axis in _AXES:
        add_option(parser, f"margin-{axis}", default=None)
        add_option(parser, f"tolerance-{axis}", default=None)
    for name in ("alpha", "cells", "task-margins"):
        add_option(parser, name, default=None)


def policy_of(table: OutcomeTable, options: argparse.Namespace) -> GatePolicy:
    """The policy that a run was decided by, with what was given in place of its own.

    Raises:
        ConfigurationError: the reference names nobody whom the run asked, or a task or cue was not
            asked.
    """
    policy, given = GatePolicy.of_run(table.info), vars(options)
    if joint := split_names(given.get("joint")):
        _require_asked(joint, table, "joint")
        columns = ["task", "axis"]
        found = table.arrow.select(columns).group_by(columns).aggregate([]).to_pylist()
        require_both_axes({row["task"]: row["axis"] for row in found if row["task"] in joint})
        policy = replace(policy, joint=joint)
    if options.reference is not None:
        require_reference(options.reference, table.unique("identity"))
        policy = replace(policy, reference=options.reference)
    if (cues := gate_cues(options, policy)) != policy.cues:
        require_cues(cues, table.cues())
        policy = replace(policy, cues=cues)
    if "task_margins" not in given:  # a command with the reference alone
        return policy
    margins = given["task_margins"] or {}
    _require_asked(margins, table, "task-margins")
    return replace(
        policy,
        margin={
            axis: given[f"margin_{axis}"] or given["margin"] or usual
            for axis, usual in policy.margin.items()
        },
        task_margin={**policy.task_margin, **margins},
        pb_tolerance={
            axis: given[f"tolerance_{axis}"] or usual for axis, usual in policy.pb_tolerance.items()
        },
        alpha=given["alpha"] or policy.alpha,
        cells=given["cells"] or policy.cells,
    )


def _require_asked(names: Iterable[str], table: OutcomeTable, setting: str) -> None:
    for name in names:
        if name not in table.tasks():
            hint = near_matches(name, table.tasks())
            raise ConfigurationError(f"the run did not ask {quoted(name)}: {hint}", setting=setting)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data is and how it was asked."""
    add_option(parser, "data-dir", help="folder of the data sets that the run asked")
    add_option(parser, "tasks")
    add_option(parser, "shots", help="solved examples, if not noted")
    parser.add_argument(
        "--data-seed", type=whole(0), metavar="N", help="the run's seed, if not noted"
    )
    add_option(parser, "offline")


def data_options(options: argparse.Namespace, table: OutcomeTable) -> DataOptions:
    """What was given, and the tasks that there are for the run's.

    Raises:
        ConfigurationError: a task of this folder is not as it must be.
    """
    known = tasks_for(grading_tasks(table), options.tasks)
    return DataOptions(options.data_dir, options.shots, options.data_seed, options.offline, known)


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which judges, and whom they ask."""
    add_option(
        parser,
        "judge",
        default=None,
        help="judges, the gating one first (default: those of the run)",
    )
    endpoint = ("judge-model", "judge-base-url", "judge-api-key-env", "judge-header")
    asked = ("judge-concurrency", "judge-max-tokens", "judge-mask", "provider-refusals")
    for name in (*endpoint, *asked, "aliases", "prices"):
        add_option(parser, name)
