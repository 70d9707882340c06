"""Options -> the validated settings of a session."""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_pbias.analysis.condition import parse_expression
from pytest_pbias.collecting.collector import unlimited
from pytest_pbias.collecting.cost import Price, find_price, parse_budget, spending_check
from pytest_pbias.collecting.plan import MOST_REPEATS
from pytest_pbias.collecting.records import Sampling
from pytest_pbias.errors import ConfigurationError, quoted
from pytest_pbias.gate import GatePolicy
from pytest_pbias.grading.judges import DEFAULT_JUDGE, JudgeModel
from pytest_pbias.models import ModelSpec, resolve_model
from pytest_pbias.models.vllm import VllmSettings
from pytest_pbias.outcomes.saved_runs import LATEST, LATEST_OF, find_run, list_runs
from pytest_pbias.plugin.options import read_flag, read_option, read_path
from pytest_pbias.prompts import Defense, Placement, resolve_defenses
from pytest_pbias.tasks import TASKS, PromptProtocol, resolve_task

LARGEST_WHOLE = 2**31 - 1

"""What the outcome table's columns of whole numbers hold."""


def read_int(
    config: pytest.Config, name: str, *, least: int, most: int = LARGEST_WHOLE
) -> int | None:
    """A whole number in [least, most]; None where the option is not given."""
    value = read_option(config, name)
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise ConfigurationError(
            f"--pbias-{name}: {quoted(value)} is not a whole number of at least {least} "
            f"and at most {most}"
        )
    return number


def read_number(
    config: pytest.Config, name: str, *, least: float, most: float, above: bool = False
) -> float | None:
    """A number in [least, most]; ``above`` leaves out ``least`` itself."""
    value = read_option(config, name)
    return (
        None if value is None else parse_number(f"--pbias-{name}", value, least, most, above=above)
    )


def parse_number(where: str, value: str, least: float, most: float, *, above: bool) -> float:
    """Read ``value`` as a number in [least, most]; ``where`` names it in the error."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (least <= number <= most) or (above and number == least):
        bound = f"above {least:g}" if above else f"at least {least:g}"
        raise ConfigurationError(f"{where}: {value!r} is not a number {bound} and at most {most:g}")
    return number


@dataclass(frozen=True)
class DataSettings:
    """``splits`` by task name, the number of examples, and whether the network is left alone."""

    splits: Mapping[str, str]
    shots: int
    offline: bool


def read_data(config: pytest.Config) -> DataSettings:
    """Read and check the options about data.

    Raises:
        ConfigurationError: a value is impossible; the message names the option.
    """
    return DataSettings(
        splits=_splits(read_option(config, "split") or ""),
        shots=read_int(config, "shots", least=0) or 0,
        offline=read_flag(config, "offline"),
    )


def _splits(pairs: str) -> dict[str, str]:
    splits: dict[str, str] = {}
    for pair in pairs.replace(",", " ").split():
        name, equals, split = pair.partition("=")
        if not equals or not split:
            raise ConfigurationError(f"--pbias-split: {pair!r} is not of the form TASK=SPLIT")
        task = resolve_task(name)
        if split not in task.splits:
            raise ConfigurationError(
                f"--pbias-split: task {name!r} has no split {split!r}: choose from "
                f"{', '.join(task.splits)}"
            )
        splits[name] = split
    return splits


def read_defenses(config: pytest.Config) -> tuple[Defense, ...]:
    """What ``--pbias-defense`` asks for; files are relative to where the option was given.

    Raises:
        ConfigurationError: a name is unknown, or a file is malformed.
    """
    wanted = read_option(config, "defense") or "none"
    given_here = config.getoption("pbias_defense") is not None
    base = config.invocation_params.dir if given_here else config.rootpath
    return resolve_defenses(wanted, lambda name: base / Path(name).expanduser())


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


@dataclass(frozen=True)
class JudgeSettings:
    """``wanted`` is the list of judges as given; ``model`` is whom judges by a model ask."""

    wanted: str
    model: JudgeModel
    mask: bool


def read_judging(config: pytest.Config, store_dir: Path) -> JudgeSettings:
    """Read the options.

    Raises:
        ConfigurationError: a value is impossible.
    """
    return JudgeSettings(
        wanted=read_option(config, "judge") or DEFAULT_JUDGE,
        model=JudgeModel(
            store_dir=store_dir,
            model=read_option(config, "judge-model"),
            base_url=read_option(config, "judge-base-url"),
            key_env=read_option(config, "judge-api-key-env"),
            aliases=read_path(config, "aliases"),
            concurrency=read_int(config, "judge-concurrency", least=1) or 32,
            timeout=read_number(config, "timeout", least=0.0, most=86_400.0, above=True) or 120.0,
            prices=read_path(config, "prices"),
            offline=read_flag(config, "offline"),
        ),
        mask=read_option(config, "judge-mask") != "off",
    )


_MOST_TAG = 60


@dataclass(frozen=True)
class RunSettings:
    """How this run is kept, and what it is compared with.

    ``compare`` is the name given, ``earlier`` the file it stands for: None where no run is kept
    yet and the newest was asked for. ``fail`` is the expression to judge by, or None.
    """

    tag: str = ""
    compare: str | None = None
    earlier: Path | None = None
    fail: str | None = None
    anyway: bool = False


def read_runs(config: pytest.Config, store_dir: Path) -> RunSettings:
    """Read the options of kept runs, and find the one to compare with.

    Raises:
        ConfigurationError: a value is impossible, or there is no such run.
    """
    tag = read_option(config, "tag") or ""
    reserved = tag.isdecimal() or tag == LATEST or tag.startswith(LATEST_OF)
    if reserved or len(tag) > _MOST_TAG or not tag.isprintable():
        raise ConfigurationError(
            f"--pbias-tag: {tag!r} cannot be a tag; give one line of at most {_MOST_TAG} "
            "characters that is neither a number nor 'latest'"
        )
    compare, fail = read_option(config, "compare"), read_option(config, "compare-fail")
    if fail is not None:
        if compare is None:
            raise ConfigurationError("--pbias-compare-fail needs --pbias-compare=RUN")
        try:
            parse_expression(fail, SCOPES)
        except ConfigurationError as error:
            raise ConfigurationError(f"--pbias-compare-fail: {error}") from None
    return RunSettings(
        tag=tag,
        compare=compare,
        earlier=None if compare is None else _earlier(compare, store_dir),
        fail=fail,
        anyway=read_flag(config, "compare-anyway"),
    )


SCOPES = ("utility", "safety", *TASKS)


def _earlier(name: str, store_dir: Path) -> Path | None:
    """The run's file. The first run of all has nothing to be compared with, which is no mistake."""
    model = name.removeprefix(LATEST_OF) if name.startswith(LATEST_OF) else None
    newest = name == LATEST or bool(model)
    if newest and not any(model in (None, run.model) for run in list_runs(store_dir)):
        return None
    try:
        return find_run(name, store_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"--pbias-compare: {error}") from None


