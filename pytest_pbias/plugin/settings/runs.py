"""Options of kept runs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.plugin.options import read_option

_MOST_TAG = 60


@dataclass(frozen=True)
class RunSettings:
    """How this run is kept."""

    tag: str = ""


def read_runs(config: pytest.Config) -> RunSettings:
    """Read the options of kept runs.

    Raises:
        ConfigurationError: a value is impossible.
    """
    tag = read_option(config, "tag") or ""
    reserved = tag.isdecimal() or tag == "latest" or tag.startswith("latest-of-")
    if reserved or len(tag) > _MOST_TAG or not tag.isprintable():
        raise ConfigurationError(
            f"--pbias-tag: {tag!r} cannot be a tag; give one line of at most {_MOST_TAG} "
            "characters that is neither a number nor 'latest'"
        )
    return RunSettings(tag=tag)
