"""Options of the gate."""

from __future__ import annotations

import pytest

from pytest_pbias.gate import GatePolicy
from pytest_pbias.plugin.options import read_option
from pytest_pbias.plugin.settings.readers import parse_number, read_number
from pytest_pbias.tasks import resolve_task


def read_policy(config: pytest.Config) -> GatePolicy:
    """The gate's margins, tolerances, level and mode.

    Raises:
        ConfigurationError: a value is out of range, or a task is unknown.
    """
    usual = GatePolicy()
    margin, tolerance = dict(usual.margin), dict(usual.pb_tolerance)
    for axis in ("utility", "safety"):
        given = read_number(config, f"margin-{axis}", least=0.0, most=100.0, above=True)
        margin[axis] = margin[axis] if given is None else given
        given = read_number(config, f"tolerance-{axis}", least=0.0, most=100.0, above=True)
        tolerance[axis] = tolerance[axis] if given is None else given
    alpha = read_number(config, "alpha", least=0.0, most=0.5, above=True)
    return GatePolicy(
        margin=margin,
        task_margin=_task_margins(config),
        pb_tolerance=tolerance,
        alpha=usual.alpha if alpha is None else alpha,
        mode="prove" if read_option(config, "gate") == "prove" else "detect",
    )


def _task_margins(config: pytest.Config) -> dict[str, float]:
    margins: dict[str, float] = {}
    for pair in (read_option(config, "task-margins") or "").replace(",", " ").split():
        name, _, value = pair.partition("=")
        resolve_task(name)
        margins[name] = parse_number(f"--pbias-task-margins {name}", value, 0.0, 100.0, above=True)
    return margins
