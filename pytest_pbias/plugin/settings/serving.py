"""Options of the vLLM server that is started for a model with local weights."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.vllm import VllmSettings
from pytest_pbias.plugin.options import read_flag, read_option, read_path


def read_vllm(config: pytest.Config) -> VllmSettings:
    """Read the options.

    Raises:
        ConfigurationError: the arguments are not a command line.
    """
    text = read_option(config, "vllm-args") or ""
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigurationError(f"--pbias-vllm-args: {text!r}: {error}") from None
    keep = read_flag(config, "keep-server")
    if keep and not Path("/proc/self/stat").exists():
        raise ConfigurationError(
            "--pbias-keep-server needs Linux: elsewhere a kept server cannot be told for certain "
            "from another program with its process id; start `vllm serve` and pass --pbias-base-url"
        )
    return VllmSettings(
        read_option(config, "vllm-command"),
        arguments,
        lora=read_path(config, "lora"),
        keep=keep,
        deterministic=read_flag(config, "deterministic"),
    )
