from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_pbias.errors import InfrastructureError
from pytest_pbias.grading import sandbox
from pytest_pbias.grading.sandbox import SandboxStatus, run_many, run_tests
from pytest_pbias.grading.sandbox.backends import BACKENDS, BUBBLEWRAP, LANDLOCK, Backend, why_not
from tests.grading.hostile import AT_ONCE, WHEN_CALLED

WANTED = ["assert solve() == 42"]
GOOD = "def solve(): return 42"


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name.split()[0])
def backend(request: pytest.FixtureRequest) -> Backend:
    reason = why_not(request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


@dataclass
class Host:
    """What a hostile program could harm, and whether it did."""

    file: Path
    port: int
    bystander: subprocess.Popen[bytes]
    received: list[bytes]

    def dress(self, program: str) -> str:
        for name, value in (
            ("{file!r}", repr(str(self.file))),
            ("{port}", str(self.port)),
            ("{parent}", str(self.bystander.pid)),
        ):
            program = program.replace(name, value)
        return program.replace("{{", "{").replace("}}", "}") if "{{n}}" in program else program

    def unharmed(self) -> bool:
        return (
            self.file.read_text() == "kept"
            and self.file.stat().st_mode & 0o777 == 0o600
            and self.bystander.poll() is None
            and not self.received
            and not Path("/usr/planted").exists()
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("PBIAS_CANARY", "secret")
    file = tmp_path / "kept"
    file.write_text("kept")
    file.chmod(0o600)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    received: list[bytes] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        server.settimeout(0.05)
        datagrams.setblocking(False)
        stop = threading.Event()
        listener = threading.Thread(target=_listen, args=(server, datagrams, received, stop))
        listener.start()
        yield Host(file, port, bystander, received)
        stop.set()
        listener.join()
    bystander.kill()
    bystander.wait()


def _listen(
    server: socket.socket, datagrams: socket.socket, received: list[bytes], stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            connection, _ = server.accept()
            connection.close()
            received.append(b"connection")
        except TimeoutError:
            pass
        with contextlib.suppress(BlockingIOError):
            received.append(datagrams.recv(99))


@pytest.mark.parametrize(
    "backend",
    [BUBBLEWRAP, pytest.param(LANDLOCK, marks=pytest.mark.slow)],
    ids=["bubblewrap", "Landlock"],
    indirect=True,
)
def test_hostile_programs_are_never_correct_and_harm_nothing(backend: Backend, host: Host) -> None:
    """Every attack at once, an honest program between any two; the run goes on."""
    attacks = AT_ONCE | WHEN_CALLED
    programs = []
    for attack in attacks.values():
        programs += [(host.dress(attack), WANTED), (GOOD, WANTED)]
    outcomes = run_many(programs, wall_seconds=2.0, backend=backend)
    passed = [name for name, out in zip(attacks, outcomes[::2], strict=True) if out == "passed"]
    assert passed == []
    assert set(outcomes[1::2]) == {"passed"}
    assert host.unharmed()
    assert len(attacks) >= 25


def test_a_wrong_program_takes_no_longer_than_a_right_one(backend: Backend) -> None:
    """It waits for the next question and is ended, whatever its verdict."""

    def seconds(program: str) -> float:
        start = time.monotonic()
        run_many([(program, WANTED)], backend=backend)
        return time.monotonic() - start

    wrong = ("def solve(): return 41", "def solve(): raise ValueError", "solve = 42")
    right = min(seconds("def solve(): return 42") for _ in range(3))
    for program in wrong:
        assert min(seconds(program) for _ in range(3)) < right + 0.9


def test_attacks_would_show(host: Host) -> None:
    """The checks above see harm when there is some."""
    with socket.create_connection(("127.0.0.1", host.port), 1):
        pass
    for _ in range(100):
        if host.received:
            break
        threading.Event().wait(0.05)
    assert not host.unharmed()


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        (GOOD, WANTED),
        ("def add(a, b): return a + b", ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"]),
        ("def f(): return (x for x in [1, 2])", ["assert list(f()) == [1, 2]"]),
        ("def f(x): return {**x, 'b': {1, 2}}", ["assert f({'a': 1}) == {'a': 1, 'b': {2, 1}}"]),
        ("def f(): return float('inf'), 10**5000, b'x', 1j", ["assert f() == (float('inf'), 10**5000, b'x', 1j)"]),
        ("def f(x): return x is None", ["assert f(None)", "assert not f(0)"]),
        ("import math\ndef f(): return math.pi", ["assert math.isclose(f(), 3.14159, rel_tol=1e-5)"]),
        ("import sys\ndef f(x): return sys.getsizeof(x)", ["assert f((1, 2)) == sys.getsizeof((1, 2))"]),
        (
            "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
            "def widest(pairs): return max(p.b - p.a for p in pairs)",
            ["assert widest([Pair(1, 2), Pair(3, 9)]) == 6"],
        ),
        (
            "class Node:\n    def __init__(self, x): self.x = x; self.left = None\n"
            "def depth(n): return 0 if n is None else 1 + depth(n.left)\n"
            "root = Node(1)\nroot.left = Node(2)\n",
            ["assert depth(root) == 2"],
        ),
        (
            "from collections import Counter, OrderedDict\ndef f(x): return Counter(x)",
            ["assert f('aab') == {'a': 2, 'b': 1}"],
        ),
        ("x = []\ndef f():\n    x.append(1)\n    return len(x)", ["assert f() == 1", "assert f() == 2"]),
    ],
)  # fmt: skip
def test_honest_programs_pass(backend: Backend, program: str, tests: list[str]) -> None:
    assert run_tests(program, tests, backend=backend) == "passed"


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("def solve(): return 41", "failed"),
        ("def solve(): return [42]", "failed"),
        ("while True: pass", "timeout"),
        ("import time\ndef solve(): time.sleep(100)", "timeout"),
        ("raise ValueError", "error"),
        ("def solve(", "error"),
        ("def solve():\n    raise ValueError", "failed"),
    ],
)
def test_outcomes(backend: Backend, program: str, outcome: str) -> None:
    assert run_tests(program, WANTED, wall_seconds=2.0, backend=backend) == outcome


