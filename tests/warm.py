"""Sessions of the tests, forked from a process that has the libraries imported already.

Most of what a small session takes is the import of its libraries, which say the same in each of a
thousand. A warm process imports them once, forks for every session, and sets the fork up as a new
interpreter would be: arguments, folder, environment, path, standard streams. The sessions
themselves are real processes with an exit status, and import this package anew.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

LIBRARIES = (
    "numpy",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pydantic",
    "openai",
    "httpx",
    "sqlite3",
    "pytest_pbias.plugin.collection",
    "pytest_pbias.models.embedded.server",
    "pytest_pbias.cli",
)
"""What sessions import."""

_UNREWRITTEN = "PYTEST_DONT_REWRITE"
_NUMBER = struct.Struct("q")


def _start(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Make this fork what a new interpreter with the arguments of the request would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    own = set(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    added = [folder for folder in own if folder not in sys.path]
    ordered = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = sorted(added, key=ordered.index)
    sys.path.insert(0, request["folder"])
    sys.argv = ["pytest", *request["arguments"]]


def serve(connection: socket.socket) -> bool:
    """Fork for each request; True in a fork, which is to run pytest, and False at the end.

    The last descriptor of a request is the line of this one session: its process id goes there,
    then its exit status. A test that stops waiting thus leaves nothing for the next to read.
    """
    while True:
        message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 4)
        if not message:
            return False
        *streams, line = streams
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            connection.close()
            os.close(line)
            _start(request, streams)
            return True
        for stream in streams:
            os.close(stream)
        with socket.socket(fileno=line) as session, contextlib.suppress(BrokenPipeError):
            session.sendall(_NUMBER.pack(pid))
            _, status = os.waitpid(pid, 0)
            session.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def main() -> None:
    """Import the libraries, then serve the connection on descriptor 3."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for module in list(sys.modules.values()):  # which pytest would rewrite, were they new to it
        if module.__name__ in LIBRARIES or "." not in module.__name__:
            module.__doc__ = f"{module.__doc__ or ''}\n{_UNREWRITTEN}"
    gc.collect()
    gc.freeze()  # or each session would look through all of it at its end, twice
    if serve(socket.socket(fileno=3)):
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)


class WarmChild:
    """A session in a fork, with the part of ``subprocess.Popen`` that ``Pytester.run`` uses."""

    stdin = None

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self.pid = self._next()

    def _next(self) -> int:
        number = self._line.recv(_NUMBER.size)
        if not number:
            raise RuntimeError("the warm process has ended: a session of this test is lost")
        return int(_NUMBER.unpack(number)[0])

    def wait(self, timeout: float | None = None) -> int:
        self._line.settimeout(timeout)
        try:
            status = self._next()
        except TimeoutError:
            raise subprocess.TimeoutExpired("a warm session", timeout or 0) from None
        self._line.close()
        return status

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class WarmProcess:
    """A process that forks sessions, one at a time."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        here = Path(__file__).parents[1]
        self._environment = python_variables(os.environ)
        theirs.set_inheritable(True)
        number = theirs.fileno()
        program = f"import os; os.dup2({number}, 3); from tests import warm; warm.main()"
        command = [sys.executable, "-c", program]
        self._process = subprocess.Popen(
            command, cwd=here, pass_fds=(number,), stdin=subprocess.DEVNULL
        )
        theirs.close()

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """Whether an interpreter of this environment would be as the warm one is."""
        alive = self._process.poll() is None
        return alive and python_variables(environment) == self._environment

    def run(self, arguments: Sequence[str], stdout: TextIO, stderr: TextIO) -> WarmChild:
        """Start pytest in the current folder with the current environment."""
        folder = os.getcwd()
        path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
        request = {
            "arguments": list(arguments),
            "folder": folder,
            "environment": {**os.environ, "PYTHONPATH": path},
        }
        ours, theirs = socket.socketpair()
        with open(os.devnull) as nothing, theirs:
            streams = [nothing.fileno(), stdout.fileno(), stderr.fileno(), theirs.fileno()]
            socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
        return WarmChild(ours)

    def stop(self) -> None:
        self._socket.close()
        self._process.wait()


def python_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What a new interpreter reads of an environment, its path aside."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PYTHON") and name != "PYTHONPATH"
    } | {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "")}
