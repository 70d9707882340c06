"""Servers that outlive their session, with a quick stand-in for ``vllm serve``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.vllm import VllmServer, VllmSettings
from pytest_pbias.models.vllm.facts import server_facts
from pytest_pbias.models.vllm.kept import KeptServer, KeptServers

FAKE = Path(__file__).with_name("fakevllm.py")


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[str]:
    """The command; what it left running is ended after the test."""
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    command.chmod(0o755)
    yield str(command)
    for record in KeptServers().all():
        record.stop()
    assert not _left(command)  # whatever runs is on record, or it could not be stopped


def _left(command: Path) -> list[int]:
    lines = [(one.pid, one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [pid for pid, line in lines if str(command) in line]


@pytest.fixture
def serve(
    tmp_path: Path, stand_in: str, weights: Callable[[Path], Path]
) -> Iterator[Callable[..., VllmServer]]:
    """Starts or finds a server; ended after the test as at the end of a session."""
    model = weights(tmp_path)
    opened: list[VllmServer] = []

    def start(
        *, keep: bool = True, longest: int = 100, lost: Callable[[str], None] = print,
        extra: tuple[str, ...] = (), say: Callable[[str], None] = print,
    ) -> VllmServer:  # fmt: skip
        settings = VllmSettings(stand_in, extra, keep=keep)
        spec = resolve_model(str(model), vllm=settings)
        log = tmp_path / f"log-{len(opened)}"
        server = VllmServer(spec, settings, log=log, longest=longest, lost=lost)
        opened.append(server)
        try:
            server.start(say)
        except BaseException:
            server.stop()
            raise
        return server

    yield start
    for server in opened:
        server.stop()


def _only() -> KeptServer:
    (record,) = KeptServers().all()
    return record


def test_servers_of_this_machine_are_not_asked_through_a_proxy(
    serve: Callable[..., VllmServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    record = _only()
    assert record.healthy()
    facts = server_facts(server._spec, record.address, record.command, "")
    assert facts["version"] == "0.0.fake"


def test_a_kept_server_is_found_again_and_stopped_by_the_command(
    serve: Callable[..., VllmServer], capsys: pytest.CaptureFixture[str]
) -> None:
    first = serve()
    record = _only()
    assert record.ready
    assert record.facts["version"] == "0.0.fake"
    first.stop()
    assert record.healthy()

    said: list[str] = []
    second = serve(say=said.append)
    assert second.base_url == first.base_url
    assert said == [f"vLLM: using the kept server (process {record.pid}, port {record.port})"]
    assert second.facts() == record.facts
    second.stop()
    assert record.healthy()

    assert main(["server", "ls"]) == 0
    line = capsys.readouterr().out
    assert f"ready at http://127.0.0.1:{record.port}/v1, vLLM 0.0.fake" in line
    children = psutil.Process(record.pid).children(recursive=True)
    assert children
    assert main(["server", "stop", "elsewhere"]) == 2
    assert record.healthy()
    assert main(["server", "stop", str(record.port)]) == 0
    assert not record.running()
    assert not any(child.is_running() for child in children)
    assert KeptServers().all() == []
    capsys.readouterr()
    assert main(["server", "ls"]) == 0
    assert capsys.readouterr().out == "no kept server runs\n"


def test_a_session_without_the_option_uses_it_and_leaves_it(
    serve: Callable[..., VllmServer],
) -> None:
    first = serve()
    first.stop()
    other = serve(keep=False)
    assert other.base_url == first.base_url
    other.stop()
    assert _only().healthy()


def test_other_arguments_start_another_server(serve: Callable[..., VllmServer]) -> None:
    first = serve()
    other = serve(extra=("--seed", "1"))
    assert other.base_url != first.base_url
    assert len(KeptServers().all()) == 2
    own = serve(keep=False, extra=("--seed", "2"))
    assert len(KeptServers().all()) == 2
    own.stop()


def test_a_server_that_is_not_kept_ends_with_its_session(
    serve: Callable[..., VllmServer],
) -> None:
    server = serve(keep=False)
    assert server.facts()["version"] == "0.0.fake"
    assert KeptServers().all() == []
    server.stop()
    with pytest.raises(OSError, match="refused"):
        _connect(server)


def _connect(server: VllmServer) -> None:
    import socket

    port = int(server.base_url.rpartition(":")[2].partition("/")[0])
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def test_too_little_room_is_one_line_and_ends_nothing(serve: Callable[..., VllmServer]) -> None:
    own_limit = ("--max-model-len=100",)
    serve(extra=own_limit).stop()
    serve(extra=own_limit, longest=200).stop()  # the user's own limit stands
    _only().stop()

    serve(longest=100).stop()  # has more room than this session needs
    record = _only()
    assert record.facts["max_model_len"] == 2048
    serve(longest=2048).stop()
    with pytest.raises(ConfigurationError, match=r"takes 2048 tokens and this run may need 3000"):
        serve(longest=3000)
    assert record.healthy()


SESSION = """
    import sys, time
    from pathlib import Path
    from pytest_pbias.models import resolve_model
    from pytest_pbias.models.vllm import VllmServer, VllmSettings
    settings = VllmSettings(sys.argv[1], keep=True)
    spec = resolve_model(sys.argv[2], vllm=settings)
    server = VllmServer(spec, settings, log=Path(sys.argv[3]), longest=100, lost=print)
    print("begin", flush=True)
    server.start(print)
    print("ready", flush=True)
    time.sleep(100)
