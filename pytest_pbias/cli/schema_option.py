"""``--schema`` of a command: print the JSON Schema of what it writes, and end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pytest_pbias.reporting.schemas import SchemaName


def add_schema_option(parser: argparse.ArgumentParser, name: SchemaName) -> None:
    """Add ``--schema``, which like ``--help`` needs no other argument."""
    parser.add_argument(
        "--schema", action=_PrintSchema, const=name, help="print the JSON Schema of --json and exit"
    )


class _PrintSchema(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from pytest_pbias.reporting.schemas import schema_text

        print(schema_text(self.const), end="")
        sys.stdout.flush()
        parser.exit()
