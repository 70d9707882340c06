"""A running ``vllm serve``: started or found again, waited for, watched, and stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.spec import ModelSpec
from pytest_pbias.models.vllm.command import VllmSettings, names, serve_command, without_secrets
from pytest_pbias.models.vllm.device import (
    Determinism,
    check_device,
    determinism,
    worker_environment,
)
from pytest_pbias.models.vllm.diagnosis import phase, trouble
from pytest_pbias.models.vllm.facts import server_facts
from pytest_pbias.models.vllm.hub import check_obtainable, hub_context
from pytest_pbias.models.vllm.kept import (
    KeptServer,
    KeptServers,
    is_healthy,
    new_record,
    server_key,
)
from pytest_pbias.models.vllm.weights import context_length

START_SECONDS = 1800.0
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0  # with a kept server that does not answer
_KEPT_ROOM = 2048  # tokens of context of a server that sessions to come will use


class VllmServer:
    """One ``vllm serve`` on a loopback port; it ends with this process, however that ends.

    A server that dies is started again once, on the same port; what was being asked meanwhile is
    retried by those who ask. When it dies again, ``lost`` is told why. One that an earlier session
    kept for the same model and arguments is used instead of starting another, and left running; so
    is one that this session is asked to keep.
    """

    def __init__(
        self,
        spec: ModelSpec,
        settings: VllmSettings,
        *,
        log: Path,
        longest: int,
        lost: Callable[[str], None],
        kept: KeptServers | None = None,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._longest = longest
        self._lost = lost
        self._kept = KeptServers() if kept is None else kept
        self._port = _free_port()
        self._context = _context(spec)
        room = max(longest, _KEPT_ROOM) if settings.keep else longest
        self.command = serve_command(
            spec, settings, port=self._port, longest=room, context=self._context
        )
        self._determinism: Determinism | None = None
        self._key = server_key(spec.served_identity, self.command[0])
        self._log = self._kept.log(self._key) if settings.keep else log
        self._process: ServerProcess | None = None
        self._record: KeptServer | None = None  # of a kept server, this session's or another's
        self._ready = False
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
        """Find or start it, and wait until it is healthy; ``say`` is told its phase now and then.

        Raises:
            InfrastructureError: it ended or was not healthy in time; names the log.
            ConfigurationError: a kept server has too little room for this session.
        """
        if self._settings.keep:
            with self._kept.lock(self._key, lambda: say("vLLM: another session is starting it")):
                self._start(say)
        else:
            self._start(say)
        self._ready = True
        self._watcher.start()

    def _start(self, say: Callable[[str], None]) -> None:
        if self._attach(say):
            return
        self._check()
        self._spawn(self._log)
        self._wait(say)
        self._put_ready()

    def _check(self) -> None:
        """See that the server can be had, before anything is started."""
        check_device(self.command[0])
        self._determine()
        if self._spec.hub is not None and not names(self._settings.arguments, "--download-dir"):
            check_obtainable(self._spec.hub, self._spec.revision)

    def _determine(self) -> None:
        if self._settings.deterministic:
            self._determinism = determinism(self.command[0], self._settings.arguments)

    def _attach(self, say: Callable[[str], None]) -> bool:
        """Use the kept server of this model and arguments, where there is one."""
        record = self._kept.find(self._key)
        if record is None or not (record.ready or self._settings.keep):
            return False
        self._record, own_port = record, self._port
        self._port, self._log = record.port, Path(record.log)
        try:
            if not record.ready:  # whoever started it was killed before it was healthy
                self._wait(say)
                self._put_ready()
                record = self._record
            if _answers(record):
                self._check_room(record)
                say(f"vLLM: using the kept server (process {record.pid}, port {record.port})")
                return True
        except InfrastructureError:
            pass
        if self._settings.keep:
            record.stop()  # it hangs, and another is to take its place
        self._record, self._port = None, own_port
        return False

    def _check_room(self, record: KeptServer) -> None:
        room, theirs = record.facts.get("max_model_len"), self._settings.arguments
        if not isinstance(room, int) or names(theirs, "--max-model-len"):
            return
        needed = min(self._longest, self._context or self._longest)
        if room < needed and names(record.command, "--max-model-len"):
            raise ConfigurationError(
                f"the kept vLLM server (process {record.pid}) takes {room} tokens and this run "
                f"may need {needed}: end it with `pbias server stop {record.port}`"
            )

    def _spawn(self, log: Path) -> None:
        env = {"VLLM_NO_USAGE_STATS": "1", **os.environ}
        env |= dict(self._determinism.environment) if self._determinism is not None else {}
        env |= worker_environment(self.command[0], self._settings.arguments)
        self._process = ServerProcess(
            self.command, log=log, env=env, grace=15.0, folder="VLLM_RPC_BASE_PATH"
        )
        self._process.start()
        if not self._settings.keep:
            return
        self._record = new_record(
            self._key,
            self._process.pid,
            self._port,
            name=self._spec.name,
            served_name=self._spec.served_name,
            log=log.resolve(),
            command=without_secrets(self.command),
        )
        self._kept.put(self._record)  # on record first: a session killed now leaves no stray
        self._process.keep()

    def _put_ready(self) -> None:
        """Have it on record that a kept server is healthy, and what it is."""
        if self._record is not None:
            self._record = replace(self._record, ready=True, facts=self.facts())
            self._kept.put(self._record)

    def _wait(self, say: Callable[[str], None]) -> None:
        start = said = time.monotonic()
        while not is_healthy(self._address):
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
        if self._process is not None:
            return self._process.running()
        return self._record is not None and self._record.running()

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
        at = self.command.index("--port") + 1
        self.command[at] = str(self._port)  # that of a kept server that was found
        self._determine()
        self._ready = False
        self._record = None
        self._spawn(self._log.with_suffix(".restart.log"))
        self._wait(lambda text: None)
        self._ready = True
        self._put_ready()

    def facts(self) -> dict[str, Any]:
        """What is known of the running server, as JSON: version, type of the weights, arguments."""
        if self._process is None and self._record is not None and self._record.facts:
            return dict(self._record.facts)
        facts = server_facts(self._spec, self._address, self.command, self._text())
        if self._determinism is not None:
            facts["deterministic"] = self._determinism.how
        return facts

    def stop(self) -> None:
        """End the server with its children; a kept one that is well is left running."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join(60.0)  # it may be starting the server anew
        process, self._process = self._process, None
        if process is not None and self._settings.keep and self._ready and process.running():
            process.leave()
        elif process is not None:
            process.stop()
            if self._record is not None:
                self._kept.drop(self._record)

    def _path(self) -> Path:
        return self._process.log if self._process is not None else self._log

    def _text(self) -> str:
        with contextlib.suppress(OSError):
            return self._path().read_text("utf-8", "replace")
        return ""

    def _trouble(self) -> str:
        return trouble(self._text(), self._path())


def _answers(record: KeptServer) -> bool:
    """Whether a kept server is well; one under another session's load may take its time."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while record.running():
        if record.healthy():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return False


def _context(spec: ModelSpec) -> int | None:
    if spec.hub is not None:
        return hub_context(spec.hub, spec.revision)
    return None if spec.path is None else context_length(spec.path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
