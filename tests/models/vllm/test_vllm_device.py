"""What a build of vLLM needs of a machine, and when answers can be made to repeat."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.vllm import VllmServer, VllmSettings
from pytest_pbias.models.vllm.device import (
    check_device,
    cpu_arguments,
    determinism,
    installed_version,
)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], str]:
    """Makes the command of an environment in which that version of vLLM is installed."""

    def make(version: str) -> str:
        place = tmp_path / version
        place.mkdir()
        python = place / "python"
        python.write_text(f"#!/bin/sh\necho {version}\n")
        command = place / "vllm"
        command.write_text(f"#!{python}\n")
        for path in (python, command):
            path.chmod(0o755)
        return str(command)

    return make


def _nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    folder.mkdir(exist_ok=True)
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_build_for_gpus_is_not_started_without_one(
    build: Callable[[str], str], tmp_path: Path
) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    command = build("0.33.0")
    with pytest.raises(ConfigurationError, match=r"vLLM 0\.33\.0 needs a GPU and this machine has"):
        check_device(command, devices)
    (devices / "nvidia0").touch()
    check_device(command, devices)


def test_the_build_for_the_cpu_needs_nothing(build: Callable[[str], str], tmp_path: Path) -> None:
    check_device(build("0.32.0+cpu"), tmp_path / "no devices")


def test_the_build_for_the_cpu_reads_prompts_whole(build: Callable[[str], str]) -> None:
    command = build("0.32.0+cpu")
    assert cpu_arguments(command, ("--dtype", "float32")) == ["--no-enable-chunked-prefill"]
    for given in ("--enable-chunked-prefill", "--no-enable-chunked-prefill"):
        assert cpu_arguments(command, (given,)) == []
    assert cpu_arguments(build("0.32.0"), ()) == []


def test_a_command_of_another_kind_is_left_to_say_itself(fake_command: str, tmp_path: Path) -> None:
    assert installed_version(fake_command) is None
    assert installed_version(str(tmp_path / "nothing")) is None
    broken = tmp_path / "vllm"
    broken.write_text(f"#!{sys.executable}-that-is-gone\n")
    assert installed_version(str(broken)) is None
    check_device(fake_command, tmp_path / "no devices")


@pytest.mark.parametrize("arguments", [("--dtype", "float32"), ("--dtype=float32",)])
def test_on_the_cpu_float32_repeats_without_a_flag(
    build: Callable[[str], str], arguments: tuple[str, ...]
) -> None:
    found = determinism(build("0.32.0+cpu"), arguments)
    assert found.environment == ()
    assert "float32" in found.how


@pytest.mark.parametrize("arguments", [(), ("--dtype", "bfloat16"), ("--dtype",)])
def test_on_the_cpu_other_types_do_not(
    build: Callable[[str], str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError, match="--dtype float32"):
        determinism(build("0.32.0+cpu"), arguments)


@pytest.mark.parametrize("said", ["8.0\\n", "9.0\\n8.6\\n"])
def test_a_gpu_that_can_gets_the_flag(
    build: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    _nvidia_smi(tmp_path / "bin", monkeypatch, said)
    assert determinism(build("0.33.0"), ()).environment == (("VLLM_BATCH_INVARIANT", "1"),)


@pytest.mark.parametrize(
    ("said", "reason"),
    [("7.5\\n9.0\\n", "this GPU has 7.5"), ("", "nvidia-smi tells"), ("[N/A]", "nvidia-smi tells")],
)
def test_a_gpu_that_cannot_is_one_line(
    build: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    reason: str,
) -> None:
    _nvidia_smi(tmp_path / "bin", monkeypatch, said)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        determinism(build("0.33.0"), ())
    assert "\n" not in str(caught.value)


def test_nothing_is_started_where_it_cannot_be_had(
    build: Callable[[str], str], tmp_path: Path, weights: Callable[[Path], Path]
) -> None:
    settings = VllmSettings(build("0.32.0+cpu"), deterministic=True)
    spec = resolve_model(str(weights(tmp_path)), vllm=settings)
    server = VllmServer(spec, settings, log=tmp_path / "log", longest=10, lost=print)
    with pytest.raises(ConfigurationError, match="dtype float32") as caught:
        server.start(print)
    assert caught.value.setting == "deterministic"
    server.stop()
    assert not (tmp_path / "log").exists()


def test_answers_that_repeat_are_not_those_that_may_not(
    fake_command: str, tmp_path: Path, weights: Callable[[Path], Path]
) -> None:
    model = str(weights(tmp_path))
    plain = resolve_model(model, vllm=VllmSettings(fake_command))
    exact = resolve_model(model, vllm=VllmSettings(fake_command, deterministic=True))
    assert plain.served_identity != exact.served_identity


def test_a_server_elsewhere_cannot_be_told() -> None:
    settings = VllmSettings(deterministic=True)
    with pytest.raises(ConfigurationError, match="start it with VLLM_BATCH_INVARIANT=1"):
        resolve_model("m", base_url="http://localhost:1/v1", vllm=settings)
    assert resolve_model("embedded", vllm=settings).kind == "embedded"
