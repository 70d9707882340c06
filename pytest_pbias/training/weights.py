"""From the name a user gives to weights that can be trained."""

from __future__ import annotations

from pathlib import Path

from pytest_pbias.errors import ConfigurationError, near_matches
from pytest_pbias.models.aliases import EMBEDDED, load_aliases
from pytest_pbias.models.embedded import locate
from pytest_pbias.models.spec import shown_name
from pytest_pbias.models.vllm.hub import pinned_commit
from pytest_pbias.models.vllm.weights import is_path, weight_files


def trainable(name: str) -> str:
    """Folder or hub id of a model's weights: ``embedded``, an alias, a folder or a hub id.

    Raises:
        ConfigurationError: the name is unknown, an API is behind it, the folder holds no weights,
            or the hub does not have them.
        InfrastructureError: the hub cannot be asked, and its cache has no copy.
    """
    if name == EMBEDDED:
        return str(locate())
    aliases = load_aliases()
    if name in aliases:
        alias = aliases[name]
        if alias.base_url is not None:
            raise ConfigurationError(
                f"model {name!r} is behind an API, which gives no weights: train a folder or a "
                "hub id"
            )
        name = alias.served_name
    elif is_path(name):
        weight_files(Path(name))
        return name
    elif "/" not in name:
        local = [EMBEDDED, *(one for one, alias in aliases.items() if alias.base_url is None)]
        raise ConfigurationError(
            f"unknown model {shown_name(name)}: {near_matches(name, local)} (a folder or a hub id "
            "goes as well)"
        )
    pinned_commit(name)
    return name
