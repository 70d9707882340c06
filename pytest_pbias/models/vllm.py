"""A ``vllm serve`` of our own: found, started, waited for, watched, and stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.spec import ModelSpec

START_SECONDS = 1800.0
_POLL_SECONDS = 0.5
_HINTS = (
    ("gated repo", "the model is gated: accept its licence on the hub and set HF_TOKEN"),
    ("401 client error", "the hub rejects the token: set HF_TOKEN"),
    ("no space left", "the disk is full: free some space for the weights"),
    ("out of memory", "the GPU has too little memory: a smaller model, or --pbias-vllm-args"),
    ("no available memory for the cache", "too little memory is left for the KV cache: see "
     "--gpu-memory-utilization and --max-model-len in --pbias-vllm-args"),
    ("failed to infer device type", "vLLM finds no GPU; its CPU build runs without one"),
    ("not supported for now", "this version of vLLM does not know the model's architecture"),
    ("offline mode", "the weights are not in the cache and the hub may not be asked"),
)  # fmt: skip
_PHASES = (
    ("Application startup complete", "ready"),
    ("Capturing CUDA graph", "warming up"),
    ("torch.compile", "compiling"),
    ("GPU KV cache size", "warming up"),
    ("Loading weights", "loading weights"),
    ("Loading safetensors", "loading weights"),
    ("Initializing a V1 LLM engine", "starting the engine"),
)


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How ``vllm serve`` is started: the command (found where None), arguments passed through."""

    command: str | None = None
    arguments: tuple[str, ...] = ()


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


def weights_identity(folder: Path, arguments: Sequence[str]) -> str:
    """What identifies a served folder: its weights, tokenizer and configuration, and arguments.

    Raises:
        ConfigurationError: it holds no weights that vLLM serves.
    """
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not weights or not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"{folder} is not a model folder: it needs config.json and *.safetensors"
        )
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.json")), *sorted(folder.glob("*.jinja")), *weights]:
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    digest.update(json.dumps(list(arguments)).encode())
    return digest.hexdigest()


class VllmServer:
    """One ``vllm serve`` on a free loopback port; it ends with this process, however that ends.

    A server that dies is started again once, on the same port; what was being asked meanwhile is
    retried by those who ask. When it dies again, ``lost`` is told why.
    """

    def __init__(
        self,
        spec: ModelSpec,
        settings: VllmSettings,
        *,
        log: Path,
        longest: int,
        lost: Callable[[str], None],
    ) -> None:
        self._port = _free_port()
        self.base_url = f"http://127.0.0.1:{self._port}/v1"
        self._health = f"http://127.0.0.1:{self._port}/health"
        self._lost = lost
        self._log = log
        self.command = self._command(spec, settings, longest)
        self._process = self._new_process(log)
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="pbias-vllm", daemon=True)
        self.restarts = 0

    def _command(self, spec: ModelSpec, settings: VllmSettings, longest: int) -> list[str]:
        given = settings.arguments
        command = [find_vllm(settings.command), "serve", str(spec.path or spec.served_name)]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--served-model-name", spec.served_name]
        if not _names(given, "--enable-prefix-caching", "--no-enable-prefix-caching"):
            command.append("--enable-prefix-caching")
        length = _model_length(spec.path)
        if not _names(given, "--max-model-len") and length is not None and longest < length:
            command += ["--max-model-len", str(longest)]
        return [*command, *given]

    def _new_process(self, log: Path) -> ServerProcess:
        env = {"VLLM_NO_USAGE_STATS": "1", **os.environ}
        return ServerProcess(self.command, log=log, env=env, grace=15.0)

    def start(self, say: Callable[[str], None]) -> None:
        """Start it and wait until it is healthy; ``say`` is told its phase now and then.

        Raises:
            InfrastructureError: it ended or was not healthy in time; names the log.
        """
        self._process.start()
        self._wait(say)
        self._watcher.start()

    def _wait(self, say: Callable[[str], None]) -> None:
        start = time.monotonic()
        said = start
        while not self._healthy():
            now = time.monotonic()
            if not self._process.running():
                raise InfrastructureError(f"vLLM ended before it was ready: {self._trouble()}")
            if now - start > START_SECONDS:
                self._process.stop()
                raise InfrastructureError(
                    f"vLLM was not ready within {START_SECONDS:g} s: {self._trouble()}"
                )
            if now - said >= 10.0:
                said = now
                say(f"vLLM: {self._phase()}, {now - start:.0f} s (log: {self._log})")
            if self._ended.wait(_POLL_SECONDS):
                raise InfrastructureError("vLLM was stopped while it started")

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self._health, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _watch(self) -> None:
        """Restart a server that died, once."""
        while not self._ended.wait(_POLL_SECONDS):
            if self._process.running():
                continue
            why = self._trouble()
            if self.restarts:
                self._lost(f"vLLM died again after it was started anew: {why}")
                return
            self.restarts += 1
            try:
                self._process = self._new_process(self._log.with_suffix(".restart.log"))
                self._process.start()
                self._wait(lambda text: None)
            except InfrastructureError as error:
                if not self._ended.is_set():
                    self._lost(f"vLLM died ({why}) and could not be started anew: {error}")
                return

    def stop(self) -> None:
        """End the server with its children."""
        self._ended.set()
        self._process.stop()
        if self._watcher.is_alive():
            self._watcher.join(30.0)

    def _text(self) -> str:
        with contextlib.suppress(OSError):
            return self._process.log.read_text("utf-8", "replace")
        return ""

    def _phase(self) -> str:
        text = self._text()
        return next((phase for mark, phase in _PHASES if mark in text), "starting")

    def _trouble(self) -> str:
        """One line: what the log says went wrong, and where the log is."""
        text = self._text()
        for mark, hint in _HINTS:
            if mark in text.lower():
                return f"{hint} (log: {self._process.log})"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"\b\w*Error\b", line)] or lines
        last = re.sub(r"\x1b\[[0-9;]*m", "", telling[-1])[:200] if telling else "it wrote nothing"
        return f"{last} (log: {self._process.log})"


def _names(arguments: Sequence[str], *options: str) -> bool:
    return any(argument.split("=")[0] in options for argument in arguments)


def _model_length(folder: Path | None) -> int | None:
    """The context length a model folder states, in tokens, or None."""
    if folder is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
