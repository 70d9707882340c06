"""Options of kept runs: this one's tag, and the one it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.plugin.options import read_flag, read_option
from pytest_pbias.reporting.comparing import parse_expression
from pytest_pbias.runs import LATEST, LATEST_OF, find_run, list_runs
from pytest_pbias.tasks import TASKS

_MOST_TAG = 60


@dataclass(frozen=True)
class RunSettings:
    """How this run is kept, and what it is compared with.

    ``compare`` is the name given, ``earlier`` the file it stands for: None where no run is kept
    yet and the newest was asked for. ``fail`` is the expression to judge by, or None.
    """

    tag: str = ""
    compare: str | None = None
    earlier: Path | None = None
    fail: str | None = None
    anyway: bool = False


def read_runs(config: pytest.Config, store_dir: Path) -> RunSettings:
    """Read the options of kept runs, and find the one to compare with.

    Raises:
        ConfigurationError: a value is impossible, or there is no such run.
    """
    tag = read_option(config, "tag") or ""
    reserved = tag.isdecimal() or tag == LATEST or tag.startswith(LATEST_OF)
    if reserved or len(tag) > _MOST_TAG or not tag.isprintable():
        raise ConfigurationError(
            f"--pbias-tag: {tag!r} cannot be a tag; give one line of at most {_MOST_TAG} "
            "characters that is neither a number nor 'latest'"
        )
    compare, fail = read_option(config, "compare"), read_option(config, "compare-fail")
    if fail is not None:
        if compare is None:
            raise ConfigurationError("--pbias-compare-fail needs --pbias-compare=RUN")
        try:
            parse_expression(fail, SCOPES)
        except ConfigurationError as error:
            raise ConfigurationError(f"--pbias-compare-fail: {error}") from None
    return RunSettings(
        tag=tag,
        compare=compare,
        earlier=None if compare is None else _earlier(compare, store_dir),
        fail=fail,
        anyway=read_flag(config, "compare-anyway"),
    )


SCOPES = ("utility", "safety", *TASKS)


def _earlier(name: str, store_dir: Path) -> Path | None:
    """The run's file. The first run of all has nothing to be compared with, which is no mistake."""
    model = name.removeprefix(LATEST_OF) if name.startswith(LATEST_OF) else None
    newest = name == LATEST or bool(model)
    if newest and not any(model in (None, run.model) for run in list_runs(store_dir)):
        return None
    try:
        return find_run(name, store_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"--pbias-compare: {error}") from None
