"""Sessions of the tests, forked from a process that has all imported already.

Most of what a small session takes is its imports, which do the same in each of a thousand. A warm
process imports once, forks for every session and for every xdist worker of it, and sets the fork up
as a new interpreter would be: arguments, folder, environment, path, standard streams. Sessions and
workers are real processes with an exit status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from _pytest.config import default_plugins
from execnet import gateway_io
from execnet.gateway_base import Popen2IO
from execnet.xspec import XSpec

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
    "httpcore2",
    "vaderSentiment.vaderSentiment",
    "sqlite3",
    "pytest_pbias.plugin.collection",
    "pytest_pbias.models.embedded.server",
    "pytest_pbias.models.negotiation",
    "pytest_pbias.cli",
    *(f"_pytest.{name}" for name in default_plugins),
    *("anyio.pytest_plugin", "pytest_cov.plugin"),
)
"""What sessions import, but for xdist: it keeps the path that it was imported with for workers."""

_UNREWRITTEN = "PYTEST_DONT_REWRITE"
_NUMBER = struct.Struct("q")


@dataclass(frozen=True, slots=True)
class _Request:
    """What to run where: pytest with ``arguments``, or without any the worker of a session."""

    arguments: list[str] | None
    folder: str
    environment: dict[str, str]


def _serve(connection: socket.socket) -> tuple[_Request, WarmClient] | None:
    """Fork for each request; what to run is returned in the fork, and None at the end.

    With a request come three standard streams, the line of its process, which is told the process
    id and the exit status, and the connection itself, by which a session asks for its workers.
    """
    lines: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([connection.fileno(), *lines], [], [])
        for ended in lines.keys() & set(ready):
            pid, line = lines.pop(ended)
            os.close(ended)
            _, status = os.waitpid(pid, 0)
            _tell(line, os.waitstatus_to_exitcode(status))
            line.close()
        if connection.fileno() not in ready:
            continue
        message, given, _, _ = socket.recv_fds(connection, 1 << 20, 5)
        if not message:
            return None
        request = _Request(**json.loads(message))
        pid = os.fork()
        if pid == 0:
            connection.close()
            for watched, (_, line) in lines.items():
                os.close(watched)
                line.close()
            *streams, line_of_this, back = given
            os.close(line_of_this)
            _set_up(request, streams)
            return request, WarmClient(socket.socket(fileno=back))
        for stream in given[:3]:
            os.close(stream)
        os.close(given[4])
        line = socket.socket(fileno=given[3])
        lines[os.pidfd_open(pid)] = pid, line
        _tell(line, pid)


def _tell(line: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # nobody waits for it any more
        line.sendall(_NUMBER.pack(number))


def _set_up(request: _Request, streams: Sequence[int]) -> None:
    """Make this fork what a new interpreter would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    own = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:0] = [folder for folder in dict.fromkeys(own) if folder not in sys.path]
    sys.path.insert(0, request.folder)


def main() -> None:
    """Import everything, then serve the connection on descriptor 3."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _make_once()
    for module in list(sys.modules.values()):  # pytest would rewrite some, were they new to it
        module.__doc__ = f"{module.__doc__ or ''}\n{_UNREWRITTEN}"
    gc.collect()
    gc.freeze()  # or each session would look through all of it at its end, twice
    found = _serve(socket.socket(fileno=3))
    if found is None:
        return
    request, client = found
    if request.arguments is None:
        exec(eval(sys.stdin.readline()), {"__name__": "__main__"})  # as execnet's workers begin
        return
    _fork_workers(client)
    sys.argv = ["pytest", *request.arguments]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


def _make_once() -> None:
    """Have made what each session makes once for itself: certificates, readers, word lists."""
    from pytest_pbias.grading.traits import choose_traits
    from pytest_pbias.models.transport import find_route
    from pytest_pbias.outcomes import OutcomeTable
    from pytest_pbias.prompts import BASELINE

    find_route("http://127.0.0.1/v1")
    choose_traits().measure("Is it good?", "I am glad to say that it is a good day.", BASELINE)
    assert OutcomeTable.read(Path(__file__).parent / "data" / "outcomes-v2.parquet").info


def _fork_workers(client: WarmClient) -> None:
    """Have execnet take its processes from the warm one, where an interpreter would be the same."""
    usual = gateway_io.Popen2IOMaster.__init__
    usual_arguments = gateway_io.popen_args(XSpec("popen"))
    variables = python_variables(os.environ)

    def start(self: gateway_io.Popen2IOMaster, args: list[str], execmodel: Any) -> None:
        if args != usual_arguments or python_variables(os.environ) != variables:
            usual(self, args, execmodel)
            return
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self.popen = client.start(None, dict(os.environ), [theirs_in, theirs_out, 2])
        os.close(theirs_in)
        os.close(theirs_out)
        streams = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")
        Popen2IO.__init__(self, *streams, execmodel=execmodel)

    gateway_io.Popen2IOMaster.__init__ = start  # type: ignore[method-assign]


class WarmChild:
    """A fork, with the part of ``subprocess.Popen`` that Pytester and execnet use."""

    stdin = None

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._status: int | None = None
        self.pid = self._next()

    def _next(self) -> int:
        number = self._line.recv(_NUMBER.size)
        if not number:
            raise RuntimeError("the warm process has ended: a session of this test is lost")
        return int(_NUMBER.unpack(number)[0])

    def wait(self, timeout: float | None = None) -> int:
        if self._status is None:
            self._line.settimeout(timeout)
            try:
                self._status = self._next()
            except TimeoutError:
                raise subprocess.TimeoutExpired("a warm session", timeout or 0) from None
            self._line.close()
        return self._status

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)


class WarmClient:
    """Asks the warm process for forks. Several may, each of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def start(
        self, arguments: Sequence[str] | None, environment: dict[str, str], streams: Sequence[int]
    ) -> WarmChild:
        """Start pytest with arguments, or a worker, in the current folder."""
        words = None if arguments is None else list(arguments)
        request = asdict(_Request(words, os.getcwd(), environment))
        ours, theirs = socket.socketpair()
        with theirs:
            given = [*streams, theirs.fileno(), self._connection.fileno()]
            socket.send_fds(self._connection, [json.dumps(request).encode()], given)
        return WarmChild(ours)

    def close(self) -> None:
        self._connection.close()


class WarmProcess:
    """A process that forks sessions."""

    def __init__(self) -> None:
        # Each message is whole, whoever else sends: a session does for its workers.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._client = WarmClient(ours)
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
        self.pid = self._process.pid

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """Whether an interpreter of this environment would be as the warm one is."""
        possible = hasattr(os, "pidfd_open") and self._process.poll() is None
        return possible and python_variables(environment) == self._environment

    def run(self, arguments: Sequence[str], stdout: TextIO, stderr: TextIO) -> WarmChild:
        """Start pytest in the current folder with the current environment."""
        path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")]))
        with open(os.devnull) as nothing:
            streams = [nothing.fileno(), stdout.fileno(), stderr.fileno()]
            return self._client.start(arguments, {**os.environ, "PYTHONPATH": path}, streams)

    def stop(self) -> None:
        self._client.close()
        self._process.wait()


def python_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What a new interpreter reads of an environment, its path aside."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PYTHON") and name != "PYTHONPATH"
    } | {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "")}
