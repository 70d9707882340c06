"""Below the two front ends nothing names an option: errors are facts, the front ends add it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_pbias
from pytest_pbias.cli import COMMANDS, CommandParser
from pytest_pbias.plugin.options import OPTIONS

PACKAGE = Path(pytest_pbias.__file__).parent
FRONT_ENDS = ("plugin", "cli")


def _options_of_commands() -> set[str]:
    """Every option of every ``pbias`` command."""
    found: set[str] = set()
    for name in COMMANDS:
        parser = CommandParser(prog=f"pbias {name}")
        parser.declare()
        found |= {option for action in parser._actions for option in action.option_strings}
    return {option for option in found if option.startswith("--")} - {"--help"}


def _spellings() -> re.Pattern[str]:
    names = _options_of_commands()
    names |= {f"--pbias-{option.name}" for option in OPTIONS}
    names |= {option.dest for option in OPTIONS}
    assert {"--micro-batch", "--fail", "--pbias-defense", "pbias_budget"} <= names
    every = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{every})(?![\w-])")


SPELLINGS = _spellings()
# The bare name is how an error says to the front ends which option it is about: nothing else.
BARE_NAMES = [option.name for option in OPTIONS if "-" in option.name]
BARE = re.compile(rf"(?<![\w-])(?:{'|'.join(BARE_NAMES)})(?![\w-])")


def _literals(source: str) -> Iterator[tuple[int, str]]:
    """The text literals of a module with their lines, less its docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


def _named(source: str) -> list[tuple[int, str]]:
    found = []
    for line, text in _literals(source):
        names = SPELLINGS.findall(text) + ([] if text in BARE_NAMES else BARE.findall(text))
        found += [(line, name) for name in names]
    return found


def test_no_option_is_named_below_the_front_ends() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in FRONT_ENDS:
            found += [f"{place}:{line}: {name}" for line, name in _named(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise E("lower --micro-batch, then go on")', ["--micro-batch"]),
        ('raise E(f"--pbias-defense: {name}")', ["--pbias-defense"]),
        ('say = "x", "pbias_budget = 1"', ["pbias_budget"]),
        (
            'raise E("its endpoint (judge-base-url)", setting="judge-model")',
            ["judge-base-url"],
        ),
        ('run("vllm", "--max-model-len=3", "--no-resume-x", "a--resume")', []),
        ('def f():\n    """With --resume it goes on."""', []),
        ('class C:\n    """Of --out."""\n    said = "see --out."', ["--out"]),
    ],
)
def test_what_counts_as_named(source: str, expected: list[str]) -> None:
    assert [name for _, name in _named(source)] == expected
