"""``pbias``: work on stored runs and on the store; only ``pbias train`` needs more than these.

Each command is a module of this package with ``HELP``, ``add_arguments`` and ``run``; a module
imports what is heavy inside ``run``, so that ``pbias --help`` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from pytest_pbias.errors import ConfigurationError, PbiasError

COMMANDS = (
    "report",
    "compare",
    "power",
    "train",
    "runs",
    "regrade",
    "audit",
    "verdict",
    "store",
)

_READER_GONE = 141  # as a shell reports a program that SIGPIPE has ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="pbias", description=_first_line(__doc__))
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in COMMANDS}
    for name, module in modules.items():
        command = subparsers.add_parser(
            name, help=module.HELP, description=_first_line(module.__doc__)
        )
        module.add_arguments(command)
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        _require_values(words)
        options = parser.parse_args(words)
        status = int(modules[options.command].run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has gone (``pbias ... | head``): nothing is left to say, at exit neither.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return _READER_GONE
    except (PbiasError, ValueError) as error:
        print(f"pbias: {error}", file=sys.stderr)
        return 2


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


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]
