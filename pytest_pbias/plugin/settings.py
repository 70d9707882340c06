"""Options -> validated settings of a session."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_pbias.collecting.records import Sampling
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.identities import PLACEMENTS, Placement
from pytest_pbias.models import ModelSpec, resolve_model
from pytest_pbias.plugin.options import read_option
from pytest_pbias.tasks import Protocol, resolve_task

# arXiv 2406.11107v3: at most 300 new tokens, top_k 10, default temperature, three runs.
_PAPER_SAMPLING = Sampling(max_tokens=300, temperature=1.0, top_k=10)
_PAPER_RUNS = 3


@dataclass(frozen=True)
class Settings:
    """Everything the command line and ini files decide, validated."""

    model: ModelSpec
    data_dir: Path | None
    protocol: Protocol
    sampling: Sampling
    runs: int
    seed: int
    limit: int | None
    placement: Placement | None
    concurrency: int
    store_dir: Path
    policy: GatePolicy
    json_path: Path | None
    markdown_path: Path | None
    table_path: Path | None


def read_settings(config: pytest.Config, default_model: str | None) -> Settings:
    """Read and check every option.

    Raises:
        ConfigurationError: a value is impossible; the message names the option.
    """
    model = _model(config, default_model)
    protocol: Protocol = "paper" if read_option(config, "protocol") == "paper" else "default"
    placement = next((p for p in PLACEMENTS if p == read_option(config, "placement")), None)
    return Settings(
        model=model,
        data_dir=_data_dir(config, model),
        protocol=protocol,
        sampling=_sampling(config, protocol),
        runs=_whole(config, "runs", least=1) or (_PAPER_RUNS if protocol == "paper" else 1),
        seed=_whole(config, "seed", least=0) or 0,
        limit=_whole(config, "limit", least=1),
        placement=placement,
        concurrency=_whole(config, "concurrency", least=1) or 1,
        store_dir=_path(config, "store") or config.rootpath / ".pbias",
        policy=_policy(config),
        json_path=_path(config, "json"),
        markdown_path=_path(config, "markdown"),
        table_path=_path(config, "table"),
    )


def _model(config: pytest.Config, default_model: str | None) -> ModelSpec:
    name = read_option(config, "model") or default_model
    if name is None:
        raise ConfigurationError(
            "no model to measure: give --pbias-model=NAME (an alias such as llama3 or gpt-4o, "
            "a name served at --pbias-base-url, or 'embedded'), or set pbias_model in the ini file"
        )
    return resolve_model(
        name,
        base_url=read_option(config, "base-url"),
        api_key_env=read_option(config, "api-key-env"),
        aliases_file=_path(config, "aliases"),
    )


def _data_dir(config: pytest.Config, model: ModelSpec) -> Path | None:
    given = _path(config, "data-dir")
    if given is not None:
        if not given.is_dir():
            raise ConfigurationError(f"--pbias-data-dir: there is no folder {given}")
        return given
    if model.kind == "embedded":
        from pytest_pbias.models.embedded import data_dir

        return data_dir()
    return None


def _path(config: pytest.Config, name: str) -> Path | None:
    """A path option; relative to the invocation folder, or to the ini file that gives it."""
    value = read_option(config, name)
    if value is None:
        return None
    from_command_line = config.getoption("pbias_" + name.replace("-", "_")) is not None
    base = config.invocation_params.dir if from_command_line else config.rootpath
    return (base / Path(value).expanduser()).resolve()


def _sampling(config: pytest.Config, protocol: Protocol) -> Sampling:
    usual = _PAPER_SAMPLING if protocol == "paper" else Sampling()
    temperature = _number(config, "temperature", least=0.0, most=2.0)
    max_tokens = _whole(config, "max-tokens", least=1)
    return Sampling(
        max_tokens=usual.max_tokens if max_tokens is None else max_tokens,
        temperature=usual.temperature if temperature is None else temperature,
        top_p=usual.top_p,
        top_k=usual.top_k,
    )


def _policy(config: pytest.Config) -> GatePolicy:
    usual = GatePolicy()
    margin, tolerance = dict(usual.margin), dict(usual.pb_tolerance)
    for axis in ("utility", "safety"):
        given = _number(config, f"margin-{axis}", least=0.0, most=100.0, above=True)
        margin[axis] = margin[axis] if given is None else given
        given = _number(config, f"tolerance-{axis}", least=0.0, most=100.0, above=True)
        tolerance[axis] = tolerance[axis] if given is None else given
    alpha = _number(config, "alpha", least=0.0, most=0.5, above=True)
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
        margins[name] = _parse(f"--pbias-task-margins {name}", value, 0.0, 100.0, above=True)
    return margins


def _whole(config: pytest.Config, name: str, *, least: int) -> int | None:
    value = read_option(config, name)
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        number = None
    if number is None or number < least:
        raise ConfigurationError(
            f"--pbias-{name}: {value!r} is not a whole number of at least {least}"
        )
    return number


def _number(
    config: pytest.Config, name: str, *, least: float, most: float, above: bool = False
) -> float | None:
    value = read_option(config, name)
    return None if value is None else _parse(f"--pbias-{name}", value, least, most, above=above)


def _parse(where: str, value: str, least: float, most: float, *, above: bool) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (least <= number <= most) or (above and number == least):
        bound = f"above {least:g}" if above else f"at least {least:g}"
        raise ConfigurationError(f"{where}: {value!r} is not a number {bound} and at most {most:g}")
    return number