_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")


def read_ray(config: pytest.Config, model: ModelSpec) -> str | None:
    """The address of the cluster, or None where this machine asks.

    Raises:
        ConfigurationError: Ray is not installed, or another option does not go with it.
    """
    address = read_option(config, "ray")
    if address is None:
        return None
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("--pbias-ray needs Ray: pip install 'pytest-pbias[ray]'")
    if address not in ("auto", "local") and not _ADDRESS.fullmatch(address):
        raise ConfigurationError(
            f"--pbias-ray: {address!r} is not an address: give HOST:PORT, ray://HOST:PORT, auto, "
            "or local"
        )
    if model.base_url is None:
        raise ConfigurationError(
            "--pbias-ray: a server that a run starts answers on its own machine only; serve "
            f"{model.name!r} on the cluster and give its address with --pbias-base-url"
        )
    for name in ("rpm", "tpm"):
        if read_option(config, name) is not None:
            raise ConfigurationError(
                f"--pbias-{name} holds for one asking process: leave it out with --pbias-ray, and "
                "set --pbias-concurrency, which the nodes share"
            )
    if read_flag(config, "batch"):
        raise ConfigurationError("--pbias-batch asks nothing that --pbias-ray could share out")
    return address


def read_vllm(config: pytest.Config) -> VllmSettings:
    """Read the options.

    Raises:
        ConfigurationError: the arguments are not a command line.
    """
    text = read_option(config, "vllm-args") or ""
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigurationError(f"--pbias-vllm-args: {text!r}: {error}") from None
    return VllmSettings(
        read_option(config, "vllm-command"),
        arguments,
        lora=read_path(config, "lora"),
        deterministic=read_flag(config, "deterministic"),
    )


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


# arXiv 2406.11107v3: at most 300 new tokens, top_k 10, default temperature, three runs.

_PAPER_SAMPLING = Sampling(max_tokens=300, temperature=1.0, top_k=10)

_PAPER_REPEATS = 3

_LARGEST_SEED = 2**63 - 1 - MOST_REPEATS  # each repeat has a seed of its own, in 64 bits

_VLLM_CONCURRENCY = 256  # sequences that vLLM runs at once by default


@dataclass(frozen=True)
class Settings:
    """Everything the command line and ini files decide, validated."""

    model: ModelSpec
    data_dir: Path | None
    data: DataSettings
    protocol: PromptProtocol
    sampling: Sampling
    repeats: int
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
    protocol: PromptProtocol = "paper" if read_option(config, "protocol") == "paper" else "default"
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
        repeats=read_int(config, "repeats", least=1, most=MOST_REPEATS)
        or (_PAPER_REPEATS if protocol == "paper" else 1),
        seed=read_int(config, "seed", least=0, most=_LARGEST_SEED) or 0,
        limit=read_int(config, "limit", least=1),
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
    return read_int(config, "concurrency", least=1) or 1


def _sampling(config: pytest.Config, protocol: PromptProtocol) -> Sampling:
    usual = _PAPER_SAMPLING if protocol == "paper" else Sampling()
    temperature = read_number(config, "temperature", least=0.0, most=2.0)
    max_tokens = read_int(config, "max-tokens", least=1)
    return Sampling(
        max_tokens=usual.max_tokens if max_tokens is None else max_tokens,
        temperature=usual.temperature if temperature is None else temperature,
        top_p=usual.top_p,
        top_k=usual.top_k,
    )
