"""An empty value, such as that of an unset variable, never counts as an option left out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_pbias.cli import COMMANDS, CommandParser, main
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.plugin.options import OPTIONS, Option, read_option, require_values

VALUED = [option for option in OPTIONS if not option.flag]


def _named(option: Option) -> str:
    return option.name


def _refusal(pytester: pytest.Pytester, *arguments: str) -> str:
    with pytest.raises(pytest.UsageError) as caught:
        pytester.parseconfigure(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("value", ["", pytest.param(" ", marks=pytest.mark.slow), "\t"])
@pytest.mark.parametrize("option", VALUED, ids=_named)
def test_on_the_command_line(pytester: pytest.Pytester, option: Option, value: str) -> None:
    said = _refusal(pytester, f"--pbias-{option.name}={value}")
    assert said.startswith(f"pbias: --pbias-{option.name} is empty")
    assert said == _refusal(pytester, f"--pbias-{option.name}", value)


@pytest.mark.parametrize("option", [one for one in OPTIONS if one.flag], ids=_named)
def test_a_flag_takes_no_value(pytester: pytest.Pytester, option: Option) -> None:
    with pytest.raises(pytest.UsageError, match=f"--pbias-{option.name}"):
        pytester.parseconfigure(f"--pbias-{option.name}=")


@pytest.mark.parametrize("option", OPTIONS, ids=_named)
@pytest.mark.parametrize(
    "form", ["pytest.ini", pytest.param("pyproject.toml", marks=pytest.mark.slow), "-o"]
)
def test_in_the_ini_file(pytester: pytest.Pytester, option: Option, form: str) -> None:
    arguments = []
    if form == "pytest.ini":
        pytester.makeini(f"[pytest]\n{option.dest} =\n")
    elif form == "pyproject.toml":
        pytester.makepyprojecttoml(f'[tool.pytest.ini_options]\n{option.dest} = " "\n')
    else:
        arguments = ["-o", f"{option.dest}="]
    assert _refusal(pytester, *arguments).startswith(f"pbias: ini value {option.dest} is empty")


@pytest.mark.parametrize("option", OPTIONS, ids=_named)
def test_no_reader_takes_it_for_none(pytester: pytest.Pytester, option: Option) -> None:
    pytester.makeini(f"[pytest]\n{option.dest} = \n")
    config = pytester.parseconfig()
    with pytest.raises(ConfigurationError, match="is empty"):
        read_option(config, option.name)
    with pytest.raises(ConfigurationError, match="is empty"):
        require_values(config)


def test_one_of_several_addresses(pytester: pytest.Pytester) -> None:
    addresses = ["--pbias-base-url=http://a:1", "--pbias-base-url="]
    assert "--pbias-base-url is empty" in _refusal(pytester, *addresses)


def test_what_the_command_line_overrides_is_not_looked_at(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\npbias_budget =\n")
    config = pytester.parseconfigure("--pbias-budget=5USD")
    assert read_option(config, "budget") == "5USD"


def test_what_is_not_given_has_its_default(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfigure()
    for option in OPTIONS:
        usual: object = False if option.flag else None
        if option.default is not None:
            usual = option.parse(option.default)
        if option.kind == "path" and usual is not None:
            usual = (config.rootpath / str(usual)).resolve()
        assert read_option(config, option.name) == usual, option.name


def test_the_help_still_lists_the_choices(pytester: pytest.Pytester) -> None:
    text = " ".join(pytester.runpytest("--help").stdout.str().split())
    for option in OPTIONS:
        if option.choices:
            assert f"--pbias-{option.name}={{{','.join(option.choices)}}}" in text


# -- pbias -----------------------------------------------------------------------------------------


def _options(parser: argparse.ArgumentParser, words: list[str]) -> Iterator[tuple[list[str], str]]:
    """Every option of a command that takes a value, with the words that come before it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _options(inner, [*words, name])
        elif action.nargs != 0:
            yield from ((words, text) for text in action.option_strings if text.startswith("--"))


def _all_options() -> list[tuple[list[str], str]]:
    found: list[tuple[list[str], str]] = []
    for name in COMMANDS:
        parser = CommandParser(prog=f"pbias {name}")
        parser.declare()
        found += _options(parser, [name])
    return found


def test_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = _all_options()
    assert {option for _, option in options} >= {
        "--tag",
        "--judge",
        "--json",
        "--seed",
        "--defense",
    }
    for words, option in options:
        for value in ([f"{option}="], [option, ""], [f"{option}= "], [option, "\t", "--seed=1"]):
            status = 4 if words == ["gate"] else 2  # as of pytest's mistakes
            assert main([*words, *value, str(tmp_path)]) == status
            said = capsys.readouterr()
            assert re.fullmatch(f"pbias: {option} is empty, .*\n", said.err)
            assert said.out == ""
