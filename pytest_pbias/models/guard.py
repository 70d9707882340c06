"""Runs one server command and ends it, with all its children, when whoever started it is gone.

Run as a script with the standard library only: ``python -I guard.py GRACE COMMAND...``. The parent
holds the other end of standard input; its end of file, for whatever reason, SIGKILL included,
means the parent is gone or wants the server stopped. A pipe is used rather than only
``PR_SET_PDEATHSIG``, because that signal follows the *thread* that forked. The guard adopts
processes that the server leaves behind, so that it can end these as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL_SECONDS = 0.5


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_guard() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _close_stdin(*_: object) -> None:
    with contextlib.suppress(OSError):
        os.close(0)


def main(grace: float, command: list[str]) -> int:
    """Run ``command`` until it ends or standard input closes; return its exit code."""
    parent = os.getppid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C is the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _close_stdin)
    # The server's own standard input stays open for as long as this guard lives.
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True, preexec_fn=_die_with_guard
    )
    try:
        while child.poll() is None and not _parent_gone(parent):
            pass
    finally:
        _end(child, grace)
    return child.returncode


def _parent_gone(parent: int) -> bool:
    try:
        ready, _, _ = select.select([0], [], [], _POLL_SECONDS)
        return bool(ready and not os.read(0, 4096)) or os.getppid() != parent
    except OSError:
        return True


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


def _children(child: subprocess.Popen[bytes]) -> list[int]:
    """Children of this process, adopted ones included, but the server once it has ended."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
    except OSError:
        return []
    ended = child.poll() is not None
    return [pid for pid in map(int, text.split()) if not (ended and pid == child.pid)]


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]) & 0xFF)
