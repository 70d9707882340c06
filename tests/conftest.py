"""What all folders of tests share: which tests run, an endpoint that judges.

Tests marked ``slow`` repeat at length what a quicker test guards as well, or need minutes; the gate
runs them too (``--slow``). Without it they are left out, unless ``-m`` speaks of them or a test is
named by its id. Properties have no deadline.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Tests share the cores by being several. A thread a core in each of them makes the threads wait
# for each other: training a classifier of 5,000 weights took 196 s in place of 3 s.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Takes the search for installed packages over from the standard library when it is imported, as by
# OpenTelemetry. Were that within a test of Pytester's, which forgets it, nobody would search.
with contextlib.suppress(ImportError):
    import importlib_metadata  # noqa: F401

import pytest
from hypothesis import settings

from pytest_pbias.grading.judges import JudgeModel
from tests.fakes.running import FakeServer, FakeServers
from tests.warm import WarmProcess

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

COUNTED = pytest.StashKey[set[str]]()
"""The tests in which lines have been counted."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: half as many again as cores, because many a test waits for a process."""
    return -(-3 * (os.cpu_count() or 1) // 2)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    named = "slow" in config.option.markexpr or any("::" in word for word in config.args)
    if slow and not (config.option.slow or named):
        config.hook.pytest_deselected(items=slow)
        items[:] = quick
    elif quick:
        items[:] = _dealt(slow, quick, getattr(config, "workerinput", {}).get("workercount", 1))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Lines are counted in the first case of each quick test that has no drawn examples.

    The others go over the same lines many times, and counting makes them half as slow again.
    ``no_cover`` of pytest-cov stops one counter, and a worker of pytest-xdist has two.
    """
    if not item.config.pluginmanager.hasplugin("_cov"):
        return (yield)
    counted = item.config.stash.setdefault(COUNTED, set())
    function = item.nodeid.partition("[")[0]
    drawn = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    if not (function in counted or drawn or item.get_closest_marker("slow")):
        counted.add(function)
        return (yield)
    counters = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(counters[0])
        threading.settrace(counters[1])


def _dealt(
    slow: Sequence[pytest.Item], quick: Sequence[pytest.Item], workers: int
) -> list[pytest.Item]:
    """The tests so that of as many equal parts each begins with its share of the slow ones.

    ``--dist worksteal`` gives each worker a part. A slow test that is begun last is waited for by
    all the others.
    """
    dealt: list[pytest.Item] = []
    for number in range(workers):
        for some in (slow, quick):
            dealt += some[len(some) * number // workers : len(some) * (number + 1) // workers]
    return dealt


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProcess]:
    process = WarmProcess()
    yield process
    process.stop()


@pytest.fixture
def pytester(
    pytester: pytest.Pytester,
    warm: WarmProcess,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> pytest.Pytester:
    """A project whose sessions start warm, without Hypothesis: its import is a third of it."""
    pytester.plugins.append("no:hypothesispytest")
    cold = pytester.popen
    # Ray's threads and a fork of a large process do not go together.
    if any(map(request.node.get_closest_marker, ("cold", "ray"))):
        return pytester

    def start(command: Sequence[str], *streams: Any, **options: Any) -> Any:
        plain = {"stdin", "stdout", "stderr"} >= options.keys() and not streams
        alone = options.get("stdin") is pytester.CLOSE_STDIN
        session = tuple(command[:2]) == (sys.executable, "-mpytest")
        if not (plain and alone and session and warm.can_run(os.environ)):
            return cold(command, *streams, **options)
        return warm.run(command[2:], options["stdout"], options["stderr"])

    monkeypatch.setattr(pytester, "popen", start)
    return pytester


@pytest.fixture(scope="session")
def fake_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServers]:
    servers = FakeServers(tmp_path_factory.mktemp("fakes"))
    yield servers
    servers.stop()


@pytest.fixture
def fake_server(tmp_path: Path, fake_servers: FakeServers) -> Iterator[Callable[..., FakeServer]]:
    """Fake servers, each a process: ``fake_server(mode="parts")``; see tests/fakes/."""
    taken: list[FakeServer] = []

    def take(mode: str | None = None, **config: Any) -> FakeServer:
        named = {} if mode is None else {"mode": mode}
        log = tmp_path / f"asked-{len(taken)}.jsonl"
        taken.append(fake_servers.take(log, **named, **config))
        return taken[-1]

    yield take
    for server in taken:
        fake_servers.give_back(server)


@pytest.fixture
def referee(fake_server: Callable[..., FakeServer]) -> Callable[..., FakeServer]:
    """Fake servers that judge by a rule: ``referee(style="prose")``; see tests/fakes/answers.py."""

    def start(key: str = "", latency: float = 0.0, **rule: Any) -> FakeServer:
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return fake_server(
            judge=rule, models=["referee"], any_model=True, usage=usage, key=key, latency=latency
        )

    return start


@pytest.fixture
def ask_at(tmp_path: Path) -> Callable[..., JudgeModel]:
    def make(url: str, **options: Any) -> JudgeModel:
        return JudgeModel(tmp_path / "store", model="referee", base_url=url, **options)

    return make
