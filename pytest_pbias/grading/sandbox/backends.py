"""Ways to start an interpreter that can do no harm, and which of them works on this machine."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_pbias.grading.sandbox import guest
from pytest_pbias.grading.sandbox.seccomp import no_new_processes, only_computing

CPU_SECONDS = 5
MEMORY_BYTES = 512 * 1024 * 1024
FILE_BYTES = 1024 * 1024
OPEN_FILES = 32
_SCRATCH_BYTES = 16 * 1024 * 1024
_EVALUATOR_CPU_SECONDS = 3600  # it serves many programs; the wall clock limits it
_PROBE_SECONDS = 30

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of sandbox. ``start(code)`` runs Python source in it, with pipes to 0 and 1."""

    name: str
    missing: Callable[[], str | None]
    start: Callable[[str, int], Process]

    def start_guest(self, program: str) -> Process:
        """Start the ``candidate`` or the ``evaluator`` under its limits."""
        cpu = CPU_SECONDS if program == "candidate" else _EVALUATOR_CPU_SECONDS
        limits = f"limit({cpu}, {MEMORY_BYTES}, {FILE_BYTES}, {OPEN_FILES})\n"
        code = guest.source("limits") + limits + guest.source("values", program)
        return self.start(code, subprocess.DEVNULL)


def _readable() -> list[str]:
    """The folders of the interpreter and of the system's libraries; no home folder."""
    roots = {sys.base_prefix, sysconfig.get_path("stdlib"), "/usr", "/lib", "/lib64", "/bin"}
    return sorted(root for root in roots if os.path.isdir(root))


def _interpreter() -> tuple[str, ...]:
    return (os.path.realpath(sys.executable), "-I", "-S", "-B")


def _popen(command: list[str], stderr: int, pass_fds: tuple[int, ...] = ()) -> Process:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={},
        cwd="/",
        pass_fds=pass_fds,
        start_new_session=True,
    )


@functools.cache
def _bubblewrap_command() -> tuple[str, ...]:
    binds: list[str] = []
    for root in _readable():
        if os.path.islink(root):
            binds += ["--symlink", os.readlink(root), root]
        else:
            binds += ["--ro-bind", root, root]
    return (
        *(shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent"),
        *("--new-session", "--clearenv", "--cap-drop", "ALL"),
        *binds,
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(_SCRATCH_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"),
    )


def _no_bubblewrap() -> str | None:
    if shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    if no_new_processes() is None:
        return f"there is no system-call filter for {platform.machine()}"
    return None


def _start_bubblewrap(code: str, stderr: int) -> Process:
    with tempfile.TemporaryFile() as filter_file:
        filter_file.write(no_new_processes() or b"")
        filter_file.seek(0)
        descriptor = filter_file.fileno()
        command = [*_bubblewrap_command(), "--seccomp", str(descriptor), "--", *_interpreter()]
        return _popen([*command, "-c", code], stderr, (descriptor,))


def _no_landlock() -> str | None:
    if only_computing() is None:
        return f"there is no system-call filter for {platform.machine()}"
    return None


def _start_landlock(code: str, stderr: int) -> Process:
    """Nothing but reading the interpreter's own files and computing; no scratch folder either."""
    confined = (
        f"READABLE = {_readable()!r}\nDEVICES = ['/dev/null']\nFILTER = {only_computing()!r}\n"
        + guest.source("confine")
    )
    # The limits come first: the filter then forbids to change them.
    return _popen([*_interpreter(), "-c", _limits_first(code, confined)], stderr)


def _limits_first(code: str, confined: str) -> str:
    limits, call, rest = code.partition("\nlimit(")
    if not call:
        return confined + code
    arguments, newline, program = rest.partition("\n")
    return limits + call + arguments + newline + confined + program


BUBBLEWRAP = Backend("bubblewrap", _no_bubblewrap, _start_bubblewrap)
LANDLOCK = Backend("Landlock and seccomp", _no_landlock, _start_landlock)
BACKENDS = (BUBBLEWRAP, LANDLOCK)


@functools.cache
def why_not(backend: Backend) -> str | None:
    """Why a backend cannot be used here, or None: found by trying to break out of it, once."""
    if sys.platform != "linux":
        return "model code is only run on Linux"
    missing = backend.missing()
    if missing is not None:
        return missing
    try:
        with (
            _bait() as bait,
            backend.start(bait + guest.source("escape"), subprocess.PIPE) as tried,
        ):
            output, errors = tried.communicate(timeout=_PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{backend.name} cannot run here: {error}"
    said = output.decode("utf-8", "replace").strip()
    if said == "held":
        return None
    if said:
        return f"{backend.name} does not hold here: a program in it {said}"
    lines = errors.decode("utf-8", "replace").strip().splitlines() or ["no output"]
    return f"{backend.name} cannot run here: {lines[-1][:200]}"


@contextlib.contextmanager
def _bait() -> Iterator[str]:
    """A file and a listening port on the host, as source text for the program that tries them."""
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        yield f"HOST_FILE = {file.name!r}\nHOST_PORT = {server.getsockname()[1]}\n"