def test_the_cpu_limit_is_a_timeout(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_pbias.grading.sandbox.backends.CPU_SECONDS", 1)
    assert run_tests("while True: pass", WANTED, wall_seconds=20.0, backend=backend) == "timeout"


def test_no_process_outlives_its_program(backend: Backend) -> None:
    program = (
        f"import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n{GOOD}"
    )
    assert run_tests(program, WANTED, backend=backend) == "passed"
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True
    ).stdout
    assert "serve(*_take_channels())" not in children


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "probe", lambda: SandboxStatus(False, "nothing works here"))
    with pytest.raises(InfrastructureError, match="model code is not run: nothing works here;"):
        run_tests(GOOD, WANTED)


def test_landlock_serves_where_there_is_no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    if why_not(LANDLOCK) is not None:
        pytest.skip(str(why_not(LANDLOCK)))
    monkeypatch.setenv("PATH", "")
    why_not.cache_clear()
    sandbox.probe.cache_clear()
    try:
        status = sandbox.probe()
        assert (status.available, status.reason) == (True, LANDLOCK.name)
        assert run_tests(GOOD, WANTED) == "passed"
    finally:
        why_not.cache_clear()
        sandbox.probe.cache_clear()


def test_a_sandbox_that_does_not_hold_is_not_used() -> None:
    """A "sandbox" that confines nothing is found out by the probe."""

    def start(code: str, stderr: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", code]
        return subprocess.Popen(command, stdin=-1, stdout=-1, stderr=stderr)

    leaky = Backend("leaky", lambda: None, start)
    reason = why_not(leaky)
    assert reason is not None
    said = "leaky does not hold here: a program in it "
    assert reason.startswith(said)
    found = reason.removeprefix(said).split(", ")
    assert found[:4] == ["reads", "writes", "connects", "forks"]
    assert found[-2:] == ["sees the environment", "starts programs"]
    assert set(found) >= {"opens sockets", "lists folders", "reaches processes", "shares memory"}
    if os.geteuid() == 0:
        assert {"is privileged", "controls the kernel", "starts threads without end"} <= set(found)
