"""Options -> the validated settings of a session."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_pbias.analysis.across_runs.condition import parse_expression
from pytest_pbias.analysis.joint import require_both_axes
from pytest_pbias.collecting.collector import unlimited
from pytest_pbias.collecting.cost import Budget, Price, find_price, parse_budget, spending_check
from pytest_pbias.errors import ConfigurationError, DataError, is_unicode, quoted
from pytest_pbias.gate import GatePolicy
from pytest_pbias.grading.judges import JudgeModel
from pytest_pbias.grading.standing import ProviderRefusals
from pytest_pbias.models import ModelSpec, resolve_model
from pytest_pbias.models.application import Application, find_application, raised
from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.spec import parse_headers
from pytest_pbias.models.vllm import VllmSettings
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import LATEST, LATEST_OF, find_run, list_runs
from pytest_pbias.plugin.offered import session_tasks
from pytest_pbias.plugin.options import (
    OPTIONS,
    is_given,
    is_given_here,
    only_lists,
    option_folder,
    read_options,
    split_names,
)
from pytest_pbias.plugin.xdist import run_name
from pytest_pbias.prompts import Cue, Defense, Placement, resolve_cues, resolve_defenses
from pytest_pbias.reporting.trackers import require_trackers
from pytest_pbias.tasks import PromptProtocol, Task, resolve_task

# arXiv 2406.11107v3: at most 300 new tokens, top_k 10, default temperature, three repeats.
_PAPER_SAMPLING = Sampling(max_tokens=300, temperature=1.0, top_k=10)
_PAPER_REPEATS = 3
# A vLLM of our own schedules what it is given: it may have many requests at once, as many as it
# runs by default, and they wait long; asking again is no help.
_VLLM_CONCURRENCY = 256
_VLLM_TIMEOUT = 600.0
_MOST_TAG = 60
_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")


@dataclass(frozen=True)
class JudgeSettings:
    """``wanted`` is the list of judges as given; ``model`` is whom judges by a model ask.

    ``provider_refusals``: what becomes of answers that the provider's filter stopped.
    """

    wanted: str
    model: JudgeModel
    mask: bool
    provider_refusals: ProviderRefusals


@dataclass(frozen=True)
class RunSettings:
    """How this run is kept, and what it is compared with.

    ``compare`` is the name given, ``earlier`` the file it stands for: None where no run is kept
    yet and the newest was asked for. ``fail`` is the expression to decide by, or None;
    ``drift`` the one for the kept runs ``of_model``, newest first, of which as many count as make
    ``drift_runs`` with this one.
    """

    tag: str = ""
    compare: str | None = None
    earlier: Path | None = None
    fail: str | None = None
    anyway: bool = False
    drift: str | None = None
    of_model: tuple[Path, ...] = ()
    drift_runs: int = 10


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


@dataclass(frozen=True)
class Settings:
    """Everything the command line and ini files decide, validated.

    ``tasks`` are those that there are, the user's own among them, by name, as are ``splits``.
    ``offline`` leaves the network alone for data; ``room_to_think``: models that think first may
    have more tokens than ``sampling`` says. ``model`` describes the ``application`` where one is
    measured.
    """

    model: ModelSpec
    application: Application | None
    tasks: Mapping[str, Task]
    data_dir: Path | None
    splits: Mapping[str, str]
    shots: int
    offline: bool
    protocol: PromptProtocol
    sampling: Sampling
    room_to_think: bool
    repeats: int
    seed: int
    limit: int | None
    placement: Placement | None
    cues: tuple[Cue, ...]
    defenses: tuple[Defense, ...]
    concurrency: int
    store_dir: Path
    policy: GatePolicy
    stop: Literal["early", "never"]
    json_path: Path | None
    markdown_path: Path | None
    html_path: Path | None
    table_path: Path | None
    trackers: tuple[str, ...]
    kept: RunSettings
    spending: SpendingSettings
    vllm: VllmSettings
    judging: JudgeSettings
    aa: bool
    ray: str | None


def read_settings(config: pytest.Config, default_model: str | None) -> Settings:
    """Read and check every option.

    Raises:
        ConfigurationError: a value is impossible; the error names the option.
    """
    values = read_options(config)
    if not is_unicode(str(values["store"])):
        raise ConfigurationError(
            f"the folder {str(values['store'])!a} has a name that is not UTF-8, and tables "
            "cannot be written in it: give another",
            setting="store",
        )
    tasks = session_tasks(config)
    _check_together(values, lambda name: is_given(config, name))
    vllm = VllmSettings(
        values["vllm-command"],
        _vllm_arguments(values["vllm-args"] or ""),
        lora=values["lora"],
        deterministic=values["deterministic"],
    )
    asks = not (values["plan"] or only_lists(config))
    look = not only_lists(config)
    application = _application(config, values)
    if application is not None:
        model = application.spec(run_name(config))
    else:
        model = _model(values, default_model, vllm, require_key=asks, look=look)
    ours = model.kind == "vllm"
    price = find_price(model.served_name, values["prices"])
    budget = values["budget"]
    paper = values["protocol"] == "paper"
    policy = GatePolicy()
    # An earlier turn is a property of the collected cells, not of how a session is asked.
    turns: tuple[Placement, ...] = ("system", "user", "app")
    defense_folder = option_folder(config, "defense")
    cues = resolve_cues(
        values["cues"], lambda name: option_folder(config, "cues") / Path(name).expanduser()
    )
    defenses = resolve_defenses(
        values["defense"], lambda name: defense_folder / Path(name).expanduser()
    )
    return Settings(
        model=model,
        application=application,
        tasks=tasks,
        data_dir=_data_dir(values["data-dir"], model),
        splits=_splits(values["split"] or {}, tasks),
        shots=values["shots"] or 0,
        offline=values["offline"],
        protocol="paper" if paper else "default",
        sampling=_sampling(values, _PAPER_SAMPLING if paper else Sampling()),
        room_to_think=not (paper or values["max-tokens"]),
        repeats=values["repeats"] or (_PAPER_REPEATS if paper else 1),
        seed=values["seed"],
        limit=values["limit"],
        placement=next((turn for turn in turns if turn == values["placement"]), None),
        cues=cues,
        defenses=defenses,
        concurrency=_VLLM_CONCURRENCY
        if ours and not is_given(config, "concurrency")
        else values["concurrency"],
        store_dir=values["store"],
        policy=GatePolicy(
            margin={
                axis: values[f"margin-{axis}"] or usual for axis, usual in policy.margin.items()
            },
            task_margin=_task_margins(values["task-margins"] or {}, tasks),
            trait_margin=values["trait-margin"] or {},
            pb_tolerance={
                axis: values[f"tolerance-{axis}"] or points
                for axis, points in policy.pb_tolerance.items()
            },
            alpha=values["alpha"],
            mode=values["gate"],
            reference=values["reference"] or ("baseline" if paper else "control"),
            cells=values["cells"] or 0,
            joint=_joint(values["joint"], tasks),
            strata=_known_tasks(values["strata"], tasks, "strata"),
            cues=split_names(values["gate-cues"]),
        ),
        stop=_stop(values, paper=paper, n_variants=len(defenses) * len(cues)),
        json_path=values["json"],
        markdown_path=values["markdown"],
        html_path=values["html"],
        table_path=values["table"],
        trackers=_trackers(values["tracker"]),
        kept=_kept(values, model.name, tasks),
        spending=SpendingSettings(
            rpm=values["rpm"],
            tpm=values["tpm"],
            timeout=_VLLM_TIMEOUT
            if ours and not is_given(config, "timeout")
            else values["timeout"],
            price=price,
            check=unlimited
            if budget is None
            else _spending_check(parse_budget(budget), price, application),
            plan_only=values["plan"],
            batch=values["batch"],
            poll=values["batch-poll"],
        ),
        vllm=vllm,
        judging=JudgeSettings(
            wanted=values["judge"],
            model=JudgeModel(
                store_dir=values["store"],
                model=values["judge-model"],
                base_url=values["judge-base-url"],
                key_env=values["judge-api-key-env"],
                headers=values["judge-header"],
                aliases=values["aliases"],
                concurrency=values["judge-concurrency"],
                max_tokens=values["judge-max-tokens"],
                timeout=values["timeout"],
                prices=values["prices"],
                offline=values["offline"],
            ),
            mask=values["judge-mask"] != "off",
            provider_refusals=values["provider-refusals"],
        ),
        aa=values["aa"],
        ray=_ray(values, model),
    )


def _spending_check(
    budget: Budget, price: Price | None, application: Application | None
) -> Callable[[int, int], str | None]:
    """When the budget is spent: by tokens and their price, or by what an application says."""
    if application is None or price is not None or budget.unit != "USD":
        return spending_check(budget, price)
    by_micros = spending_check(budget, Price(1, 0, "USD"))

    def check(prompt_tokens: int, completion_tokens: int) -> str | None:
        if application.spent is None:
            return (
                f"a budget of {budget} needs what each reply costs, and {application.name} does "
                "not say: return a Reply with a cost, or give a budget in tokens"
            )
        return by_micros(round(1e6 * application.spent), 0)

    return check


_OF_MODELS = (
    *("base-url", "api-key-env", "vllm-args", "lora", "vllm-command", "deterministic", "aliases"),
    *("header", "ray", "batch"),
)


def _application(config: pytest.Config, values: Mapping[str, Any]) -> Application | None:
    """The application that an option or the suite's hook names; None where a model is measured.

    Raises:
        ConfigurationError: it cannot be called, or options are given that are about models.
    """
    given: object = values["app"]
    if given is None and values["model"] is None:
        try:
            given = config.hook.pytest_pbias_target(config=config)
        except Exception as error:
            raise ConfigurationError(
                f"the hook pytest_pbias_target broke: {raised(error)}"
            ) from error
    # What the command line names is measured although an ini file names a model.
    if values["app"] is not None and values["model"] is not None:
        here = [is_given_here(config, name) for name in ("app", "model")]
        if here[0] == here[1]:
            raise ConfigurationError("give one of --pbias-app and --pbias-model, not both")
        given = given if here[0] else None
    if given is None:
        for name, value in (("app-version", values["app-version"]), ("placement", "app")):
            if values[name] is not None and values[name] == value:
                raise ConfigurationError("it is for an application: give --pbias-app", setting=name)
        return None
    for name in (*_OF_MODELS, *_sampling_options().values()):
        if is_given(config, name):
            raise ConfigurationError(
                "it is about a model, and an application is measured, which asks its model as it "
                "likes: leave it out",
                setting=name,
            )
    application = find_application(given, option_folder(config, "app"), values["app-version"])
    if values["placement"] == "app" and not application.asks & {"identity", "cue"}:
        raise ConfigurationError(
            f"{application.name} cannot be handed who asks: give it a parameter named identity",
            setting="placement",
        )
    return application


def _stop(values: Mapping[str, Any], *, paper: bool, n_variants: int) -> Literal["early", "never"]:
    """When to stop asking: early, where nothing else is said.

    Not in batches, of which each look would wait for one more, nor where defenses or cues are
    compared: what is clear of a cell early leaves little to compare two of them on.
    """
    if values["stop"] is not None:
        return "early" if values["stop"] == "early" else "never"
    return "never" if paper or values["batch"] or n_variants > 1 else "early"


def _sampling(values: Mapping[str, Any], usual: Sampling) -> Sampling:
    """The usual parameters, but for those that an option of the same name gives."""
    named = {field: values[option] for field, option in _sampling_options().items()}
    sampling = replace(usual, **{name: one for name, one in named.items() if one is not None})
    return replace(sampling, extra_body=_extra_body(sampling))


def _sampling_options() -> dict[str, str]:
    """The fields of :class:`Sampling` that have an option, with its name."""
    known = {option.name for option in OPTIONS}
    named = {field.name: field.name.replace("_", "-") for field in fields(Sampling)}
    return {field: option for field, option in named.items() if option in known}


_FIXED = (
    *("model", "messages", "seed", "stream", "stream_options", "n", "response_format", "tools"),
    *("functions", "max_completion_tokens"),
)


def _extra_body(sampling: Sampling) -> str:
    """The further fields in one form, since they are part of the keys of answers.

    Raises:
        ConfigurationError: it is no JSON object, or has a field that is set otherwise.
    """
    if not sampling.extra_body:
        return ""
    try:
        extra = json.loads(sampling.extra_body)
        text = json.dumps(extra, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        extra, text = None, ""
    if not isinstance(extra, dict):
        raise ConfigurationError(
            f'{quoted(sampling.extra_body)} is not a JSON object, such as {{"min_p": 0.1}}',
            setting="extra-body",
        )
    fixed = {*_FIXED, *_sampling_options(), *replace(sampling, extra_body="").sent()}
    for name in extra:
        if name in fixed:
            raise ConfigurationError(
                f"the field {quoted(name)} is set by the run: leave it out, or give its own option",
                setting="extra-body",
            )
    return text if extra else ""


def _check_together(values: Mapping[str, Any], given: Callable[[str], bool]) -> None:
    """Refuse options that cannot both be heeded.

    Raises:
        ConfigurationError: such are given.
    """
    if values["compare-fail"] is not None and values["compare"] is None:
        raise ConfigurationError("--pbias-compare-fail needs --pbias-compare=RUN")
    if values["batch"] and values["budget"] is not None:
        raise ConfigurationError(
            "--pbias-budget cannot stop a batch that is submitted; use --pbias-plan and "
            "--pbias-limit with --pbias-batch"
        )
    for name in ("rpm", "tpm", "timeout", "concurrency"):
        if values["batch"] and given(name):
            raise ConfigurationError(
                "the provider decides when it asks what is in a batch; leave it out with "
                "--pbias-batch",
                setting=name,
            )


def _vllm_arguments(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        # Not the text: where a quote is not closed, an API key stands among the rest of it.
        reason = " ".join(str(error).lower().split())
        raise ConfigurationError(
            f"the arguments cannot be taken apart: {reason}", setting="vllm-args"
        ) from None


def _model(
    values: Mapping[str, Any],
    default_model: str | None,
    vllm: VllmSettings,
    *,
    require_key: bool,
    look: bool,
) -> ModelSpec:
    name = values["model"] or default_model
    if name is None:
        raise ConfigurationError(
            "no model to measure: give --pbias-model=NAME (an alias such as llama3 or gpt-4o, "
            "a name served at --pbias-base-url, or 'embedded'), or set pbias_model in the ini file"
        )
    spec = resolve_model(
        name,
        base_url=values["base-url"],
        api_key_env=values["api-key-env"],
        aliases_file=values["aliases"],
        vllm=vllm,
        headers=parse_headers(values["header"]) if values["header"] else (),
        require_key=require_key,
        look=look,
    )
    return _by_completions(spec, values) if values["completions"] else spec


def _by_completions(spec: ModelSpec, values: Mapping[str, Any]) -> ModelSpec:
    """The model, asked with plain texts: its answers are others than those of a chat.

    Raises:
        ConfigurationError: it, or another option, has chats only.
    """
    if spec.kind not in ("endpoint", "vllm"):
        raise ConfigurationError(
            f"{spec.name!r} answers chats only; leave it out", setting="completions"
        )
    for name in ("batch", "ray"):
        if values[name]:
            raise ConfigurationError(
                f"--pbias-{name} asks chats only; leave it out", setting="completions"
            )
    return replace(spec, completions=True, served_identity=f"{spec.served_identity} completions")


def _data_dir(given: Path | None, model: ModelSpec) -> Path | None:
    from pytest_pbias.models.embedded import find_data

    return find_data(given, embedded=model.kind == "embedded")


def _splits(splits: dict[str, str], tasks: Mapping[str, Task]) -> dict[str, str]:
    for name, split in splits.items():
        task = resolve_task(name, tasks)
        if split not in task.splits:
            raise ConfigurationError(
                f"task {name!r} has no split {split!r}: choose from {', '.join(task.splits)}",
                setting="split",
            )
    return splits


def _known_tasks(names: str | None, tasks: Mapping[str, Task], setting: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys((names or "").replace(",", " ").split()))
    for name in found:
        try:
            resolve_task(name, tasks)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), setting=setting) from None
    return found


def _joint(names: str | None, tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """The tasks of joint PB, of which one run need not ask all."""
    found = _known_tasks(names, tasks, "joint")
    require_both_axes({name: resolve_task(name, tasks).axis for name in found})
    return found


def _task_margins(margins: dict[str, float], tasks: Mapping[str, Task]) -> dict[str, float]:
    for name in margins:
        resolve_task(name, tasks)
    return margins


def _trackers(text: str | None) -> tuple[str, ...]:
    """The trackers that are to be told of the run.

    Raises:
        ConfigurationError: one is unknown, or its package is not installed.
    """
    names = tuple(dict.fromkeys(split_names(text)))
    try:
        if text is not None and not names:
            raise ConfigurationError(f"{text!r} names no tracker")
        require_trackers(names)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), setting="tracker") from None
    return names


def _kept(values: Mapping[str, Any], model: str, tasks: Mapping[str, Task]) -> RunSettings:
    """How the run is kept; finds the one to compare with, and those of the same model.

    Raises:
        ConfigurationError: a value is impossible, or there is no such run.
    """
    tag, compare, fail = values["tag"] or "", values["compare"], values["compare-fail"]
    reserved = tag.isdecimal() or tag == LATEST or tag.startswith(LATEST_OF)
    if reserved or len(tag) > _MOST_TAG or not tag.isprintable():
        raise ConfigurationError(
            f"{tag!r} cannot be a tag; give one line of at most {_MOST_TAG} "
            "characters that is neither a number nor 'latest'",
            setting="tag",
        )
    for name in ("compare-fail", "drift-fail"):
        try:
            parse_expression(values[name] or "pb_safety>0", ("utility", "safety", *tasks))
        except ConfigurationError as error:
            raise ConfigurationError(str(error), setting=name) from None
    drift = values["drift-fail"]
    kept = list_runs(values["store"]) if drift is not None else ()
    return RunSettings(
        tag=tag,
        compare=compare,
        earlier=None if compare is None else _earlier(compare, values["store"]),
        fail=fail,
        anyway=values["compare-anyway"],
        drift=drift,
        of_model=tuple(run.path for run in reversed(kept) if run.model == model),
        drift_runs=values["drift-runs"],
    )


def _earlier(name: str, store_dir: Path) -> Path | None:
    """The run's file. The first run of all has nothing to be compared with, which is no mistake."""
    model = name.removeprefix(LATEST_OF) if name.startswith(LATEST_OF) else None
    newest = name == LATEST or bool(model)
    if newest and not any(model in (None, run.model) for run in list_runs(store_dir)):
        return None
    try:
        found = find_run(name, store_dir)
        OutcomeTable.read_info(found)  # said before anything is asked
    except (ConfigurationError, DataError) as error:
        raise ConfigurationError(str(error), setting="compare") from None
    return found


def _ray(values: Mapping[str, Any], model: ModelSpec) -> str | None:
    """The address of the cluster, or None where this machine asks.

    Raises:
        ConfigurationError: Ray is not installed, or another option does not go with it.
    """
    address: str | None = values["ray"]
    if address is None:
        return None
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("--pbias-ray needs Ray: pip install 'pytest-pbias[ray]'")
    if address not in ("auto", "local") and not _ADDRESS.fullmatch(address):
        raise ConfigurationError(
            f"{address!r} is not an address: give HOST:PORT, ray://HOST:PORT, auto, or local",
            setting="ray",
        )
    if model.base_url is None:
        raise ConfigurationError(
            "a server that a run starts answers on its own machine only; serve "
            f"{model.name!r} on the cluster and give its address with --pbias-base-url",
            setting="ray",
        )
    for name in ("rpm", "tpm"):
        if values[name] is not None:
            raise ConfigurationError(
                f"--pbias-{name} holds for one asking process: leave it out with --pbias-ray, and "
                "set --pbias-concurrency, which the nodes share"
            )
    if values["batch"]:
        raise ConfigurationError("--pbias-batch asks nothing that --pbias-ray could share out")
    return address
