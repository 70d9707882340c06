"""What a ``vllm`` command was built for, what this machine has, and what makes answers repeat."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.vllm.command import names, option

_SECONDS = 60.0
_VERSION = "import importlib.metadata as m; print(m.version('vllm'))"
# Device files of what vLLM's builds run on: NVIDIA (WSL too), AMD, Intel, TPU, Neuron, Gaudi, NPU.
_ACCELERATORS = ("nvidia[0-9]*", "dxg", "kfd", "dri/render*", "accel*", "vfio/[0-9]*", "neuron*",
                 "hl[0-9]*", "davinci*")  # fmt: skip
_LEAST_CAPABILITY = 8.0


@dataclass(frozen=True, slots=True)
class Determinism:
    """What makes answers independent of the batch: variables of the server, and a word on it."""

    environment: tuple[tuple[str, str], ...]
    how: str


def check_device(command: str, devices: Path = Path("/dev")) -> None:
    """See that this machine has what the ``vllm`` command was built for.

    Nothing is said where the build cannot be told.

    Raises:
        ConfigurationError: it needs a GPU or the like, and there is none.
    """
    version = installed_version(command)
    if version is None or _for_cpu(version):
        return
    if not any(any(devices.glob(pattern)) for pattern in _ACCELERATORS):
        raise ConfigurationError(
            f"vLLM {version} needs a GPU and this machine has none: use vLLM's CPU build, or a "
            "server elsewhere by its address",
            setting="base-url",
        )


def cpu_arguments(command: str, given: Sequence[str]) -> list[str]:
    """What vLLM's CPU build is told besides; nothing where it is another build.

    Where a prompt is read in several steps, a request with a seed ends its engine ("CPU Generator
    does not use offset", seen in 0.32): prompts are read whole, unless the user says otherwise.
    """
    version = installed_version(command)
    if version is None or not _for_cpu(version):
        return []
    chunks = "--enable-chunked-prefill"
    return [] if names(given, chunks, f"--no-{chunks[2:]}") else [f"--no-{chunks[2:]}"]


def determinism(command: str, arguments: Sequence[str]) -> Determinism:
    """What answers that do not depend on the batch take here.

    Raises:
        ConfigurationError: this machine cannot do it.
    """
    version = installed_version(command)
    if version is not None and _for_cpu(version):
        # Measured: float32 answers are the same in any batch and order; bfloat16 ones are not.
        if option(arguments, "--dtype") not in ("float32", "float"):
            raise ConfigurationError(
                "on the CPU answers depend on the batch but in float32: give vLLM the arguments "
                "'--dtype float32'",
                setting="deterministic",
            )
        return Determinism((), "float32 on the CPU, which takes no flag")
    capability = _compute_capability()
    if capability is None:
        raise ConfigurationError(
            "this needs an NVIDIA GPU whose compute capability nvidia-smi tells",
            setting="deterministic",
        )
    if capability < _LEAST_CAPABILITY:
        raise ConfigurationError(
            f"this needs compute capability {_LEAST_CAPABILITY:.1f} and this GPU has "
            f"{capability:.1f}: leave it out, and let an A/A run say how much answers move",
            setting="deterministic",
        )
    return Determinism((("VLLM_BATCH_INVARIANT", "1"),), "VLLM_BATCH_INVARIANT=1")


@lru_cache(maxsize=16)  # three ask for it, and each time an interpreter starts
def installed_version(command: str) -> str | None:
    """The version of vLLM that a command belongs to, from its interpreter's environment."""
    python = _interpreter(command)
    if python is None:
        return None
    said = _output([python, "-I", "-c", _VERSION])
    return said.splitlines()[-1] if said else None


def _for_cpu(version: str) -> bool:
    return "cpu" in version.partition("+")[2]


def _interpreter(command: str) -> str | None:
    """The Python in a script's first line."""
    try:
        with Path(command).open("rb") as stream:
            first = stream.readline(500)
    except OSError:
        return None
    words = first.removeprefix(b"#!").decode("utf-8", "replace").split()
    if not first.startswith(b"#!") or not words or "python" not in Path(words[0]).name:
        return None
    return words[0]


def _compute_capability() -> float | None:
    """The lowest of this machine's NVIDIA GPUs, or None."""
    tool = shutil.which("nvidia-smi")
    said = _output([tool, "--query-gpu=compute_cap", "--format=csv,noheader"]) if tool else ""
    try:
        return min(float(line) for line in said.split())
    except ValueError:
        return None


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
