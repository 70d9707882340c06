"""The prompt defences of a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_pbias.mitigation.defenses import Defense, resolve_defenses
from pytest_pbias.plugin.options import read_option


def read_defenses(config: pytest.Config) -> tuple[Defense, ...]:
    """What ``--pbias-defense`` asks for; files are relative to where the option was given.

    Raises:
        ConfigurationError: a name is unknown, or a file is malformed.
    """
    wanted = read_option(config, "defense") or "none"
    given_here = config.getoption("pbias_defense") is not None
    base = config.invocation_params.dir if given_here else config.rootpath
    return resolve_defenses(wanted, lambda name: base / Path(name).expanduser())
