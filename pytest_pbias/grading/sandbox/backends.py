"""Ways to start an interpreter that can do no harm, and which of them works on this machine."""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pytest_pbias.grading.sandbox import guest
from pytest_pbias.grading.sandbox.seccomp import only_computing

CPU_SECONDS = 10  # MBPP's slowest reference takes 4 to 5 of them, by the machine
MEMORY_BYTES = 512 * 1024 * 1024
FILE_BYTES = 1024 * 1024
OPEN_FILES = 32
THREADS = 64
SCRATCH_BYTES = 16 * 1024 * 1024
SCRATCH_FILES = 1024
_EVALUATOR_CPU_SECONDS = 3600  # it serves many programs; the wall clock limits it
_PROBE_SECONDS = 30
_NOBODY = "65534"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_PACKAGES = ("site-packages", "dist-packages")  # within the standard library, and not of it

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of sandbox. ``start(code)`` runs Python source in it, with pipes to 0 and 1.

    The source begins with the limits, which bring what the sandbox does before and after them.
    """

    name: str
    missing: Callable[[], str | None]
    start: Callable[[str, int], Process]

    def start_guest(self, program: str) -> Process:
        """Start the ``candidate`` or the ``evaluator`` under its limits."""
        cpu = CPU_SECONDS if program == "candidate" else _EVALUATOR_CPU_SECONDS
        return self.start(_limits(cpu) + guest.source("values", program), subprocess.DEVNULL)


def _limits(cpu: int) -> str:
    numbers = f"{cpu}, {MEMORY_BYTES}, {FILE_BYTES}, {OPEN_FILES}, {THREADS}"
    return f"{guest.source('limits')}\nlimit({numbers})\n"


@dataclass(frozen=True, slots=True)
class _Footprint:
    """The files that a bare interpreter is made of, by the paths at which it looks for them."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


@functools.cache
def _footprint() -> _Footprint:
    """Ask a bare interpreter for its standard library and its shared libraries.

    Raises:
        OSError: it does not say.
    """
    command = [*_interpreter(), "-c", guest.source("footprint")]
    done = subprocess.run(
        command, env={}, cwd="/", capture_output=True, timeout=_PROBE_SECONDS, check=False
    )
    try:
        path, libraries = ast.literal_eval(done.stdout.decode("utf-8"))
    except (SyntaxError, ValueError):
        raise OSError("the interpreter does not say which files it is made of") from None

    def outermost(paths: list[str], folders: list[str]) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(
                one for one in paths if not any(one.startswith(f"{each}/") for each in folders)
            )
        )

    return _Footprint(outermost(path, path), outermost(libraries, path))


def _interpreter() -> tuple[str, ...]:
    return (os.path.realpath(sys.executable), "-I", "-S", "-B")


def _popen(command: list[str], stderr: int) -> Process:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={},
        cwd="/",
        start_new_session=True,
    )


@functools.cache
def _bubblewrap_command() -> tuple[str, ...]:
    """Namespaces with the interpreter's files, three devices and no ``/proc``.

    A user who is not root is nobody in a user namespace. Root makes no such namespace, in which
    nobody would still be root to the kernel and to ``/proc/sys``: the interpreter becomes the real
    nobody before it runs anything. What rights are kept are given up at the same point.
    """
    footprint = _footprint()
    paths = (*footprint.folders, *footprint.files, *_interpreter()[:1])
    above = {str(folder) for path in (*paths, *_DEVICES) for folder in PurePath(path).parents}
    binds: list[str] = []
    for folder in sorted(above - {"/"}):
        binds += ["--perms", "0111", "--dir", folder]  # for all to pass, for none to list
    for path in paths:
        binds += ["--ro-bind", os.path.realpath(path), path]
    for folder in footprint.folders:
        for packages in _PACKAGES:
            installed = os.path.join(folder, packages)
            if os.path.isdir(installed):
                binds += ["--tmpfs", installed, "--remount-ro", installed]
    for device in _DEVICES:
        binds += ["--dev-bind", device, device]
    if os.geteuid() == 0:
        rights = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        user: list[str] = []
    else:
        rights = []
        user = ["--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY]
    return (
        *(shutil.which("bwrap") or "bwrap", *user, "--unshare-ipc", "--unshare-pid"),
        *("--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"),
        *("--new-session", "--clearenv", "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"),
        *rights,
        *binds,
        *("--dir", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"),
    )


def _no_bubblewrap() -> str | None:
    if shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    return _no_landlock()


def _start_bubblewrap(code: str, stderr: int) -> Process:
    into = _confined(only_computing(scratch=True), scratch=(SCRATCH_BYTES, SCRATCH_FILES))
    return _popen([*_bubblewrap_command(), "--", *_interpreter(), "-c", into + code], stderr)


def _confined(
    bpf: bytes | None,
    *,
    scratch: tuple[int, int] | None = None,
    readable: tuple[Sequence[str], ...] | None = None,
) -> str:
    """The text by which an interpreter confines itself, before any other."""
    said = f"FILTER = {bpf!r}\nSCRATCH = {scratch!r}\nREADABLE = {readable!r}\n"
    return said + guest.source("confine")


def _no_landlock() -> str | None:
    if only_computing() is None:
        return f"there is no system-call filter for {platform.machine()}"
    return None


def _start_landlock(code: str, stderr: int) -> Process:
    """Nothing but reading the interpreter's own files and computing; no scratch folder either."""
    footprint = _footprint()
    readable = (footprint.folders, footprint.files, _DEVICES)
    into = _confined(only_computing(), readable=readable)
    return _popen([*_interpreter(), "-c", into + code], stderr)


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
    code = _limits(CPU_SECONDS)
    try:
        with (
            _bait() as bait,
            backend.start(code + bait + guest.source("escape"), subprocess.PIPE) as tried,
        ):
            output, errors = tried.communicate(timeout=_PROBE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
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
    """What there is to reach on the host, as source text for the program that tries to.

    Anyone may read and write the file: only the sandbox keeps a program from it.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        file = Path(folder, "bait")
        file.touch()
        file.chmod(0o666)
        file.parent.chmod(0o755)
        abstract.bind("")
        abstract.listen()
        host = {
            "file": str(file),
            "port": server.getsockname()[1],
            "abstract": abstract.getsockname(),
            "process": os.getpid(),
            "user": os.geteuid(),
            "scratch": SCRATCH_BYTES,
            "files": SCRATCH_FILES,
            "memory": MEMORY_BYTES,
            "threads": THREADS,
        }
        yield f"HOST = {host!r}\n"
