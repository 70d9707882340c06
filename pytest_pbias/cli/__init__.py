"""``pbias``: work on stored runs and on the store; only ``pbias train`` needs more than these.

Each command is a module of this package with ``add_arguments`` and ``run``. Only the module of the
command that is called is imported, so that ``pbias --help`` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.plugin.options import OPTIONS

COMMANDS = {
    "report": "report a stored outcome table again",
    "compare": "compare two kept runs",
    "stages": "line up several runs: stages of a family, or mitigations",
    "history": "personalization bias over many kept runs, and whether it drifts",
    "power": "how many items a run needs to be decided",
    "train": "train a model against its bias (DPO)",
    "runs": "list the kept runs",
    "regrade": "grade a run's stored responses again",
    "audit": "check a run's judge against labels of people",
    "site": "kept runs as pages to search and sort, without a server",
    "evidence": "pack a run as evidence, or verify such a bundle",
    "verdict": "say in one word how a run ended",
    "import": "make an outcome table of another harness's logs",
    "gate": "decide on a kept run, with the exit codes of a run",
    "tasks": "list the tasks, or check a task file",
    "store": "list, verify, clean up or export the store of responses",
}
"""What each command does, in a line."""

_MODULES = {
    "import": "importing",  # Python has the word for itself
    **{name: f"across_runs.{name}" for name in ("compare", "history", "site", "stages")},
}

_USAGE = {"gate": 4}  # exit status of a mistake, where it is pytest's

# Options of commands that errors below may be about, and that pytest has not.
OWN_SETTINGS = frozenset(
    {"leave-out", "micro-batch", "out", "sample"}
    | {"axis", "baseline", "choices", "cluster", "control", "floor", "grade-as", "group"}
    | {"identity", "item", "score", "target", "where"}
)
_READER_GONE = 141  # as a shell reports a program that SIGPIPE has ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="pbias", description=_first_line(__doc__))
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=CommandParser
    )
    for name, said in COMMANDS.items():
        subparsers.add_parser(name, help=said)
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _require_values(words)
        options = parser.parse_args(words)
        status = int(options.execute(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has gone (``pbias ... | head``): nothing is left to say, at exit neither.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return _READER_GONE
    except PbiasError as error:
        print(f"pbias: {_described(error)}", file=sys.stderr)
    except ValueError as error:
        print(f"pbias: {error}", file=sys.stderr)
    return _USAGE.get(words[0], 2) if words else 2


def _require_values(words: Sequence[str]) -> None:
    """Refuse an option whose value is empty: what was meant must not count as not given.

    Raises:
        ConfigurationError: there is one.
    """
    for word, following in zip(words, [*words[1:], None], strict=True):
        option, equals, value = word.partition("=")
        empty = value if equals else following
        if option.startswith("--") and option != "--" and empty is not None and not empty.strip():
            raise ConfigurationError(
                f"{option} is empty, as with an unset variable: give a value, or leave it out"
            )


def _described(error: PbiasError) -> str:
    """An error's line for users of ``pbias``: with the option it is about, if a command has it."""
    known = {option.name for option in OPTIONS if option.cli} | OWN_SETTINGS
    return f"--{error.setting}: {error}" if error.setting in known else str(error)


class CommandParser(argparse.ArgumentParser):
    """The parser of ``pbias NAME``; the command's module is imported when it is to parse."""

    def declare(self) -> None:
        """Add the command's description and arguments."""
        name = self.prog.split()[-1]
        module = importlib.import_module(f"{__name__}.{_MODULES.get(name, name)}")
        self.description = _first_line(module.__doc__)
        self.set_defaults(execute=module.run)
        module.add_arguments(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Declare the arguments, then parse them as usual."""
        self.declare()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and exit as the command does on mistakes."""
        self.print_usage(sys.stderr)
        self.exit(_USAGE.get(self.prog.split()[-1], 2), f"{self.prog}: error: {message}\n")


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]
