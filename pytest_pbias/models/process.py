"""Server processes that this package starts: watched, logged, and never left behind."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pytest_pbias.errors import InfrastructureError

_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.05


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (field 22 of /proc/PID/stat); None if gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


class ServerProcess:
    """A server command in a process group of its own, writing to ``log``.

    It is ended with all its children by :meth:`stop`, by leaving the ``with`` block, and by the
    death of this process in any way, SIGKILL included (a guard process sees to that). The variable
    ``folder``, where it is given and not set yet, names a folder that lasts as long as the server.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        grace: float = 5.0,
        folder: str = "",
    ) -> None:
        self.command = list(command)
        self.log = Path(log)
        self._env = dict(os.environ if env is None else env)
        self._grace = grace
        self._folder = "" if folder in self._env else folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the command; its output replaces the log file.

        Raises:
            InfrastructureError: the log file cannot be written.
        """
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as out:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-I", str(_GUARD), str(self._grace), self._folder),
                        *self.command,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    start_new_session=True,
                )
        except OSError as error:
            raise InfrastructureError(
                f"cannot start {self.command[0]}: log file {self.log}: {error.strerror}"
            ) from error

    def wait_ready(self, pattern: str, timeout: float) -> re.Match[str]:
        """Wait for a log line that ``pattern`` matches, and return the match.

        Raises:
            InfrastructureError: the server ended before, or ``timeout`` seconds passed; names the
                log file and its last line.
        """
        line = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + timeout
        while True:
            running = self.running()
            match = line.search(self._read_log())
            if match is not None:
                return match
            if not running:
                raise InfrastructureError(f"{self._name} ended before it was ready; {self._last()}")
            if time.monotonic() >= end:
                self.stop()
                raise InfrastructureError(
                    f"{self._name} was not ready within {timeout:g} s; {self._last()}"
                )
            time.sleep(_POLL_SECONDS)

    def running(self) -> bool:
        """Whether the server still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that guards the server; SIGTERM to it ends the server and its children."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the server and its children: SIGTERM, and SIGKILL after the grace period."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.terminate()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(self._grace + 10.0)
        except subprocess.TimeoutExpired:
            process.kill()  # the server follows by PR_SET_PDEATHSIG
            process.wait()

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _name(self) -> str:
        return " ".join(self.command[:3])

    def _read_log(self) -> str:
        try:
            return self.log.read_text("utf-8", "replace")
        except OSError:
            return ""

    def _last(self) -> str:
        lines = [line for line in self._read_log().splitlines() if line.strip()]
        said = f"its last line: {lines[-1].strip()[:200]}" if lines else "it wrote nothing"
        return f"{said} (log: {self.log})"
