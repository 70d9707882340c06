"""Options of what a run may cost, in money, tokens and requests a minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pytest_pbias.collecting.collector import unlimited
from pytest_pbias.collecting.cost import Price, find_price, parse_budget, spending_check
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import ModelSpec
from pytest_pbias.plugin.options import read_flag, read_option, read_path
from pytest_pbias.plugin.settings.readers import read_number

_MOST = 1e9
_VLLM_TIMEOUT = 600.0


@dataclass(frozen=True)
class SpendingSettings:
    """What a run may cost; ``check`` is told the tokens used and says why to stop, or None."""

    rpm: float | None
    tpm: float | None
    timeout: float
    price: Price | None
    check: Callable[[int, int], str | None]
    plan_only: bool
    batch: bool
    poll: float


def read_spending(config: pytest.Config, model: ModelSpec) -> SpendingSettings:
    """Read the options.

    Raises:
        ConfigurationError: a value is impossible, or a budget in money has no price.
    """
    price = find_price(model.served_name, read_path(config, "prices"))
    budget = read_option(config, "budget")
    batch = read_flag(config, "batch")
    if batch:
        _check_beside_batch(config)
    return SpendingSettings(
        rpm=read_number(config, "rpm", least=0.0, most=_MOST, above=True),
        tpm=read_number(config, "tpm", least=0.0, most=_MOST, above=True),
        timeout=_timeout(config, model),
        price=price,
        check=unlimited if budget is None else spending_check(parse_budget(budget), price),
        plan_only=read_flag(config, "plan"),
        batch=batch,
        poll=read_number(config, "batch-poll", least=0.0, most=86_400.0, above=True) or 30.0,
    )


def _check_beside_batch(config: pytest.Config) -> None:
    """Refuse what a batch cannot heed.

    Raises:
        ConfigurationError: such an option is given.
    """
    if read_option(config, "budget") is not None:
        raise ConfigurationError(
            "--pbias-budget cannot stop a batch that is submitted; use --pbias-plan and "
            "--pbias-limit with --pbias-batch"
        )
    for name in ("rpm", "tpm", "timeout", "concurrency"):
        if config.getoption(f"pbias_{name}") or config.getini(f"pbias_{name}"):
            raise ConfigurationError(
                f"--pbias-{name}: the provider decides when it asks what is in a batch; leave it "
                "out with --pbias-batch"
            )


def _timeout(config: pytest.Config, model: ModelSpec) -> float:
    """Seconds for a request; a vLLM of our own has many waiting, and asking again is no help."""
    given = config.getoption("pbias_timeout") or config.getini("pbias_timeout")
    if not given and model.kind == "vllm":
        return _VLLM_TIMEOUT
    return read_number(config, "timeout", least=0.0, most=86_400.0, above=True) or 120.0
