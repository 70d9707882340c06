"""Options of the judges: which, by which endpoint, and whether identities are masked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_pbias.grading.judges import DEFAULT_JUDGE, JudgeModel
from pytest_pbias.plugin.options import read_flag, read_option, read_path
from pytest_pbias.plugin.settings.readers import read_number, read_whole


@dataclass(frozen=True)
class JudgeSettings:
    """``wanted`` is the list of judges as given; ``model`` is whom judges by a model ask."""

    wanted: str
    model: JudgeModel
    mask: bool


def read_judging(config: pytest.Config, store_dir: Path) -> JudgeSettings:
    """Read the options.

    Raises:
        ConfigurationError: a value is impossible.
    """
    return JudgeSettings(
        wanted=read_option(config, "judge") or DEFAULT_JUDGE,
        model=JudgeModel(
            store_dir=store_dir,
            model=read_option(config, "judge-model"),
            base_url=read_option(config, "judge-base-url"),
            key_env=read_option(config, "judge-api-key-env"),
            aliases=read_path(config, "aliases"),
            concurrency=read_whole(config, "judge-concurrency", least=1) or 32,
            timeout=read_number(config, "timeout", least=0.0, most=86_400.0, above=True) or 120.0,
            prices=read_path(config, "prices"),
            offline=read_flag(config, "offline"),
        ),
        mask=read_option(config, "judge-mask") != "off",
    )
