"""Sessions of the tests, forked from a process that has the libraries imported already.

Most of what a small session takes is the import of its libraries, which say the same in each of a
thousand. A warm process imports them once, forks for every session, and sets the fork up as a new
interpreter would be: arguments, folder, environment, path, standard streams. The sessions
themselves are real processes with an exit status, and import this package anew.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import socket
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
)
"""What sessions import; nothing of this package, whose modules pytest rewrites."""

_UNREWRITTEN = "PYTEST_DONT_REWRITE"


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
    """Fork for each request; True in a fork, which is to run pytest, and False at the end."""
    while True:
        message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not message:
            return False
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _start(request, streams)
            return True
        for stream in streams:
            os.close(stream)
        connection.sendall(json.dumps(pid).encode() + b"\n")
        _, status = os.waitpid(pid, 0)
        connection.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode() + b"\n")


def main() -> None:
    """Import the libraries, then serve the connection on descriptor 3."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for module in list(sys.modules.values()):  # plugins among them are not to be rewritten, as ever
        if "." not in module.__name__:
            module.__doc__ = f"{module.__doc__ or ''}\n{_UNREWRITTEN}"
    if serve(socket.socket(fileno=3)):
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)


class WarmChild:
    """A session in a fork, with the part of ``subprocess.Popen`` that ``Pytester.run`` uses."""

    stdin = None

    def __init__(self, replies: TextIO) -> None:
        self._replies = replies
        self.pid = int(json.loads(replies.readline()))

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is None
        return int(json.loads(self._replies.readline()))


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
        self._replies = self._socket.makefile("r")

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """Whether an interpreter of this environment would be as the warm one is."""
        return python_variables(environment) == self._environment

    def run(self, arguments: Sequence[str], stdout: TextIO, stderr: TextIO) -> WarmChild:
        """Start pytest in the current folder with the current environment."""
        folder = os.getcwd()
        path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
        request = {
            "arguments": list(arguments),
            "folder": folder,
            "environment": {**os.environ, "PYTHONPATH": path},
        }
        with open(os.devnull) as nothing:
            streams = [nothing.fileno(), stdout.fileno(), stderr.fileno()]
            socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
        return WarmChild(self._replies)

    def stop(self) -> None:
        self._replies.close()
        self._socket.close()
        self._process.wait()


def python_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What a new interpreter reads of an environment, its path aside."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PYTHON") and name != "PYTHONPATH"
    } | {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "")}
