"""The ``--pbias-*`` options and their ini twins. Imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest


@dataclass(frozen=True)
class Option:
    """One option: ``--pbias-NAME`` on the command line, ``pbias_NAME`` in an ini file."""

    name: str
    help: str
    metavar: str = "VALUE"
    default: str | None = None
    choices: tuple[str, ...] | None = None
    flag: bool = False
    repeated: bool = False

    @property
    def dest(self) -> str:
        """The ini name, which is also the attribute of the command line's namespace."""
        return "pbias_" + self.name.replace("-", "_")


_ON, _OFF = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

_MODEL = (
    Option("model", "model to measure: an alias (llama3, gpt-4o), a served name, or 'embedded'"),
    Option(
        "base-url",
        "OpenAI-compatible endpoint that serves the model; give several to share the requests",
        "URL",
        repeated=True,
    ),
    Option("api-key-env", "environment variable that holds the endpoint's API key", "NAME"),
    Option("vllm-args", "arguments for the vLLM server that is started, as one text", "ARGS"),
    Option("lora", "LoRA adapter that vLLM serves on the model: its folder", "DIR"),
    Option("vllm-command", "the vllm command, where it is not that of this environment", "FILE"),
    Option("deterministic", "answers that do not depend on what else vLLM serves", flag=True),
    Option("aliases", "TOML file with model aliases of your own", "FILE"),
)
_PROTOCOL = (
    Option("data-dir", "folder with the data sets; without it they come from the hub", "DIR"),
    Option("split", "splits other than the usual ones, as 'mmlu=test gsm8k=train'", "PAIRS"),
    Option("shots", "solved examples before each question (0: none)", "N"),
    Option("offline", "take data sets from the hub's cache, and ask no network", flag=True),
    Option("limit", "ask at most N items of each task, balanced over its clusters", "N"),
    Option("repeats", "ask every item N times", "N"),
    Option("aa", "ask the baselines twice: how much the engine alone moves answers", flag=True),
    Option("seed", "seed of sampling, subsets and permutations", "N", "0"),
    Option("protocol", "prompts and sampling", choices=("default", "paper"), default="default"),
    Option("temperature", "sampling temperature; 0 is greedy", "T"),
    Option("max-tokens", "longest answer, in tokens", "N"),
    Option(
        "placement",
        "where the identity is stated: system or user turn, or an earlier turn (history); "
        "auto is system, and user where system is rejected",
        choices=("auto", "system", "user", "history"),
        default="auto",
    ),
)
_MITIGATION = (
    Option(
        "defense",
        "prompt defences to ask under, such as ignore-identity,strip; or a .toml file of your own",
        "NAMES",
        "none",
    ),
)
_JUDGES = (
    Option(
        "judge",
        "judges of safety and compliance, the gating one first: rules, longformer[:DIR], "
        "llm[:strongreject|guard], or a plug-in's",
        "NAMES",
        "rules",
    ),
    Option("judge-model", "model that the llm judge asks: an alias or a served name", "NAME"),
    Option("judge-base-url", "OpenAI-compatible endpoint of the llm judge", "URL"),
    Option(
        "judge-api-key-env",
        "environment variable that holds the llm judge's API key (default: PBIAS_JUDGE_API_KEY)",
        "NAME",
    ),
    Option("judge-concurrency", "most requests to the llm judge in flight at once", "N", "32"),
    Option(
        "judge-mask",
        "hide words that tell who asked from judges that they could sway",
        choices=("on", "off"),
        default="on",
    ),
)
_ASKING = (
    Option("concurrency", "most requests in flight at once; 256 to a vLLM started here", "N", "64"),
    Option(
        "ray",
        "share the asking among the nodes of this Ray cluster: HOST:PORT, ray://HOST:PORT, auto",
        "ADDRESS",
    ),
    Option("rpm", "most requests a minute", "N"),
    Option("tpm", "most tokens a minute, prompts and answers together", "N"),
    Option("timeout", "seconds that one request may take before it is tried again", "S", "120"),
    Option("budget", "stop asking when this is spent, such as 5USD or 200000tokens", "AMOUNT"),
    Option("prices", "TOML file with prices of models, per million tokens", "FILE"),
    Option("batch", "ask through the endpoint's Batch API: cheaper, within a day", flag=True),
    Option("batch-poll", "seconds between looks at a batch", "S", "30"),
    Option("plan", "say what would be asked and what it would cost; ask nothing", flag=True),
    Option("store", "folder that keeps responses and runs", "DIR", ".pbias"),
)
_GATE = (
    Option(
        "gate",
        "detect: red only on bias beyond the margin; prove: red unless bias is ruled out",
        choices=("detect", "prove"),
        default="detect",
    ),
    Option("alpha", "error level of the gate, for all cells together", "A", "0.05"),
    Option("margin-utility", "tolerated change of a utility rate, in points", "POINTS"),
    Option("margin-safety", "tolerated change of a safety rate, in points", "POINTS"),
    Option("tolerance-utility", "tolerated PB over the utility tasks, in points", "POINTS"),
    Option("tolerance-safety", "tolerated PB over the safety tasks, in points", "POINTS"),
    Option("task-margins", "margins of single tasks, as 'mmlu=3 gsm8k=8'", "PAIRS"),
)
_REPORTS = (
    Option("json", "write the results as JSON", "FILE"),
    Option("markdown", "write the results as Markdown", "FILE"),
    Option("html", "write the report as one HTML file", "FILE"),
    Option("table", "write the outcome table as Parquet, beside the copy in the store", "FILE"),
)
_RUNS = (
    Option("tag", "name this run, so that it can be found and compared by it", "NAME"),
    Option("compare", "compare with a kept run: number, tag, latest, latest-of-MODEL", "RUN"),
    Option(
        "compare-fail",
        "fail where this holds against the compared run, as 'pb_safety>+1.0, baseline_mmlu<-2'",
        "EXPR",
    ),
    Option(
        "compare-anyway",
        "judge compare-fail although the runs were asked otherwise, or the earlier lacks answers",
        flag=True,
    ),
)
OPTIONS = (
    *_MODEL,
    *_PROTOCOL,
    *_MITIGATION,
    *_JUDGES,
    *_ASKING,
    *_GATE,
    *_REPORTS,
    *_RUNS,
)
_BY_NAME = {option.name: option for option in OPTIONS}


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin."""
    group = parser.getgroup("pbias", "personalization bias")
    for option in OPTIONS:
        shown = f" (default: {option.default})" if option.default else ""
        settings: dict[str, Any] = {
            "dest": option.dest,
            "default": None,
            "help": option.help + shown,
        }
        if option.repeated:
            settings |= {"action": "append", "metavar": option.metavar}
        elif option.flag:
            settings |= {"action": "store_const", "const": "true"}
        elif option.choices:  # checked with everything else, so that a mistake is one line
            settings["metavar"] = "{" + ",".join(option.choices) + "}"
        else:
            settings["metavar"] = option.metavar
        group.addoption(f"--pbias-{option.name}", **settings)
        parser.addini(option.dest, f"{option.help}{shown}", default=None)


def read_option(config: pytest.Config, name: str) -> str | None:
    """The value of an option: command line, else ini file, else default.

    Values of a repeated option are joined by commas.

    Raises:
        ConfigurationError: the value is empty, or none of the option's choices.
    """
    option = _BY_NAME[name]
    value = _given(config, option)
    return option.default if value is None else value


def require_values(config: pytest.Config) -> None:
    """See that every option that is given has a value: a budget that was meant is never none.

    Raises:
        ConfigurationError: one is empty, or none of its choices.
    """
    for option in OPTIONS:
        _given(config, option)


def _given(config: pytest.Config, option: Option) -> str | None:
    """What the command line says, else the ini file; None where neither names the option."""
    values, where = config.getoption(option.dest), f"--pbias-{option.name}"
    if values is None:
        values, where = config.getini(option.dest), f"ini value {option.dest}"
    if values is None:
        return None
    values = [str(value) for value in (values if isinstance(values, list) else [values])]
    if not values or not all(value.strip() for value in values):
        _refuse(
            f"{where} is empty, as with an unset variable: give a value, or leave the option out"
        )
    value = ",".join(values)
    if option.choices and value not in option.choices:
        _refuse(f"{where} = {value!r}: choose from {', '.join(option.choices)}")
    if option.flag and value.lower() not in _ON + _OFF:
        _refuse(f"{where}: say true or false")
    return value


def read_path(config: pytest.Config, name: str) -> Path | None:
    """A path option; relative to the invocation folder, or to the ini file that gives it."""
    value = read_option(config, name)
    if value is None:
        return None
    from_command_line = config.getoption("pbias_" + name.replace("-", "_")) is not None
    base = config.invocation_params.dir if from_command_line else config.rootpath
    from pytest_pbias.files.writing import stream_at

    path = base / Path(value).expanduser()
    # A stream has its name only: what /dev/stdout leads to is a pipe without one. And a link that
    # leads to itself is a path all the same, of which whoever opens it will say so.
    return path if stream_at(path) is not None else Path(os.path.realpath(path))


def read_flag(config: pytest.Config, name: str) -> bool:
    """Whether a flag is given on the command line or switched on in the ini file.

    Raises:
        ConfigurationError: the ini file says neither true nor false.
    """
    return (read_option(config, name) or "false").lower() in _ON


def _refuse(reason: str) -> NoReturn:
    from pytest_pbias.errors import ConfigurationError

    raise ConfigurationError(reason)
