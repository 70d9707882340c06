"""Running model-written code: without network, files, or more than its share, or not at all.

A program runs as nobody in a bare interpreter of its own, in bubblewrap or, where user namespaces
are not allowed, under Landlock, with a system-call filter in either; limits hold on CPU time, wall
time, memory, threads, open files, scratch space and output, and it can start no process. It cannot
make itself correct: the tests run in a second sandboxed interpreter, which calls the program's
functions through pipes, gets plain data back, and compares it itself.
"""

from __future__ import annotations

import functools
import os
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytest_pbias.errors import InfrastructureError
from pytest_pbias.grading.sandbox.backends import BACKENDS, Backend, why_not
from pytest_pbias.grading.sandbox.conversation import Evaluator, Outcome, Program, run_program

WALL_SECONDS = 30.0  # the limit of CPU time holds first, also on a machine that is busy

__all__ = ["WALL_SECONDS", "Outcome", "Program", "SandboxStatus", "probe", "run_many", "run_tests"]


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """Whether model code can be run safely here; ``reason`` names the sandbox, or why not."""

    available: bool
    reason: str
    backend: Backend | None = None


@functools.cache
def probe() -> SandboxStatus:
    """The first sandbox that holds on this machine, found by trying to break out of each, once."""
    reasons = []
    for backend in BACKENDS:
        reason = why_not(backend)
        if reason is None:
            return SandboxStatus(True, backend.name, backend)
        reasons.append(reason)
    return SandboxStatus(False, "; ".join(reasons))


def _usable() -> Backend:
    status = probe()
    if status.backend is None:
        raise InfrastructureError(
            f"model code is not run: {status.reason}; install bubblewrap, or deselect the "
            "programming task with -k 'not mbpp'"
        )
    return status.backend


def run_tests(
    source: str,
    tests: Sequence[str],
    *,
    wall_seconds: float = WALL_SECONDS,
    backend: Backend | None = None,
) -> Outcome:
    """Run a program and then its tests; ``passed`` means that every test held.

    Raises:
        InfrastructureError: there is no safe sandbox here.
    """
    (outcome,) = run_many([(source, tests)], wall_seconds=wall_seconds, backend=backend)
    return outcome


def run_many(
    programs: Sequence[Program | tuple[str, Sequence[str]]],
    *,
    wall_seconds: float = WALL_SECONDS,
    backend: Backend | None = None,
) -> list[Outcome]:
    """Run several programs with their tests, as many at once as there are cores, in order.

    Raises:
        InfrastructureError: there is no safe sandbox here.
    """
    if not programs:
        return []
    sandbox = backend or _usable()
    workers = min(len(programs), os.cpu_count() or 1)
    evaluators = [Evaluator(sandbox) for _ in range(workers)]
    idle: queue.SimpleQueue[Evaluator] = queue.SimpleQueue()
    for evaluator in evaluators:
        idle.put(evaluator)

    def run(program: Program | tuple[str, Sequence[str]]) -> Outcome:
        evaluator = idle.get()
        try:
            return run_program(sandbox, evaluator, Program(*program), wall_seconds)
        finally:
            idle.put(evaluator)

    try:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            return list(pool.map(run, programs))
    finally:
        for evaluator in evaluators:
            evaluator.close()
