"""List the runs that are kept in the store."""

from __future__ import annotations

import argparse
import json

from pytest_pbias.cli.arguments import add_option
from pytest_pbias.outcomes.saved_runs import RunRecord, list_runs
from pytest_pbias.reporting.text import plain, wrapped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_option(parser, "store", help="folder of the runs")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the list, oldest first."""

    def line(record: RunRecord) -> str:
        number = "" if record.number is None else f"{record.number:04d}"
        verdicts = " ".join(
            f"{count} {plain(name, 20)}" for name, count in sorted(record.verdicts.items())
        )
        bias = " ".join(
            f"{plain(gate, 60)} {value:.1f}" for gate, value in sorted(record.bias.items())
        )
        model = record.model if record.number is not None else record.name
        created = plain(record.created)[:16].replace("T", " ")
        head = (
            f"{number:<4} {created:<16} {plain(model, 24):<24} "
            f"{plain(record.commit):<8} {plain(record.tag, 22)}"
        )
        found = wrapped(f"{verdicts or 'no verdicts'}; PB {bias or 'none'}", 75)
        return "\n     ".join([head.rstrip(), *found])

    records = list_runs(options.store)
    if options.json:
        rows = [
            {
                "number": record.number,
                "name": record.name,
                "path": str(record.path),
                "created": record.created,
                "model": record.model,
                "commit": record.commit,
                "tag": record.tag,
                "verdicts": dict(record.verdicts),
                "bias": dict(record.bias),
            }
            for record in records
        ]
        print(json.dumps(rows, indent=2))
        return 0
    if not records:
        print(f"no runs in {options.store / 'runs'}")
        return 0
    print(f"{'run':<4} {'date':<16} {'model':<24} {'commit':<8} tag")
    for record in records:
        print(line(record))
    return 0
