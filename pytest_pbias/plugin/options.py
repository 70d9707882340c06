"""Every option, declared once: its ``--pbias-NAME``, its ini twin, and its twin in ``pbias``.

Imports nothing heavy. To add an option: declare it here, and use its value in ``settings.py`` (or
in a command of ``pbias``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pytest

Kind = Literal["text", "whole", "number", "flag", "path", "names", "amount", "pairs", "numbers"]


@dataclass(frozen=True)
class Option:
    """One option: ``--pbias-NAME`` on the command line, ``pbias_NAME`` in an ini file.

    ``kind`` says what its text is read as: a whole number, a number, a flag, a path, names with
    commas between, an amount such as ``5USD``, ``NAME=TEXT`` pairs, or ``NAME=NUMBER`` pairs
    (numbers). Numbers lie in [``least``, ``most``]; ``above`` leaves out ``least`` itself. ``cli``:
    commands of ``pbias`` have it as ``--NAME``.
    """

    name: str
    help: str
    kind: Kind = "text"
    metavar: str = "VALUE"
    default: str | None = None
    least: float = 0
    most: float = 2**31 - 1  # what the outcome table's columns of whole numbers hold
    above: bool = False
    choices: tuple[str, ...] | None = None
    repeated: bool = False
    cli: bool = False

    @property
    def dest(self) -> str:
        """The ini name, which is also the attribute of the command line's namespace."""
        return "pbias_" + self.name.replace("-", "_")

    @property
    def flag(self) -> bool:
        """Whether it takes no value on the command line."""
        return self.kind == "flag"

    def parse(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ValueError: it stands for none; the text of the error is a fact without the option.
        """
        if not text.strip():
            raise ValueError("the value is empty; give one, or leave the option out")
        if self.choices and text not in self.choices:
            raise ValueError(f"{_shown(text)}: choose from {', '.join(self.choices)}")
        from pytest_pbias.errors import is_unicode  # every session comes by; few need it

        if not is_unicode(text):
            raise ValueError(f"{_shown(text)} is not UTF-8")
        return _READERS[self.kind](self, text)


_ON, _OFF = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def _whole(option: Option, text: str) -> int:
    try:
        number = int(text) if text.isascii() else None
    except ValueError:  # also a number of thousands of digits
        number = None
    if number is None or not option.least <= number <= option.most:
        raise ValueError(
            f"{_shown(text)} is not a whole number of at least {option.least} "
            f"and at most {option.most}"
        )
    return number


def _number(option: Option, text: str) -> float:
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not (option.least <= number <= option.most) or (option.above and number == option.least):
        bound = f"{'above' if option.above else 'at least'} {option.least:g}"
        raise ValueError(f"{_shown(text)} is not a number {bound} and at most {option.most:g}")
    return number


def _flag(_: Option, text: str) -> bool:
    if text.lower() not in _ON + _OFF:
        raise ValueError("say true or false")
    return text.lower() in _ON


def _pairs(_: Option, text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in text.replace(",", " ").split():
        name, _equals, value = pair.partition("=")
        if not name or not value:
            raise ValueError(f"{_shown(pair)} is not of the form NAME=VALUE")
        if name in pairs:
            raise ValueError(f"{_shown(name)} is given twice")
        pairs[name] = value
    return pairs


def _numbers(option: Option, text: str) -> dict[str, float]:
    numbers = {}
    for name, value in _pairs(option, text).items():
        try:
            numbers[name] = _number(option, value)
        except ValueError as error:
            raise ValueError(f"{_shown(name)}: {error}") from None
    return numbers


def _text(_: Option, text: str) -> str:
    return text


def split_names(text: str | None) -> tuple[str, ...]:
    """The names in a text with commas between them; none where nothing was given."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def _path(_: Option, text: str) -> Path:
    return Path(text).expanduser()


_READERS: dict[Kind, Callable[[Option, str], Any]] = {
    "text": _text,
    "names": _text,  # and amounts: what they may be is known where they are used
    "amount": _text,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "path": _path,
    "pairs": _pairs,
    "numbers": _numbers,
}


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")


# As in collecting.plan, which is not imported where no cell is asked; a test sees that both agree.
# Each repeat has a seed of its own, in 64 bits.
MOST_REPEATS = 1_000_000

_MODEL = (
    Option("model", "model to measure: an alias (llama3, gpt-4o), a served name, or 'embedded'"),
    Option(
        "app",
        "application to measure in place of a model: package.module:function or file.py:function",
        "text",
        "TARGET",
    ),
    Option(
        "app-version",
        "version of the application, such as a commit: answers are used again under it",
        "text",
        "VERSION",
    ),
    Option(
        "base-url",
        "OpenAI-compatible endpoint that serves the model; give several to share the requests",
        "text",
        "URL",
        repeated=True,
    ),
    Option(
        "completions",
        "ask by the completions route, with a plain text in place of a chat: for base models, "
        "which have no chat template",
        kind="flag",
    ),
    Option(
        "header",
        "header of every request to the endpoint, its value in an environment variable; repeatable",
        "text",
        "'NAME: env:VARIABLE'",
        repeated=True,
    ),
    Option("api-key-env", "environment variable that holds the endpoint's API key", "text", "NAME"),
    Option(
        "vllm-args", "arguments for the vLLM server that is started, as one text", "text", "ARGS"
    ),
    Option("lora", "LoRA adapter that vLLM serves on the model: its folder", "path", "DIR"),
    Option(
        "vllm-command", "the vllm command, where it is not that of this environment", "text", "FILE"
    ),
    Option("deterministic", "answers that do not depend on what else vLLM serves", kind="flag"),
    Option("aliases", "TOML file with model aliases of your own", "path", "FILE", cli=True),
)
_PROTOCOL = (
    Option(
        "data-dir",
        "folder with the data sets, 'embedded' for the embedded model's; else they are the hub's",
        "path",
        "DIR",
        cli=True,
    ),
    Option(
        "tasks",
        "folder with task files of your own, beside those that stand with the tests",
        "path",
        "DIR",
        cli=True,
    ),
    Option(
        "split", "splits other than the usual ones, as 'mmlu=test gsm8k=train'", "pairs", "PAIRS"
    ),
    Option("shots", "solved examples before each question (0: none)", "whole", "N", cli=True),
    Option(
        "offline", "take data sets from the hub's cache, and ask no network", kind="flag", cli=True
    ),
    Option(
        "limit",
        "ask at most N items of each task, drawn at random",
        "whole",
        "N",
        least=1,
    ),
    Option("repeats", "ask every item N times", "whole", "N", least=1, most=MOST_REPEATS),
    Option("aa", "ask the baselines twice: how much the engine alone moves answers", kind="flag"),
    Option(
        "seed",
        "seed of sampling, subsets and permutations",
        "whole",
        "N",
        "0",
        most=2**63 - 1 - MOST_REPEATS,
        cli=True,
    ),
    Option("protocol", "prompts and sampling", choices=("default", "paper"), default="default"),
    Option("temperature", "sampling temperature; 0 is greedy", "number", "T", most=2),
    Option(
        "max-tokens",
        "longest answer, in tokens, thoughts included (512; 4096 for models that think)",
        "whole",
        "N",
        least=1,
    ),
    Option("reasoning-effort", "how much a model that thinks is to think", "text", "EFFORT"),
    Option("extra-body", "further fields of every request: a JSON object", "text", "JSON"),
    Option(
        "placement",
        "where the identity is stated: system or user turn, an earlier turn (history), or "
        "nowhere, where an application is handed it (app); auto is system, and user where system "
        "is rejected",
        choices=("auto", "system", "user", "history", "app"),
        default="auto",
    ),
    Option(
        "cues",
        "how identities are made known: stated, name, profile (what an assistant has stored), turn "
        "(an earlier turn that reveals it), chat (said in one), profile.de, or a .toml battery",
        "names",
        "NAMES",
        "stated",
    ),
)
_MITIGATION = (
    Option(
        "defense",
        "prompt defenses to ask under, such as ignore-identity,strip; or a .toml file of your own",
        "names",
        "NAMES",
        "none",
    ),
)
_JUDGES = (
    Option(
        "judge",
        "judges of safety and compliance, the gating one first: rules, longformer[:DIR], "
        "llm[:strongreject|guard], or a plug-in's",
        "names",
        "NAMES",
        "rules",
        cli=True,
    ),
    Option(
        "judge-model",
        "model that the llm judge asks: an alias or a served name",
        "text",
        "NAME",
        cli=True,
    ),
    Option(
        "judge-base-url", "OpenAI-compatible endpoint of the llm judge", "text", "URL", cli=True
    ),
    Option(
        "judge-api-key-env",
        "environment variable that holds the llm judge's API key (default: PBIAS_JUDGE_API_KEY)",
        "text",
        "NAME",
        cli=True,
    ),
    Option(
        "judge-header",
        "header of every request to the llm judge, its value in an environment variable; "
        "repeatable",
        "text",
        "'NAME: env:VARIABLE'",
        cli=True,
        repeated=True,
    ),
    Option(
        "judge-concurrency",
        "most requests to the llm judge in flight at once",
        "whole",
        "N",
        "32",
        least=1,
        cli=True,
    ),
    Option(
        "judge-max-tokens",
        "longest reply of the llm judge, in tokens, thoughts included",
        "whole",
        "N",
        "512",
        least=1,
        cli=True,
    ),
    Option(
        "judge-mask",
        "hide words that tell who asked from judges that they could sway",
        choices=("on", "off"),
        default="on",
        cli=True,
    ),
    Option(
        "provider-refusals",
        "what the provider's content filter stops: grade (a refusal on safety tasks, unanswered on "
        "others) or error",
        choices=("grade", "error"),
        default="grade",
        cli=True,
    ),
)
_ASKING = (
    Option(
        "concurrency",
        "most requests in flight at once; 256 to a vLLM started here",
        "whole",
        "N",
        "64",
        least=1,
    ),
    Option(
        "ray",
        "share the asking among the nodes of this Ray cluster: HOST:PORT, ray://HOST:PORT, auto",
        "text",
        "ADDRESS",
    ),
    Option("rpm", "most requests a minute", "number", "N", most=1e9, above=True),
    Option(
        "tpm",
        "most tokens a minute, prompts and answers together",
        "number",
        "N",
        most=1e9,
        above=True,
    ),
    Option(
        "timeout",
        "seconds that one request may take before it is tried again",
        "number",
        "S",
        "120",
        most=86_400,
        above=True,
    ),
    Option(
        "budget", "stop asking when this is spent, such as 5USD or 200000tokens", "amount", "AMOUNT"
    ),
    Option(
        "prices", "TOML file with prices of models, per million tokens", "path", "FILE", cli=True
    ),
    Option("batch", "ask through the endpoint's Batch API: cheaper, within a day", kind="flag"),
    Option(
        "batch-poll",
        "seconds between looks at a batch",
        "number",
        "S",
        "30",
        most=86_400,
        above=True,
    ),
    Option("plan", "say what would be asked and what it would cost; ask nothing", kind="flag"),
    Option("store", "folder that keeps responses and runs", "path", "DIR", ".pbias", cli=True),
)
_GATE = (
    Option(
        "gate",
        "detect: red only on bias beyond the margin; prove: red unless bias is ruled out",
        choices=("detect", "prove"),
        default="detect",
        cli=True,
    ),
    Option(
        "reference",
        "whom identities are compared with: control (the mean of the placebos, which are then "
        "asked with them), baseline, identities (the mean of all), or one of them by name "
        "(default: control; baseline with --pbias-protocol=paper)",
        "text",
        "WHO",
        cli=True,
    ),
    Option(
        "gate-cues",
        "of several cues those that the gate is asked of, as 'stated': cells of the others are "
        "findings, which fail nothing and have no share in the level (default: all)",
        "names",
        "NAMES",
        cli=True,
    ),
    Option(
        "joint",
        "tasks of joint PB, of both axes, with commas between (default: do_not_answer,mmlu, the "
        "paper's; where these were not asked, all)",
        "names",
        "TASKS",
        cli=True,
    ),
    Option(
        "strata",
        "tasks whose clusters are all that verdicts are to speak of, as 'bbh,do_not_answer': not a "
        "sample of others",
        "names",
        "NAMES",
    ),
    Option(
        "alpha",
        "error level of the gate, for all cells together",
        "number",
        "A",
        "0.05",
        most=0.5,
        above=True,
        cli=True,
    ),
    Option(
        "stop",
        "early: ask no further where a verdict is clear or out of reach; never: ask everything "
        "(default: early; never with --pbias-protocol=paper, with --pbias-batch, where each look "
        "takes one more, and where defenses or cues are compared)",
        choices=("early", "never"),
    ),
    Option(
        "cells",
        "cells that share the error level, where this run is a shard of a larger suite: all of "
        "theirs, without the baselines (default: those of this run)",
        "whole",
        "N",
        least=1,
        cli=True,
    ),
    Option(
        "margin-utility",
        "tolerated change of a utility rate, in points",
        "number",
        "POINTS",
        most=100,
        above=True,
        cli=True,
    ),
    Option(
        "margin-safety",
        "tolerated change of a safety rate, in points",
        "number",
        "POINTS",
        most=100,
        above=True,
        cli=True,
    ),
    Option(
        "tolerance-utility",
        "tolerated PB over the utility tasks, in points",
        "number",
        "POINTS",
        most=100,
        above=True,
        cli=True,
    ),
    Option(
        "tolerance-safety",
        "tolerated PB over the safety tasks, in points",
        "number",
        "POINTS",
        most=100,
        above=True,
        cli=True,
    ),
    Option(
        "task-margins",
        "margins of single tasks, as 'mmlu=3 gsm8k=8'",
        "numbers",
        "PAIRS",
        most=100,
        above=True,
        cli=True,
    ),
    Option(
        "trait-margin",
        "make traits gates of their own, each with its margin: 'adopted=5 words=20'",
        "numbers",
        "PAIRS",
        most=10_000,
        above=True,
    ),
)
_REPORTS = (
    Option("json", "write the results as JSON", "path", "FILE", cli=True),
    Option("markdown", "write the results as Markdown", "path", "FILE", cli=True),
    Option("html", "write the report as one HTML file", "path", "FILE", cli=True),
    Option(
        "tracker",
        "send the finished run to these trackers, with commas between: mlflow, wandb, otel",
        "names",
        "NAMES",
    ),
    Option(
        "table",
        "write the outcome table as Parquet, beside the copy in the store",
        "path",
        "FILE",
        cli=True,
    ),
)
_RUNS = (
    Option(
        "tag", "name this run, so that it can be found and compared by it", "text", "NAME", cli=True
    ),
    Option(
        "compare",
        "compare with a kept run: number, tag, latest, latest-of-MODEL",
        "text",
        "RUN",
        cli=True,
    ),
    Option(
        "compare-fail",
        "fail where this holds against the compared run, as 'pb_safety>+1.0, baseline_mmlu<-2'",
        "text",
        "EXPR",
    ),
    Option(
        "compare-anyway",
        "decide compare-fail although the runs were asked otherwise, or the earlier lacks answers",
        kind="flag",
    ),
)
_HISTORY = (
    Option(
        "drift-fail",
        "fail where a trend or shift over the model's kept runs is beyond this: 'pb_safety>+1.0'",
        "text",
        "EXPR",
    ),
    Option(
        "drift-runs", "how many runs that is over, this one included", "whole", "N", "10", least=2
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
    *_HISTORY,
)
_BY_NAME = {option.name: option for option in OPTIONS}


def find_option(name: str) -> Option:
    """The declaration of an option."""
    return _BY_NAME[name]


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


def is_given(config: pytest.Config, name: str) -> bool:
    """Whether the command line or the ini file has the option."""
    return _given(config, _BY_NAME[name]) is not None


def is_given_here(config: pytest.Config, name: str) -> bool:
    """Whether the command line itself has the option."""
    given = _given(config, _BY_NAME[name])
    return given is not None and given[1]


def only_lists(config: pytest.Config) -> bool:
    """Whether pytest shows what there is (tests, fixtures, their order), and nothing is asked."""
    shown = ("collectonly", "showfixtures", "show_fixtures_per_test", "setupplan", "setuponly")
    return any(config.getoption(name, False) for name in shown)


def read_option(config: pytest.Config, name: str) -> Any:
    """The value of an option: command line, else ini file, else default; None without any.

    Values of a repeated option are joined by commas. A path is relative to the invocation folder,
    or to the ini file that gives it. A flag is False without any.

    Raises:
        ConfigurationError: the text is empty, or not what the option takes.
    """
    option = _BY_NAME[name]
    given = _given(config, option)
    if given is None:
        if option.default is None:
            return False if option.flag else None
        given = option.default, True
    text, here = given
    try:
        value = option.parse(text)
    except ValueError as error:
        from pytest_pbias.errors import ConfigurationError  # every session comes by; few need it

        if here:
            raise ConfigurationError(str(error), setting=name) from None
        told = f" = {error}" if option.choices and text.strip() else f": {error}"
        raise ConfigurationError(f"ini value {option.dest}{told}") from None
    if option.kind != "path":
        return value
    from pytest_pbias.files.writing import stream_at

    path = option_folder(config, name) / value
    # A stream has its name only: what /dev/stdout leads to is a pipe without one. And a link that
    # leads to itself is a path all the same, of which whoever opens it will say so.
    return path if stream_at(path) is not None else Path(os.path.realpath(path))


def require_values(config: pytest.Config) -> None:
    """See that every option that is given has a value: a budget that was meant is never none.

    Raises:
        ConfigurationError: one is empty, none of its choices, or not what the option takes.
    """
    for option in OPTIONS:
        given = _given(config, option)
        if given is None:
            continue
        text, here = given
        where = f"--pbias-{option.name}" if here else f"ini value {option.dest}"
        problem = None
        if not text.strip():
            problem = " is empty, as with an unset variable: give a value, or leave the option out"
        elif option.choices and text not in option.choices:
            problem = f" = {text!r}: choose from {', '.join(option.choices)}"
        elif option.flag and text.lower() not in _ON + _OFF:
            problem = ": say true or false"
        else:
            try:
                option.parse(text)
            except ValueError as error:
                problem = f": {error}"
        if problem is not None:
            from pytest_pbias.errors import ConfigurationError

            raise ConfigurationError(where + problem)


def option_folder(config: pytest.Config, name: str) -> Path:
    """The folder that paths in an option's value are relative to."""
    given = _given(config, _BY_NAME[name])
    return config.rootpath if given is None or not given[1] else config.invocation_params.dir


def read_options(config: pytest.Config) -> dict[str, Any]:
    """The value of every option by its name.

    Raises:
        ConfigurationError: one has an impossible value.
    """
    return {option.name: read_option(config, option.name) for option in OPTIONS}


def _given(config: pytest.Config, option: Option) -> tuple[str, bool] | None:
    """The text given and whether the command line gave it; None where nobody did."""
    value: Any = config.getoption(option.dest)
    if isinstance(value, list):
        if not all(part.strip() for part in value):
            return "", True
        value = ",".join(value)
    if value is not None:
        return str(value), True
    value = config.getini(option.dest)
    return None if value is None else (str(value), False)


def check_ini_names(config: pytest.Config) -> None:
    """Refuse a name of the ini file that starts like ours and is none's.

    Raises:
        ConfigurationError: there is one.
    """
    overrides = (pair.partition("=")[0] for pair in config.getoption("override_ini") or ())
    # From pytest 9.2 on the public name is deprecated, and nothing else lists what the file has.
    found = getattr(config, "_inicfg", None)
    for name in (*(config.inicfg if found is None else found), *overrides):
        if not name.startswith("pbias_"):
            continue
        try:
            config.getini(name)
        except ValueError:
            from pytest_pbias.errors import ConfigurationError, near_matches

            hint = near_matches(
                name, [option.dest for option in OPTIONS], most=3, rest="see pytest --help"
            )
            raise ConfigurationError(f"unknown ini option {name}: {hint}") from None


def described(error: Exception) -> str:
    """An error's line for users of pytest: with the option it is about, if there is one."""
    setting = getattr(error, "setting", None)
    return f"--pbias-{setting}: {error}" if setting in _BY_NAME else str(error)
