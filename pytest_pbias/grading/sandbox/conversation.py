"""One program and its tests: the candidate's interpreter on one side, the evaluator's on the other.

The host passes lines between the two and keeps the time. What the candidate sends is data to the
evaluator, whatever it says; only the evaluator gives verdicts.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pytest_pbias.grading.sandbox.backends import Backend, Process

Outcome = Literal["passed", "failed", "timeout", "error"]

_MOST_IN_A_LINE = 4 * 1024 * 1024
_MOST_CALLS = 10_000
_GONE = b"('raised', 'gone')\n"


class Program(NamedTuple):
    """A model's source, assertions on what it defines, and the set-up code that they need.

    The set-up runs after the source, with its names. What it imports is, to the tests, the real
    thing, whatever the source defines.
    """

    source: str
    tests: Sequence[str]
    setup: str = ""


class _EndedError(Exception):
    """The process at the other end closed its pipe, or said more than it may."""


class Guest:
    """A sandboxed process that speaks in lines."""

    def __init__(self, process: Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._held = b""
        os.set_blocking(self._in.fileno(), False)

    def send(self, line: bytes, deadline: float) -> None:
        """Write a line.

        Raises:
            TimeoutError: it was not taken in time.
            _EndedError: the process is gone.
        """
        left = memoryview(line)
        while left:
            self._wait(self._in.fileno(), selectors.EVENT_WRITE, deadline)
            try:
                left = left[os.write(self._in.fileno(), left) :]
            except BlockingIOError:
                continue
            except OSError:
                raise _EndedError from None

    def receive(self, deadline: float) -> bytes:
        """Read the next line.

        Raises:
            TimeoutError: there was none in time.
            _EndedError: the process is gone, or the line is too long.
        """
        parts = [self._held]
        size = len(self._held)
        while b"\n" not in parts[-1]:
            self._wait(self._out.fileno(), selectors.EVENT_READ, deadline)
            chunk = os.read(self._out.fileno(), 65536)
            size += len(chunk)
            if not chunk or size > _MOST_IN_A_LINE:
                raise _EndedError
            parts.append(chunk)
        line, _, self._held = b"".join(parts).partition(b"\n")
        return line + b"\n"

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError

    def out_of_time(self) -> bool:
        """Whether the process, which is asked no more, was ended by its limit of CPU time."""
        with contextlib.suppress(OSError):
            self._in.close()  # one that waits for a question ends at once
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return self._process.returncode in (128 + signal.SIGXCPU, -signal.SIGXCPU)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._in, self._out):
            with contextlib.suppress(OSError):
                stream.close()


class Evaluator:
    """A sandboxed interpreter that runs tests; it serves one program after another."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._guest: Guest | None = None

    def judge(
        self, candidate: Guest, program: Program, deadline: float
    ) -> Literal["passed", "failed"]:
        """Run tests against a candidate whose definitions have run.

        Raises:
            TimeoutError: the time was up; the evaluator starts anew for the next program.
        """
        if self._guest is None:
            self._guest = Guest(self._backend.start_guest("evaluator"))
        try:
            self._guest.send(to_line((list(program.tests), program.setup)), deadline)
            for _ in range(_MOST_CALLS):
                line = self._guest.receive(deadline)
                if line[:1] == b"!":
                    return "passed" if line == b"!passed\n" else "failed"
                self._guest.send(_answer(candidate, line[1:], deadline), deadline)
        except BaseException as error:
            self.close()
            if isinstance(error, _EndedError):
                return "failed"
            raise
        self.close()
        return "failed"

    def close(self) -> None:
        """End the process."""
        if self._guest is not None:
            self._guest.close()
            self._guest = None


def _answer(candidate: Guest, request: bytes, deadline: float) -> bytes:
    try:
        candidate.send(request, deadline)
        return candidate.receive(deadline)
    except _EndedError:
        return _GONE


def to_line(value: object) -> bytes:
    """A literal as one line of ASCII."""
    return (ascii(value) + "\n").encode("ascii")


def run_program(
    backend: Backend, evaluator: Evaluator, program: Program, seconds: float
) -> Outcome:
    """Run a program, then its tests, within ``seconds`` of wall time."""
    source = f"{program.source}\n\n{program.setup}\n"
    deadline = time.monotonic() + seconds
    with _candidate(backend) as candidate:
        try:
            candidate.send(to_line(source), deadline)
            if candidate.receive(deadline) != b"'ready'\n":
                return "failed"
            verdict = evaluator.judge(candidate, program, deadline)
        except TimeoutError:
            return "timeout"
        except _EndedError:
            return "timeout" if candidate.out_of_time() else "error"
        if verdict == "failed" and candidate.out_of_time():
            return "timeout"
        return verdict


@contextlib.contextmanager
def _candidate(backend: Backend) -> Iterator[Guest]:
    candidate = Guest(backend.start_guest("candidate"))
    try:
        yield candidate
    finally:
        candidate.close()
