"""Line up several runs: stages of a family of models, or mitigations of one of them."""

from __future__ import annotations

import argparse
import json

from pytest_pbias.analysis.defenses import line_up
from pytest_pbias.cli.arguments import (
    add_option,
    add_reference_option,
    add_schema_option,
    policy_of,
)
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.outcomes.spool import LONG
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.markdown import titled_markdown
from pytest_pbias.reporting.paper import stages_json, stages_section
from pytest_pbias.reporting.terminal import section_lines

_MOST_NAME = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="in their order: number, name or tag of a kept run, 'latest-of-MODEL', or a file; "
        "NAME=RUN gives it a name of yours",
    )
    parser.add_argument(
        "--against",
        choices=["previous", "first"],
        default="previous",
        help="what each is compared with: the one before it (stages), or the first (mitigations)",
    )
    add_option(parser, "store", help="folder of the runs")
    add_reference_option(parser)
    add_option(parser, "joint")
    add_option(parser, "json", help="write it as JSON, with each comparison")
    add_schema_option(parser, "stages")
    add_option(parser, "markdown", help="write it as Markdown")
    add_option(parser, "html", help="write it as a page, with a plot")


def run(options: argparse.Namespace) -> int:
    """Print the table and write what was asked for.

    Raises:
        PbiasError: a run is not found, cannot be read or is given twice, or there is one only.
    """
    named = [_named(text) for text in options.runs]
    paths = [find_run(run, options.store) for _, run in named]
    for number, (path, (name, _)) in enumerate(zip(paths, named, strict=True)):
        if path in paths[:number]:
            other, _ = named[paths.index(path)]
            raise ConfigurationError(f"{other!r} and {name!r} are the same run, {path.name}")
    tables = [
        (name, OutcomeTable.read(path, leave_out=LONG))
        for path, (name, _) in zip(paths, named, strict=True)
    ]
    if len(tables) == 1 and len(tables[0][1].defenses()) == 1:
        raise ConfigurationError("one run alone cannot be lined up: give two or more")
    policy = policy_of(tables[0][1], options)
    stages = line_up(tables, policy, against=options.against)
    section = stages_section(stages, options.against)
    for line, _ in section_lines(section):
        print(line)
    if options.json is not None:
        plain = stages_json(stages, options.against)
        write_text(options.json, json.dumps(plain, indent=2) + "\n")
    if options.markdown is not None:
        write_text(options.markdown, titled_markdown(section.title, section))
    if options.html is not None:
        from pytest_pbias.reporting.html import sections_page

        write_text(options.html, sections_page(section.title, [section]))
    return 0


def _named(text: str) -> tuple[str, str]:
    """The name that a run is shown by, and the run."""
    name, equals, run = text.partition("=")
    if equals and name.strip() and run.strip():
        return name.strip()[:_MOST_NAME], run
    return text[-_MOST_NAME:], text
