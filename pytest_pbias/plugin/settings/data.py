"""Which part of each data set is asked, and with how many examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.plugin.options import read_flag, read_option
from pytest_pbias.plugin.settings.readers import read_whole
from pytest_pbias.tasks import resolve_task


@dataclass(frozen=True)
class DataSettings:
    """``splits`` by task name, the number of examples, and whether the network is left alone."""

    splits: Mapping[str, str]
    shots: int
    offline: bool


def read_data(config: pytest.Config) -> DataSettings:
    """Read and check the options about data.

    Raises:
        ConfigurationError: a value is impossible; the message names the option.
    """
    return DataSettings(
        splits=_splits(read_option(config, "split") or ""),
        shots=read_whole(config, "shots", least=0) or 0,
        offline=read_flag(config, "offline"),
    )


def _splits(pairs: str) -> dict[str, str]:
    splits: dict[str, str] = {}
    for pair in pairs.replace(",", " ").split():
        name, equals, split = pair.partition("=")
        if not equals or not split:
            raise ConfigurationError(f"--pbias-split: {pair!r} is not of the form TASK=SPLIT")
        task = resolve_task(name)
        if split not in task.splits:
            raise ConfigurationError(
                f"--pbias-split: task {name!r} has no split {split!r}: choose from "
                f"{', '.join(task.splits)}"
            )
        splits[name] = split
    return splits
