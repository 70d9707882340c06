"""The handle on the process that Ray runs in, where that ends; no cluster is needed for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.collector import Collector, unlimited
from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.ray import driver
from pytest_pbias.collecting.ray.driver import Driver, JobError
from pytest_pbias.collecting.ray.engine import RayEngine
from pytest_pbias.collecting.ray.node import Target

# What the process says is what Ray would have said: here it is a script of the test's own.
ABORTED = """
import os, sys
print("[2026-01-02 03:04:05,678 E 12 34] actor.cc:1: nothing to do with it", file=sys.stderr)
print("[2026-01-02 03:04:05,678 C 12 34] gcs.cc:179: the head is gone", file=sys.stderr)
print("/lib/ray/_raylet.so(+0x11c047a) [0x77ea] ray::operator<<()", file=sys.stderr, flush=True)
os.abort()
"""
NOT_THERE = """
import sys
sys.exit("ImportError: no Ray for this Python")
"""
SECOND_JOB_DIES = """
import os, pickle, signal, sys
print('{"nodes": 2}', flush=True)
for _ in range(2):
    pickle.load(sys.stdin.buffer)
print('{"answered": ["one", "two"]}', flush=True)
print('{"done": true}', flush=True)
pickle.load(sys.stdin.buffer)
sys.stdout.write('{"answered": ["thr')
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGSEGV)
"""
FIRST_JOB_DIES = """
import os, pickle, signal, sys
print('{"nodes": 1}', flush=True)
for _ in range(2):
    pickle.load(sys.stdin.buffer)
os.kill(os.getpid(), signal.SIGSEGV)
"""
SILENT = """
import pathlib, pickle, sys
print('{"nodes": 1}', flush=True)
for _ in range(2):
    pickle.load(sys.stdin.buffer)
pathlib.Path("asked").touch()
sys.stdin.read()
"""
DEAF = """
import time
print('{"nodes": 1}', flush=True)
time.sleep(600)
"""


def _start(monkeypatch: pytest.MonkeyPatch, script: str) -> Driver:
    monkeypatch.setattr(driver, "_START", script)
    return Driver("local")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (ABORTED, "its process was ended by SIGABRT: the head is gone"),
        (NOT_THERE, "its process ended with status 1: ImportError: no Ray for this Python"),
        ("", "its process ended with status 0"),
    ],
)
def test_how_the_process_ended_is_a_line(
    monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    with closing(_start(monkeypatch, script)) as one, pytest.raises(JobError) as caught:
        one.count_nodes()
    assert str(caught.value) == said


def test_what_was_answered_before_it_ended_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RetryPolicy.for_timeout(1)
    target = Target((), "m", "secret", concurrency=1, timeout=1, policy=policy, seed=0)
    with closing(_start(monkeypatch, SECOND_JOB_DIES)) as one:
        assert one.count_nodes() == 2
        assert list(one.run(target, ["a", "b"])) == [["one", "two"]]
        with pytest.raises(JobError, match="was ended by SIGSEGV"):
            list(one.run(target, ["c"]))


def test_one_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_LEAVE_SECONDS", 0.1)
    one = _start(monkeypatch, DEAF)
    assert one.count_nodes() == 1
    one.stop()
    with closing(one), pytest.raises(JobError, match="ended by SIGKILL"):
        one.count_nodes()


@pytest.mark.parametrize("stopped", [True, False])
def test_an_end_that_was_asked_for_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make_requests: Callable[..., Any],
    stopped: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "_START", SILENT if stopped else FIRST_JOB_DIES)
    requests, policy = make_requests(2), RetryPolicy.for_timeout(1)
    store = Store(tmp_path / "store.sqlite")
    collector = Collector.with_engine(
        store,
        lambda owner, settle: RayEngine(
            store,
            owner,
            requests,
            settle,
            address="local",
            target=lambda nodes: Target((), "m", "", nodes, timeout=1, policy=policy, seed=0),
            concurrency=1,
            budget=unlimited,
        ),
        total=2,
    )
    collector.start()
    if stopped:
        while not (tmp_path / "asked").exists():
            time.sleep(0.01)
        collector.stop(grace=0)
        assert collector.end_reason is None
    else:
        failed = collector.wait([one.key for one in requests], timeout=30)
        said = "the Ray job on local failed (its process was ended by SIGSEGV)"
        assert {one.reason for one in failed.values()} == {said}
        collector.stop()


def test_what_it_cannot_read_ends_it() -> None:
    class Unknown:
        """To be looked for in a module that the process does not have."""

    Unknown.__module__, Unknown.__qualname__ = __name__, "Unknown"
    globals()["Unknown"] = Unknown
    try:
        with closing(Driver("127.0.0.1:9")) as one:
            one._send(Unknown())
            with pytest.raises(JobError, match=f"status 1: .*{__name__}"):
                one.count_nodes()
    finally:
        del globals()["Unknown"]


def test_it_imports_what_the_session_imports_and_nothing_of_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('a file of the folder')\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ray.py").write_text("raise ImportError('the Ray of the test')\n")
    monkeypatch.setattr(sys, "path", [Path("/nowhere"), str(tmp_path / "own"), *sys.path])
    with closing(Driver("local")) as one, pytest.raises(JobError, match="the Ray of the test"):
        one.count_nodes()
