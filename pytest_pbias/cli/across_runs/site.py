"""Write kept runs as a static site: an index to search and sort, and a report of each run."""

from __future__ import annotations

import argparse
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.cli.across_runs.history import chosen_runs
from pytest_pbias.cli.arguments import add_option, whole
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import RunRecord, list_runs
from pytest_pbias.outcomes.spool import LONG

_MARK = ".pbias-site"  # in a folder that a site may be replaced in


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("out", type=Path, metavar="OUT", help="the site's folder")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="runs of these models alone")
    add_option(
        parser, "tag", action="append", default=[], help="runs with this tag, beside the models'"
    )
    add_option(parser, "store", help="folder of the runs")
    parser.add_argument("--last", type=whole(1), metavar="N", help="the newest N of them")
    parser.add_argument("--title", default="Personalization bias", help="the heading of the index")
    add_option(parser, "seed", help="seed of the permutation tests")


def run(options: argparse.Namespace) -> int:
    """Write the site, whole or not at all.

    Raises:
        PbiasError: there is no run, one cannot be read, or the folder is something else's.
    """
    from pytest_pbias.reporting.html.site import make_site

    records = chosen_runs(list_runs(options.store), options.models, options.tag, options.store)
    records = records[-options.last :] if options.last is not None else records
    try:
        _require_ours(options.out)
        pages = make_site(_read(records, options.seed), options.title)
        _replace(options.out.absolute(), pages)
    except OSError as error:
        raise ConfigurationError(
            f"the site {options.out} cannot be written: {error.strerror or error}"
        ) from None
    size = sum(len(text.encode()) for text in pages.values())
    print(f"{options.out / 'index.html'}: {len(records)} runs, {size / 1e6:.1f} MB")
    return 0


def _read(
    records: Sequence[RunRecord], seed: int
) -> Iterator[tuple[RunRecord, OutcomeTable, RunSummary]]:
    """Each run with its summary, by the policy that it was decided by."""
    for record in records:
        table = OutcomeTable.read(record.path, leave_out=LONG)
        yield record, table, summarize(table, GatePolicy.of_run(table.info), seed=seed)


def _require_ours(out: Path) -> None:
    """Refuse a place where something other than a site of ours stands."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise ConfigurationError(
            f"{out} is where this runs, and the site's folder is replaced as a whole: name another"
        )
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise ConfigurationError(f"{out} is no folder: choose another place for the site")
    if any(out.iterdir()) and not (out / _MARK).is_file():
        raise ConfigurationError(
            f"{out} holds files that are no site of pbias: choose another, or an empty folder"
        )


def _replace(out: Path, pages: Mapping[str, str]) -> None:
    """Put the pages in the place of an older site; what is there stays until all are written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name[:40]}.{secrets.token_hex(6)}.part")
    old = fresh.with_suffix(".old")
    try:
        for name, text in {**pages, _MARK: ""}.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists():
            old.rename(out)
