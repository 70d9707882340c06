"""Runs one server command and ends it, with all its children, when whoever started it is gone.

Run as a script with the standard library only: ``python -I guard.py GRACE FOLDER COMMAND...``;
FOLDER names a variable that is given a folder of the server's own ('' for none). The parent holds
the other end of standard input; its end of file, for whatever reason, SIGKILL included,
means the parent is gone or wants the server stopped. A pipe is used rather than only
``PR_SET_PDEATHSIG``, because that signal follows the *thread* that forked. The guard adopts
processes that the server leaves behind, so that it can end these as well. The folder, and shared
memory that only the server's processes had, go when the server has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL_SECONDS = 0.5
_SHARED = "/dev/shm/"


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_guard() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Watch:
    """Whether the server is to be ended."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._asked, self._ask = os.pipe()

    def ask_to_end(self, *_: object) -> None:
        """What SIGTERM does."""
        os.write(self._ask, b"x")

    def ended(self) -> bool:
        """Wait a moment for a reason to end the server."""
        ready, _, _ = select.select([self._asked, 0], [], [], _POLL_SECONDS)
        if self._asked in ready:
            return True
        if ready and not os.read(0, 4096):
            return True
        return os.getppid() != self._parent


def main(grace: float, variable: str, command: list[str]) -> int:
    """Run ``command`` until it ends or is to be ended; return its exit code."""
    watch, start = _Watch(), time.time()
    folder = tempfile.mkdtemp(prefix="pbias-") if variable else None
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C is the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, watch.ask_to_end)
    # The server's own standard input stays open for as long as this guard lives.
    env = os.environ if folder is None else {**os.environ, variable: folder}
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_guard,
            env=env,
        )
        try:
            while child.poll() is None and not watch.ended():
                pass
        finally:
            memory = _shared_memory(start)
            _end(child, grace)
            _remove(memory)
        return child.returncode
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
    _signal_group(child.pid, signal.SIGKILL)
    end = time.monotonic() + 5.0
    while (left := _children(child)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.01)
    child.wait()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _shared_memory(since: float) -> set[str]:
    """Files of shared memory, made ``since`` then, that the processes below this one have."""
    return {path for path in _mapped(_below(os.getpid())) if _changed(path) >= since - 1.0}


def _remove(paths: set[str]) -> None:
    """Remove shared memory that no process has any more; what is killed cannot do so itself."""
    if not paths:
        return
    everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    for path in paths - _mapped(everyone):
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _mapped(pids: Iterator[int]) -> set[str]:
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace").splitlines()
            found |= {line[line.index(_SHARED) :] for line in lines if _SHARED in line}
    return {path for path in found if not path.endswith(" (deleted)")}


def _below(pid: int) -> Iterator[int]:
    """The processes below one."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in map(int, (task / "children").read_text("ascii").split()):
                yield child
                yield from _below(child)


def _changed(path: str) -> float:
    with contextlib.suppress(OSError):
        return Path(path).stat().st_ctime
    return 0.0


def _children(child: subprocess.Popen[bytes]) -> list[int]:
    """Children of this process, adopted ones included, but the server once it has ended."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
    except OSError:
        return []
    ended = child.poll() is not None
    return [pid for pid in map(int, text.split()) if not (ended and pid == child.pid)]


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]) & 0xFF)
