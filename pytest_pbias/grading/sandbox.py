"""Running model-written code: in bubblewrap, without network, files, or more than its share.

The program runs in namespaces of its own with a read-only view of the interpreter and an empty
scratch folder, and a system-call filter lets it start no process; limits hold on CPU time,
memory, open files and output. Nothing that the program prints or exits with makes it correct: a
secret is sent into the sandbox only after the candidate's definitions have run, and must come
back once for each test that held.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import secrets
import selectors
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from pytest_pbias.errors import InfrastructureError
from pytest_pbias.grading.seccomp import no_new_processes

Outcome = Literal["passed", "failed", "timeout", "error"]

WALL_SECONDS = 10.0
CPU_SECONDS = 5
MEMORY_BYTES = 512 * 1024 * 1024
FILE_BYTES = 1024 * 1024
OPEN_FILES = 32
_MOST_OUTPUT = 64 * 1024

# Runs inside the sandbox. The candidate runs first; then one line with the secret and the tests
# is read, and each test that holds is acknowledged on a descriptor of its own.
_RUNNER = """
import os, resource, sys
limits = ((resource.RLIMIT_CPU, {cpu}), (resource.RLIMIT_AS, {memory}),
          (resource.RLIMIT_FSIZE, {file}), (resource.RLIMIT_NOFILE, {files}),
          (resource.RLIMIT_CORE, 0))
for which, most in limits:
    resource.setrlimit(which, (most, most))
read, write, leave = os.read, os.write, os._exit
def line():
    got = b""
    while not got.endswith(b"\\n"):
        more = read(0, 65536)
        if not more:
            leave(3)
        got += more
    return got.decode("utf-8", "surrogatepass")
source = eval(line(), {{"__builtins__": {{}}}})
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 2)
space = {{"__name__": "candidate"}}
code = compile(source, "candidate", "exec")
saved = os.dup(1)
os.dup2(null, 1)
os.dup2(null, 2)
build = compile
run = exec
ready = b"ready\\n"
run(code, space)
write(saved, ready)
secret, tests = eval(line(), {{"__builtins__": {{}}}})
for test in tests:
    run(build(test, "test", "exec"), space)
    write(saved, secret.encode() + b"\\n")
leave(0)
"""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """Whether model code can be run safely here, and if not, why."""

    available: bool
    reason: str


@functools.cache
def probe() -> SandboxStatus:
    """Find out, once a process, whether the sandbox works: by running a program in it."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        return SandboxStatus(False, "bubblewrap (bwrap) is not installed")
    if no_new_processes() is None:
        return SandboxStatus(False, f"there is no system-call filter for {platform.machine()}")
    try:
        process = _start("print('ok')", stderr=subprocess.PIPE)
        output, errors = process.communicate(timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return SandboxStatus(False, f"bubblewrap cannot run here: {error}")
    if output.strip() != b"ok":
        lines = errors.decode("utf-8", "replace").strip().splitlines() or ["no output"]
        return SandboxStatus(False, f"bubblewrap cannot run here: {lines[-1][:200]}")
    return SandboxStatus(True, "bubblewrap")


@functools.cache
def _bubblewrap() -> tuple[str, ...]:
    """The command up to the interpreter."""
    binds: list[str] = []
    # Only the interpreter and the system's libraries exist inside: no home folder is bound.
    roots = {sys.base_prefix, sysconfig.get_path("stdlib"), "/usr", "/lib", "/lib64", "/bin"}
    for root in sorted(roots):
        if os.path.islink(root):
            binds += ["--symlink", os.readlink(root), root]
        elif os.path.isdir(root):
            binds += ["--ro-bind", root, root]
    return (
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        *("--cap-drop", "ALL"),
        *binds,
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(16 * 1024 * 1024), "--tmpfs", "/tmp"),
        *("--chdir", "/tmp"),
    )


def _interpreter() -> tuple[str, ...]:
    return ("--", os.path.realpath(sys.executable), "-I", "-S", "-B")


def run_tests(source: str, tests: Sequence[str], *, wall_seconds: float = WALL_SECONDS) -> Outcome:
    """Run a program and then its tests; ``passed`` means that every test held.

    Raises:
        InfrastructureError: there is no safe sandbox here.
    """
    status = probe()
    if not status.available:
        raise InfrastructureError(
            f"model code is not run: {status.reason}; install bubblewrap, or deselect the "
            "programming task with -k 'not mbpp'"
        )
    secret = secrets.token_hex(16)
    runner = _RUNNER.format(cpu=CPU_SECONDS, memory=MEMORY_BYTES, file=FILE_BYTES, files=OPEN_FILES)
    process = _start(runner)
    try:
        return _converse(process, source, list(tests), secret, time.monotonic() + wall_seconds)
    except OSError:
        return "error"
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _start(code: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start the interpreter in the sandbox on ``code``, under the system-call filter."""
    program = no_new_processes()
    if program is None:
        raise InfrastructureError(f"model code is not run: no filter for {platform.machine()}")
    with tempfile.TemporaryFile() as filter_file:
        filter_file.write(program)
        filter_file.seek(0)
        descriptor = filter_file.fileno()
        return subprocess.Popen(
            [*_bubblewrap(), "--seccomp", str(descriptor), *_interpreter(), "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={},
            pass_fds=(descriptor,),
            start_new_session=True,
        )


def _converse(
    process: subprocess.Popen[bytes],
    source: str,
    tests: list[str],
    secret: str,
    deadline: float,
) -> Outcome:
    """Send the program, wait for its definitions, send the tests, and count acknowledgements."""
    assert process.stdin is not None
    assert process.stdout is not None
    wanted = b"ready\n" + f"{secret}\n".encode() * len(tests)
    got = b""
    sent = False
    process.stdin.write(_line(source))
    process.stdin.flush()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(got) <= _MOST_OUTPUT:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                return "timeout"
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            got += chunk
            if not sent and got == b"ready\n":
                process.stdin.write(_line([secret, tests]))
                process.stdin.flush()
                sent = True
    if not sent:
        return "error"
    return "passed" if got == wanted else "failed"


def _line(value: object) -> bytes:
    return (ascii(value) + "\n").encode()


def run_many(programs: Sequence[tuple[str, Sequence[str]]]) -> list[Outcome]:
    """Run several programs with their tests, as many at once as there are cores, in order."""
    if not programs:
        return []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(lambda program: run_tests(*program), programs))
