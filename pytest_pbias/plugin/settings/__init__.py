"""Options -> validated settings of a session; areas with many options have their own module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_pbias.collecting.plan import MOST_RUNS
from pytest_pbias.collecting.records import Sampling
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.identities import Placement
from pytest_pbias.mitigation.defenses import Defense
from pytest_pbias.models import ModelSpec, resolve_model
from pytest_pbias.models.vllm import VllmSettings
from pytest_pbias.plugin.options import read_flag, read_option, read_path
from pytest_pbias.plugin.settings.data import DataSettings, read_data
from pytest_pbias.plugin.settings.defending import read_defenses
from pytest_pbias.plugin.settings.gating import read_policy
from pytest_pbias.plugin.settings.judging import JudgeSettings, read_judging
from pytest_pbias.plugin.settings.readers import read_number, read_whole
from pytest_pbias.plugin.settings.runs import RunSettings, read_runs
from pytest_pbias.plugin.settings.scaling import read_ray
from pytest_pbias.plugin.settings.serving import read_vllm
from pytest_pbias.plugin.settings.spending import SpendingSettings, read_spending
from pytest_pbias.tasks import Protocol

# arXiv 2406.11107v3: at most 300 new tokens, top_k 10, default temperature, three runs.
_PAPER_SAMPLING = Sampling(max_tokens=300, temperature=1.0, top_k=10)
_PAPER_RUNS = 3
_LARGEST_SEED = 2**63 - 1 - MOST_RUNS  # each run has a seed of its own, in 64 bits
_VLLM_CONCURRENCY = 256  # sequences that vLLM runs at once by default


@dataclass(frozen=True)
class Settings:
    """Everything the command line and ini files decide, validated."""

    model: ModelSpec
    data_dir: Path | None
    data: DataSettings
    protocol: Protocol
    sampling: Sampling
    runs: int
    seed: int
    limit: int | None
    placement: Placement | None
    defenses: tuple[Defense, ...]
    concurrency: int
    store_dir: Path
    policy: GatePolicy
    json_path: Path | None
    markdown_path: Path | None
    html_path: Path | None
    table_path: Path | None
    kept: RunSettings
    spending: SpendingSettings
    vllm: VllmSettings
    judging: JudgeSettings
    aa: bool
    ray: str | None


def read_settings(config: pytest.Config, default_model: str | None) -> Settings:
    """Read and check every option.

    Raises:
        ConfigurationError: a value is impossible; the message names the option.
    """
    model = _model(config, default_model)
    protocol: Protocol = "paper" if read_option(config, "protocol") == "paper" else "default"
    # An earlier turn is a property of the collected cells, not of how a session is asked.
    turns: tuple[Placement, ...] = ("system", "user")
    placement = next((turn for turn in turns if turn == read_option(config, "placement")), None)
    store_dir = read_path(config, "store") or config.rootpath / ".pbias"
    return Settings(
        model=model,
        data_dir=_data_dir(config, model),
        data=read_data(config),
        protocol=protocol,
        sampling=_sampling(config, protocol),
        runs=read_whole(config, "runs", least=1, most=MOST_RUNS)
        or (_PAPER_RUNS if protocol == "paper" else 1),
        seed=read_whole(config, "seed", least=0, most=_LARGEST_SEED) or 0,
        limit=read_whole(config, "limit", least=1),
        placement=placement,
        defenses=read_defenses(config),
        concurrency=_concurrency(config, model),
        store_dir=store_dir,
        policy=read_policy(config),
        json_path=read_path(config, "json"),
        markdown_path=read_path(config, "markdown"),
        html_path=read_path(config, "html"),
        table_path=read_path(config, "table"),
        kept=read_runs(config, store_dir),
        spending=read_spending(config, model),
        vllm=read_vllm(config),
        judging=read_judging(config, store_dir),
        aa=read_flag(config, "aa"),
        ray=read_ray(config, model),
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
        aliases_file=read_path(config, "aliases"),
        vllm=read_vllm(config),
        require_key=not (read_flag(config, "plan") or config.option.collectonly),
    )


def _data_dir(config: pytest.Config, model: ModelSpec) -> Path | None:
    given = read_path(config, "data-dir")
    if given is not None:
        if not given.is_dir():
            raise ConfigurationError(f"--pbias-data-dir: there is no folder {given}")
        return given
    if model.kind == "embedded":
        from pytest_pbias.models.embedded import data_dir

        return data_dir()
    return None


def _concurrency(config: pytest.Config, model: ModelSpec) -> int:
    """Requests at once; a vLLM of our own schedules what it is given, and may have many."""
    given = config.getoption("pbias_concurrency") or config.getini("pbias_concurrency")
    if not given and model.kind == "vllm":
        return _VLLM_CONCURRENCY
    return read_whole(config, "concurrency", least=1) or 1


def _sampling(config: pytest.Config, protocol: Protocol) -> Sampling:
    usual = _PAPER_SAMPLING if protocol == "paper" else Sampling()
    temperature = read_number(config, "temperature", least=0.0, most=2.0)
    max_tokens = read_whole(config, "max-tokens", least=1)
    return Sampling(
        max_tokens=usual.max_tokens if max_tokens is None else max_tokens,
        temperature=usual.temperature if temperature is None else temperature,
        top_p=usual.top_p,
        top_k=usual.top_k,
    )
