"""Many kept runs: personalization bias over time, and whether it drifts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pytest_pbias.analysis.across_runs.condition import decide_condition
from pytest_pbias.analysis.across_runs.history import make_history, share_runs
from pytest_pbias.cli.arguments import (
    add_gate_cues_option,
    add_option,
    add_schema_option,
    gate_cues,
    whole,
)
from pytest_pbias.errors import ConfigurationError, DataError, near_matches
from pytest_pbias.files.writing import save_bytes
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import RunRecord, list_runs
from pytest_pbias.outcomes.spool import LONG
from pytest_pbias.reporting.history import history_json, history_section, spark_lines
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.markdown import section_markdown
from pytest_pbias.reporting.tables import HistoryPlot
from pytest_pbias.reporting.terminal import section_lines

_IMAGES = (".png", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="runs of these models (default: of all)"
    )
    add_option(
        parser, "tag", action="append", default=[], help="runs with this tag, beside the models'"
    )
    parser.add_argument("--defense", help="the prompt defense to compare (default: without one)")
    add_option(parser, "store", help="folder of the runs")
    add_gate_cues_option(parser)
    parser.add_argument(
        "--last", type=whole(2), metavar="N", help="the newest N runs that can be compared"
    )
    parser.add_argument(
        "--fail",
        metavar="EXPR",
        help="exit with 1 where a trend or shift is beyond noise: 'pb_safety>+1.0, cell_mmlu<-5'",
    )
    add_option(parser, "gate", help="prove: exit with 1 also where --fail is not ruled out")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PB over the runs: .png or .svg")
    add_option(parser, "json", help="write the history as JSON")
    add_schema_option(parser, "history")
    add_option(parser, "markdown", help="write it as Markdown")
    add_option(parser, "html", help="write it as a page")


def run(options: argparse.Namespace) -> int:
    """Print the history; 1 where ``--fail`` holds, 0 otherwise.

    Raises:
        PbiasError: fewer than two runs can be compared, or nothing is called as was said.
    """
    if options.plot is not None and options.plot.suffix.lower() not in _IMAGES:
        raise ConfigurationError(f"{options.plot}: a plot is a file that ends in .png or .svg")
    records = chosen_runs(list_runs(options.store), options.models, options.tag, options.store)
    policy = GatePolicy.of_run(OutcomeTable.read_info(records[-1].path))
    policy = replace(policy, cues=gate_cues(options, policy))
    shared = share_runs(_tables(records), policy, defense=options.defense, most=options.last)
    history = make_history(shared, policy)
    gate = None
    if options.fail is not None:
        gate = decide_condition(options.fail, shared, alpha=policy.alpha)
    section = history_section(history, gate)
    for line in spark_lines(history, sys.stdout.encoding):
        print(line)
    for line, _ in section_lines(section):
        print(line)
    if options.json is not None:
        write_text(options.json, json.dumps(history_json(history, gate), indent=2) + "\n")
    if options.markdown is not None:
        write_text(options.markdown, section_markdown(section))
    if options.html is not None:
        from pytest_pbias.reporting.html import history_page

        write_text(options.html, history_page(history, gate))
    if options.plot is not None:
        _write_plot(options.plot, section.blocks)
    if gate is None or gate.verdict is Verdict.PASS:
        return 0
    return int(gate.verdict is Verdict.FAIL or options.gate == "prove")


def _tables(records: Sequence[RunRecord]) -> Iterator[tuple[str, Callable[[], OutcomeTable]]]:
    """The runs, newest first, and what reads each."""
    for record in reversed(records):
        yield record.name, partial(OutcomeTable.read, record.path, leave_out=LONG)


def _write_plot(path: Path, blocks: Sequence[object]) -> None:
    from pytest_pbias.reporting.html import history_image

    (plot,) = (block for block in blocks if isinstance(block, HistoryPlot))
    save_bytes(path, history_image(plot, path.suffix.lower().lstrip(".")), "the plot")


def chosen_runs(
    records: Sequence[RunRecord], models: Sequence[str], tags: Sequence[str], store: Path
) -> list[RunRecord]:
    """The runs of the models and those with the tags, oldest first; all where none is named.

    Raises:
        ConfigurationError: a name fits no run, or there is none at all.
    """
    if not records:
        raise DataError(f"no run is kept in {store / 'runs'}")
    for said, kind, known in (
        (models, "model", [one.model for one in records]),
        (tags, "tag", [one.tag for one in records]),
    ):
        for name in said:
            if name not in known:
                hint = near_matches(
                    name, dict.fromkeys(filter(None, known)), most=6, rest="`pbias runs` lists all"
                )
                raise ConfigurationError(f"no run has the {kind} {name[:100]!r}: {hint}")
    if not models and not tags:
        return list(records)
    return [one for one in records if one.model in models or (one.tag and one.tag in tags)]
