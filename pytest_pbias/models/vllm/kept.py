"""Servers that outlive a session: on record, found again, listed and stopped.

A record lies in the user's state folder. It is written before the server is let go, so a session
killed at any moment leaves either a server on record or none. A process id alone may have passed
to another program: the record has the start of the process and of the machine as well, and nothing
is signalled where they differ.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.process import start_time
from pytest_pbias.models.vllm.weights import ask_local
from pytest_pbias.writing import whole_file

_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.1
_HEALTH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class KeptServer:
    """A server on record. ``pid`` guards it; ``ready`` once it has been healthy."""

    key: str
    pid: int
    started: int
    boot: str
    port: int
    name: str
    served_name: str
    log: str
    command: tuple[str, ...]
    created: float
    ready: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it answers, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def running(self) -> bool:
        """Whether the very process on record still runs."""
        return self.boot == _boot() and start_time(self.pid) == self.started

    def healthy(self) -> bool:
        """Whether it answers, and under the name on record: another may have taken its port."""
        return self.running() and is_healthy(self.address) and self.served_name in _names(self)

    def stop(self) -> None:
        """End it with its children; do nothing where it is gone already."""
        if not self.running():
            return
        groups = _children(self.pid)  # the server leads a process group of its own
        _signal(os.kill, self.pid, signal.SIGTERM)
        if _gone(self, _STOP_SECONDS):
            return
        _signal(os.kill, self.pid, signal.SIGKILL)
        for group in groups:
            _signal(os.killpg, group, signal.SIGKILL)
        _gone(self, _STOP_SECONDS)


class KeptServers:
    """The records in ``folder``; that of the user where it is None."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = state_folder() if folder is None else folder

    def all(self) -> list[KeptServer]:
        """Every server that runs, oldest first; records of others are dropped."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            record = _read(path)
            if record is not None and record.running():
                found.append(record)
            else:
                path.unlink(missing_ok=True)
        return sorted(found, key=lambda record: record.created)

    def find(self, key: str) -> KeptServer | None:
        """The running server with this key."""
        record = _read(self.folder / f"{key}.json")
        return record if record is not None and record.running() else None

    def put(self, record: KeptServer) -> None:
        """Write a record whole, for this user's eyes only.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        path = self.folder / f"{record.key}.json"
        try:
            self._make_folder()
            with whole_file(path) as partial:
                partial.chmod(0o600)
                partial.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"the server cannot be kept: {path} cannot be written: {error.strerror}"
            ) from None

    def drop(self, record: KeptServer) -> None:
        """Forget a server that has ended, unless another has taken its place."""
        now = _read(self.folder / f"{record.key}.json")
        if now is not None and (now.pid, now.started) == (record.pid, record.started):
            (self.folder / f"{record.key}.json").unlink(missing_ok=True)

    def log(self, key: str) -> Path:
        """Where a kept server writes."""
        return self.folder / f"{key}.log"

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Let one session at a time look for a server and start it; ``waiting`` if another does.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        try:
            self._make_folder()
            file = (self.folder / f"{key}.lock").open("w")
        except OSError as error:
            raise ConfigurationError(
                f"the server cannot be kept: {self.folder}: {error.strerror}"
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def state_folder() -> Path:
    """``$PBIAS_STATE_DIR``, else ``pytest-pbias/servers`` in the user's state folder."""
    own = os.environ.get("PBIAS_STATE_DIR")
    if own:
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(base) / "pytest-pbias" / "servers"


def server_key(identity: str, command: str, environment: Sequence[str] = ()) -> str:
    """What a session must have in common with a kept server: model, arguments, ``vllm`` itself."""
    parts = json.dumps([identity, command, *environment])
    return hashlib.sha256(parts.encode()).hexdigest()[:20]


def new_record(
    key: str, pid: int, port: int, *, name: str, served_name: str, log: Path, command: Sequence[str]
) -> KeptServer:
    """The record of a server that this process has just started."""
    started = start_time(pid)
    return KeptServer(
        key=key,
        pid=pid,
        started=-1 if started is None else started,
        boot=_boot(),
        port=port,
        name=name,
        served_name=served_name,
        log=str(log),
        command=tuple(command),
        created=time.time(),
    )


def is_healthy(address: str) -> bool:
    """Whether the server at an address says that it is well."""
    try:
        with ask_local(f"{address}/health", _HEALTH_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _names(record: KeptServer) -> list[str]:
    try:
        with ask_local(f"{record.address}/v1/models", _HEALTH_SECONDS) as answer:
            return [row["id"] for row in json.load(answer)["data"]]
    except urllib.error.HTTPError as error:  # 401: it has a key, and names no models without
        return [record.served_name] if error.code == 401 else []
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return []


def _read(path: Path) -> KeptServer | None:
    """A record, or None where there is none or it is not one of ours."""
    try:
        plain = json.loads(path.read_text("utf-8"))
        record = KeptServer(**{**plain, "command": tuple(plain["command"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = [record.pid, record.started, record.port]
    return record if all(isinstance(one, int) for one in whole) and record.pid > 1 else None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, number)


def _gone(record: KeptServer, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while record.running():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True
