"""Ways out of each sandbox, as root and as an ordinary user, and wrong programs that lie."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from pytest_pbias.grading import probe
from pytest_pbias.grading.sandbox import Program, backends, run_many
from pytest_pbias.grading.sandbox.backends import BACKENDS, BUBBLEWRAP, Backend, why_not
from tests.grading import sandboxed_as
from tests.grading.hostile import ESCAPES, LIES

WANTED = ["assert solve() == 42"]
GOOD = ("def solve(): return 42", WANTED)
HONEST = {
    "be nobody or oneself": (
        "import os\ndef solve(): return 42 if os.getuid() in (65534, HOST['user']) else 0",
        WANTED,
    ),
    "import late": (
        "def solve():\n    import decimal, json, statistics, hashlib, sqlite3, email, fractions\n"
        "    import encodings.cp1252, zlib, collections.abc, concurrent.futures\n    return 42",
        WANTED,
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def solve():\n    with ThreadPoolExecutor(16) as pool: return sum(pool.map(int, '7' * 6))",
        WANTED,
    ),
    "asyncio": (
        "import asyncio\nasync def work():\n"
        "    return sum(await asyncio.gather(*(asyncio.sleep(0.01, 21) for _ in range(2))))\n"
        "def solve(): return asyncio.run(work())",
        WANTED,
    ),
    "random bytes": ("import os, uuid\ndef solve(): return 42 if uuid.uuid4() else 0", WANTED),
    "memory within the limit": ("def solve(): return len(bytes(2**28)) // 2**28 * 42", WANTED),
}
# A user of each worker's own: the kernel counts the threads of a user, whoever started them.
ORDINARY = 54321 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _ordinary_python() -> tuple[str, dict[str, str]] | str:
    """An interpreter that another user can run with this package, or why there is none."""
    root = str(Path(__file__).parents[2])
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    env = {"PYTHONPATH": os.pathsep.join([root, *installed]), "PATH": os.environ.get("PATH", "")}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        command = [python, "-B", "-c", "import pytest_pbias.grading.sandbox"]
        try:
            tried = subprocess.run(command, env=env, cwd="/", capture_output=True, **_as_ordinary())
        except OSError:
            continue
        if tried.returncode == 0:
            return python, env
    return "no interpreter here can be run by an ordinary user with this package"


def _as_ordinary() -> dict[str, Any]:
    return {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}


@functools.cache
def _run(user: str, name: str) -> dict[str, Any]:
    """Every attempt and every honest program, once for a user and a sandbox; or why not."""
    programs = [[source, WANTED] for source in ESCAPES.values()] + [
        *HONEST.values(),
        *LIES.values(),
    ]
    request = {"backend": name, "programs": programs}
    root = os.geteuid() == 0
    if user == "root" and not root:
        return {"reason": "these tests are not run by root"}
    if user == "ordinary" and root:
        found = _ordinary_python()
        if isinstance(found, str):
            return {"reason": found}
        python, env = found
        done = subprocess.run(
            [python, "-B", sandboxed_as.__file__],
            input=json.dumps(request),
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=300,
            **_as_ordinary(),
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
    else:
        answer = sandboxed_as.run(request)
    if answer["reason"] is None:
        names = [*ESCAPES, *HONEST, *LIES]
        answer["outcomes"] = dict(zip(names, answer["outcomes"], strict=True))
    return answer


@pytest.fixture(params=["root", "ordinary"])
def user(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[backend.name for backend in BACKENDS], ids=lambda name: name.split()[0])
def ran(request: pytest.FixtureRequest, user: str) -> dict[str, Any]:
    answer = _run(user, request.param)
    if answer["reason"] is not None:
        pytest.skip(answer["reason"])
    return answer


@pytest.mark.parametrize("attempt", ESCAPES)
def test_no_way_out(ran: dict[str, Any], attempt: str) -> None:
    # "error" and "timeout" would be no escape, but then the attempt would not have been made.
    assert ran["outcomes"][attempt] == "failed"
    assert not ran["harmed"]


@pytest.mark.parametrize("program", HONEST)
def test_honest_programs_pass_whoever_runs_them(ran: dict[str, Any], program: str) -> None:
    assert ran["outcomes"][program] == "passed"


@pytest.mark.parametrize("lie", LIES)
def test_defining_the_names_of_an_assertion_does_not_pass_it(ran: dict[str, Any], lie: str) -> None:
    assert ran["outcomes"][lie] == "failed"


@pytest.mark.skipif(not probe().available, reason=probe().reason)
@pytest.mark.parametrize(
    "program",
    [
        # Under test: nothing else is called.
        Program("def sum(a, b): return a * 0 + 6", ["assert sum(10, 15) == 6"]),
        Program("def pow(a): return a", ["assert pow(3) == 3", "assert pow(4) == 4"]),
        # A program may well define a name of the built-ins for itself.
        Program(
            "def max(a, b): return a if a > b else b\ndef f(x): return max(x, 3)",
            ["assert f(2) == 3", "assert max([1, 2, 3]) == f(1)"],
        ),
        Program("def f(): return 1.5", ["assert isclose(f(), 1.5)"], "from math import isclose"),
        Program("def f(): return 'aab'", ["assert C(f()) == C('aba')"], "from collections import Counter as C"),
        Program("import math\ndef f(): return math.pi", ["assert math.floor(f()) == 3"]),
        Program("class N: pass\ndef f(n): return n.x", ["assert f(n) == 2"], "n = N()\nn.x = 2"),
    ],
)  # fmt: skip
def test_names_that_are_the_programs(program: Program) -> None:
    assert run_many([program]) == ["passed"]


def _with(*more: str) -> Callable[[list[str]], list[str]]:
    """Bubblewrap with more in it than there should be."""

    def change(command: list[str]) -> list[str]:
        end = command.index("--remount-ro", command.index("--chdir"))
        return [*command[:end], *more, *command[end:]]

    return change


def _but(old: str, new: str = "pass") -> Callable[[list[str]], list[str]]:
    """A sandbox that leaves out a step of its own."""

    def change(command: list[str]) -> list[str]:
        assert re.search(old, command[-1])
        return [*command[:-1], re.sub(old, new, command[-1])]

    return change


def _both(
    first: Callable[[list[str]], list[str]], second: Callable[[list[str]], list[str]]
) -> Callable[[list[str]], list[str]]:
    return lambda command: second(first(command))


_NO_FILTER = _but(r"filter_calls\(FILTER\)")
_STILL_SELF = _but(r"(?m)^    become_nobody\(\)", "    pass")
_HOLES = {
    "lists folders": _with("--proc", "/proc"),
    "opens devices": _with("--dev", "/dev"),
    "fills what it can write": _with("--perms", "1777", "--tmpfs", "/dev/shm"),
    "fills what it can write, by number": _but(r"mount_scratch\(\*SCRATCH\)", "mount_scratch(2**24, 9999)"),
    "reads the system's files": _with("--ro-bind", "/etc", "/etc"),
    "reads": _both(_with("--ro-bind", gettempdir(), gettempdir()), _but(r"mount_scratch\(\*SCRATCH\)")),
    "writes": _both(_with("--bind", gettempdir(), gettempdir()), _but(r"mount_scratch\(\*SCRATCH\)")),
    "starts threads without end": _but(r"_limit_threads\(threads\)"),
    "takes memory": _but(r"\(resource\.RLIMIT_AS, memory\),", ""),
    "forks": _NO_FILTER,
    "opens sockets": _NO_FILTER,
    "shares memory": _NO_FILTER,
    "makes namespaces": _both(_NO_FILTER, _STILL_SELF),
    "is privileged": _STILL_SELF,
    "controls the kernel": _with("--dev-bind", "/proc", "/proc"),
}  # fmt: skip


@pytest.mark.parametrize("attempt", _HOLES)
def test_a_sandbox_with_one_hole_is_refused(attempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's attempts are real: bubblewrap with one hole is refused, with its name."""
    if why_not(BUBBLEWRAP) is not None:
        pytest.skip(str(why_not(BUBBLEWRAP)))
    plain, change = backends._popen, _HOLES[attempt]
    monkeypatch.setattr(
        backends, "_popen", lambda command, stderr: plain(change(list(command)), stderr)
    )
    holed = Backend("holed bubblewrap", lambda: None, BUBBLEWRAP.start)
    reason = why_not(holed)
    assert reason is not None
    assert reason.startswith("holed bubblewrap does not hold here: a program in it ")
    assert attempt.partition(",")[0] in reason.removeprefix(
        "holed bubblewrap does not hold here: a program in it "
    ).split(", ")


def test_the_next_sandbox_is_used_where_the_first_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pytest_pbias.grading import sandbox

    def start(code: str, stderr: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=-1, stdout=-1)

    if why_not(BACKENDS[-1]) is not None:
        pytest.skip(str(why_not(BACKENDS[-1])))
    leaky = Backend("leaky", lambda: None, start)
    monkeypatch.setattr(sandbox, "BACKENDS", (leaky, BACKENDS[-1]))
    sandbox.probe.cache_clear()
    try:
        assert sandbox.probe().backend is BACKENDS[-1]
        monkeypatch.setattr(sandbox, "BACKENDS", (leaky,))
        sandbox.probe.cache_clear()
        assert sandbox.probe().backend is None
        assert "leaky does not hold here: a program in it reads, " in sandbox.probe().reason
    finally:
        sandbox.probe.cache_clear()