"""


def _session(stand_in: str, tmp_path: Path, delay: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SESSION), stand_in,
         str(tmp_path / "small-llama"), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FAKE_VLLM_DELAY": delay},
    )  # fmt: skip


def test_a_session_killed_while_its_server_starts_leaves_one_on_record(
    serve: Callable[..., VllmServer], stand_in: str, tmp_path: Path
) -> None:
    process = _session(stand_in, tmp_path, "3")
    end = time.monotonic() + 30
    while not KeptServers().all():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.communicate()
    record = _only()
    assert not record.ready
    server = serve()  # waits for it instead of starting another
    assert server.base_url.startswith(record.address)
    assert _only().ready
    assert _only().pid == record.pid


def test_sessions_that_start_together_share_one_server(
    serve: Callable[..., VllmServer], stand_in: str, tmp_path: Path
) -> None:
    processes = [_session(stand_in, tmp_path, "0.5") for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            assert line
    assert len(KeptServers().all()) == 1
    for process in processes:
        process.kill()
        process.communicate()
    assert _only().healthy()


def test_one_that_is_slow_to_answer_is_not_given_up(serve: Callable[..., VllmServer]) -> None:
    serve().stop()
    record = _only()
    (child,) = psutil.Process(record.pid).children()
    child.suspend()
    threading.Timer(2.5, child.resume).start()
    server = serve()
    assert server.base_url.startswith(record.address)
    assert _only().pid == record.pid


def test_a_kept_server_that_died_is_replaced(serve: Callable[..., VllmServer]) -> None:
    first = serve()
    first.stop()
    record = _only()
    os.kill(record.pid, signal.SIGKILL)
    _wait(lambda: not record.running())
    assert KeptServers().all() == []
    second = serve()
    assert _only().pid != record.pid
    second.stop()


def test_one_that_dies_under_a_session_is_started_again_in_its_place(
    serve: Callable[..., VllmServer],
) -> None:
    serve().stop()
    record = _only()
    reasons: list[str] = []
    second = serve(lost=reasons.append)
    os.kill(record.pid, signal.SIGKILL)
    _wait(lambda: second.restarts == 1 and bool(KeptServers().all()) and _only().ready)
    assert _only().port == record.port
    assert _only().pid != record.pid
    assert reasons == []


def test_a_process_that_took_over_the_number_is_not_touched(
    serve: Callable[..., VllmServer], own_state: Path
) -> None:
    serve().stop()
    (path,) = own_state.glob("*.json")
    real = _only()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    plain = json.loads(path.read_text())
    try:
        for change in ({"pid": other.pid}, {"started": real.started - 1}, {"boot": "another"}):
            path.write_text(json.dumps(plain | change))
            assert KeptServers().find(real.key) is None
            assert main(["server", "stop"]) == 0
            assert not path.exists()
        assert other.poll() is None
        assert real.running()
    finally:
        other.kill()
        other.wait()
        real.stop()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "\x00", '{"command": 3}'])
def test_a_record_that_is_none_is_dropped(own_state: Path, text: str) -> None:
    own_state.mkdir()
    (own_state / "broken.json").write_text(text)
    assert KeptServers().all() == []
    assert not (own_state / "broken.json").exists()


def test_records_are_for_this_user_only(serve: Callable[..., VllmServer], own_state: Path) -> None:
    serve(extra=("--api-key", "secret")).stop()
    (path,) = own_state.glob("*.json")
    assert path.stat().st_mode & 0o077 == 0
    assert own_state.stat().st_mode & 0o077 == 0
    assert "secret" not in path.read_text()


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.05)
