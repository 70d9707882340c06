"""Options of a run that a Ray cluster asks."""

from __future__ import annotations

import importlib.util
import re

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import ModelSpec
from pytest_pbias.plugin.options import read_flag, read_option

_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")


def read_ray(config: pytest.Config, model: ModelSpec) -> str | None:
    """The address of the cluster, or None where this machine asks.

    Raises:
        ConfigurationError: Ray is not installed, or another option does not go with it.
    """
    address = read_option(config, "ray")
    if address is None:
        return None
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("--pbias-ray needs Ray: pip install 'pytest-pbias[ray]'")
    if address not in ("auto", "local") and not _ADDRESS.fullmatch(address):
        raise ConfigurationError(
            f"--pbias-ray: {address!r} is not an address: give HOST:PORT, ray://HOST:PORT, auto, "
            "or local"
        )
    if model.base_url is None:
        raise ConfigurationError(
            "--pbias-ray: a server that a run starts answers on its own machine only; serve "
            f"{model.name!r} on the cluster and give its address with --pbias-base-url"
        )
    for name in ("rpm", "tpm"):
        if read_option(config, name) is not None:
            raise ConfigurationError(
                f"--pbias-{name} holds for one asking process: leave it out with --pbias-ray, and "
                "set --pbias-concurrency, which the nodes share"
            )
    if read_flag(config, "batch"):
        raise ConfigurationError("--pbias-batch asks nothing that --pbias-ray could share out")
    return address
