"""A running ``vllm serve``: started, waited for, watched, and stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.spec import ModelSpec, ServerFacts
from pytest_pbias.models.vllm.command import VllmSettings, names, serve_command
from pytest_pbias.models.vllm.device import (
    Determinism,
    check_device,
    cpu_arguments,
    determinism,
)
from pytest_pbias.models.vllm.diagnosis import phase, trouble
from pytest_pbias.models.vllm.facts import server_facts
from pytest_pbias.models.vllm.hub import check_obtainable, hub_context
from pytest_pbias.models.vllm.weights import ask_local, context_length

START_SECONDS = 1800.0
_POLL_SECONDS = 0.5
_HEALTH_SECONDS = 2.0


class VllmServer:
    """One ``vllm serve`` on a loopback port; it ends with this process, however that ends.

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
        self._spec = spec
        self._settings = settings
        self._lost = lost
        self._port = _free_port()
        self.command = serve_command(
            spec, settings, port=self._port, longest=longest, context=_context(spec)
        )
        self._determinism: Determinism | None = None
        self._log = log
        self._process: ServerProcess | None = None
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="pbias-vllm", daemon=True)
        self.restarts = 0

    @property
    def base_url(self) -> str:
        """Where it is asked."""
        return f"{self._address}/v1"

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # -- starting ------------------------------------------------------------------------------

    def start(self, say: Callable[[str], None]) -> None:
        """Start it and wait until it is healthy; ``say`` is told its phase now and then.

        Raises:
            InfrastructureError: it ended or was not healthy in time; names the log.
        """
        self._check()
        self._spawn(self._log)
        self._wait(say)
        self._watcher.start()

    def _check(self) -> None:
        """See that the server can be had, before anything is started."""
        check_device(self.command[0])
        given = self._settings.arguments
        before = len(self.command) - len(given)
        self.command[before:before] = cpu_arguments(self.command[0], given)
        self._determine()
        if self._spec.hub is not None and not names(given, "--download-dir"):
            check_obtainable(self._spec.hub, self._spec.revision)

    def _determine(self) -> None:
        if self._settings.deterministic:
            self._determinism = determinism(self.command[0], self._settings.arguments)

    def _spawn(self, log: Path) -> None:
        env = {"VLLM_NO_USAGE_STATS": "1", **os.environ}
        env |= dict(self._determinism.environment) if self._determinism is not None else {}
        if env.get("VLLM_LOGGING_LEVEL") != "DEBUG":
            # How far it is and what it runs are read off its log (TRL asks for errors only).
            env["VLLM_LOGGING_LEVEL"] = "INFO"
        self._process = ServerProcess(
            self.command, log=log, env=env, grace=15.0, folder="VLLM_RPC_BASE_PATH"
        )
        self._process.start()

    def _wait(self, say: Callable[[str], None]) -> None:
        start = said = time.monotonic()
        while not self._healthy():
            now = time.monotonic()
            if not self._running():
                raise InfrastructureError(f"vLLM ended before it was ready: {self._trouble()}")
            if now - start > START_SECONDS:
                raise InfrastructureError(
                    f"vLLM was not ready within {START_SECONDS:g} s: {self._trouble()}"
                )
            if now - said >= 10.0:
                said = now
                say(f"vLLM: {phase(self._text())}, {now - start:.0f} s (log: {self._path()})")
            if self._ended.wait(_POLL_SECONDS):
                raise InfrastructureError("vLLM was stopped while it started")

    # -- running -------------------------------------------------------------------------------

    def _running(self) -> bool:
        return self._process is not None and self._process.running()

    def _healthy(self) -> bool:
        """Whether it takes requests."""
        try:
            with ask_local(f"{self._address}/health", _HEALTH_SECONDS) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _watch(self) -> None:
        """Restart a server that died, once."""
        while not self._ended.wait(_POLL_SECONDS):
            if self._running():
                continue
            why = self._trouble()
            if self.restarts:
                self._lost(f"vLLM died again after it was started anew: {why}")
                return
            self.restarts += 1
            try:
                self._restart()
            except (InfrastructureError, ConfigurationError) as error:
                if not self._ended.is_set():
                    self._lost(f"vLLM died ({why}) and could not be started anew: {error}")
                return

    def _restart(self) -> None:
        self._determine()
        self._spawn(self._log.with_suffix(".restart.log"))
        self._wait(lambda text: None)

    def facts(self) -> ServerFacts:
        """What is known of the running server: version, type of the weights, arguments."""
        how = None if self._determinism is None else self._determinism.how
        return server_facts(self._spec, self._address, self.command, self._text(), how)

    def stop(self) -> None:
        """End the server with its children."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join(60.0)  # it may be starting the server anew
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def _path(self) -> Path:
        return self._process.log if self._process is not None else self._log

    def _text(self) -> str:
        with contextlib.suppress(OSError):
            return self._path().read_text("utf-8", "replace")
        return ""

    def _trouble(self) -> str:
        return trouble(self._text(), self._path())


def _context(spec: ModelSpec) -> int | None:
    if spec.hub is not None:
        return hub_context(spec.hub, spec.revision)
    return None if spec.path is None else context_length(spec.path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
