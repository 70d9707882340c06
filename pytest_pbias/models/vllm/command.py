"""The command line that starts ``vllm serve``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How ``vllm serve`` is started.

    The ``command`` is found where None; ``arguments`` are passed through; ``lora`` is the folder of
    an adapter; ``deterministic`` asks for answers that do not depend on the batch.
    """

    command: str | None = None
    arguments: tuple[str, ...] = ()
    lora: Path | None = None
    deterministic: bool = False

    @property
    def identifying(self) -> tuple[str, ...]:
        """What may change answers: the arguments but for keys, and whether they must repeat."""
        exact = ["deterministic"] if self.deterministic else []
        return (*without_secrets(self.arguments), *exact)


def find_vllm(command: str | None = None) -> str:
    """The ``vllm`` command: the one given, that of this environment, or the first on the path.

    Raises:
        ConfigurationError: there is none.
    """
    if command is not None:
        found = shutil.which(command)
        if found is None:
            raise ConfigurationError(f"--pbias-vllm-command: there is no command {command}")
        return found
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.exists() else shutil.which("vllm")
    if found is None:
        raise ConfigurationError(
            "local weights need vLLM, which is not installed: pip install 'pytest-pbias[vllm]'"
        )
    return found


def serve_command(
    spec: ModelSpec,
    settings: VllmSettings,
    *,
    port: int,
    longest: int,
    context: int | None = None,
) -> list[str]:
    """The command that serves ``spec`` on a loopback port, for prompts and answers of ``longest``.

    ``context`` is what the model itself takes. What the user passes through wins over what is set
    here.

    Raises:
        ConfigurationError: there is no ``vllm``.
    """
    given = settings.arguments
    command = [find_vllm(settings.command), "serve", str(spec.path or spec.hub)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--served-model-name", spec.base_name]
    if not names(given, "--enable-prefix-caching", "--no-enable-prefix-caching"):
        command.append("--enable-prefix-caching")
    if spec.hub is not None and not names(given, "--revision"):
        command += ["--revision", spec.revision]
    if not names(given, "--max-model-len") and context is not None and longest < context:
        command += ["--max-model-len", str(longest)]
    if spec.adapter is not None:
        command += ["--enable-lora", "--lora-modules", f"{spec.adapter.name}={spec.adapter.folder}"]
        if not names(given, "--max-lora-rank"):
            command += ["--max-lora-rank", str(spec.adapter.room)]
    return [*command, *given]


def names(arguments: Sequence[str], *options: str) -> bool:
    """Whether one of ``options`` is among the arguments, as ``--a b`` or ``--a=b``."""
    return any(argument.split("=")[0] in options for argument in arguments)


_SECRET = ("--api-key", "--hf-token")


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """The arguments with the values of keys and tokens left out; for records and reports."""
    shown: list[str] = []
    hidden = False  # within the values of a secret option; --api-key takes several
    for argument in arguments:
        if not argument.startswith("-"):
            shown.append("***" if hidden else argument)
            continue
        option, equals, _ = argument.partition("=")
        hidden = option in _SECRET and not equals
        shown.append(f"{option}=***" if option in _SECRET and equals else argument)
    return shown


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option, as ``--a b`` or ``--a=b``; the last one counts."""
    value = None
    for number, argument in enumerate(arguments):
        if argument == name and number + 1 < len(arguments):
            value = arguments[number + 1]
        elif argument.startswith(f"{name}="):
            value = argument.partition("=")[2]
    return value
