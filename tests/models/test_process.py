from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pytest_pbias.errors import InfrastructureError
from pytest_pbias.models.process import ServerProcess

# A server with a child of its own, and a grandchild that left its process group.
SERVER = """
    import subprocess, sys, time
    sleep = [sys.executable, "-c", "import time; time.sleep(100)"]
    children = [
        subprocess.Popen(sleep).pid,
        subprocess.Popen(sleep, start_new_session=True).pid,
    ]
    print("pids", *children, flush=True)
    time.sleep(100)
"""

PARENT = """
    import sys, threading, time
    from pathlib import Path
    from pytest_pbias.models.process import ServerProcess
    server = ServerProcess([sys.executable, "-c", sys.argv[1]], log=Path(sys.argv[2]), grace=0.5)
    thread = threading.Thread(target=server.start)  # the thread that starts it ends at once
    thread.start()
    thread.join()
    print(server.wait_ready(r"pids (\\d+) (\\d+)$", 20).group(1, 2), flush=True)
    time.sleep(100)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pids: list[int]) -> None:
    end = time.monotonic() + 15
    while any(map(alive, pids)):
        assert time.monotonic() < end, [pid for pid in pids if alive(pid)]
        time.sleep(0.02)


def test_stop_ends_the_server_and_its_children(tmp_path: Path) -> None:
    with ServerProcess(python(SERVER), log=tmp_path / "log" / "server.log", grace=1.0) as server:
        match = server.wait_ready(r"^pids (\d+) (\d+)$", 20)
        pids = [int(pid) for pid in match.groups()]
        assert server.running()
        assert all(map(alive, pids))
    assert not server.running()
    wait_gone(pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_dies_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    command = [*python(PARENT), textwrap.dedent(SERVER), str(tmp_path / "log")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid.strip("(' ),")) for pid in parent.stdout.readline().split()]
    assert all(map(alive, pids))
    os.kill(parent.pid, number)
    parent.communicate()
    wait_gone(pids)


def test_the_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    import threading

    server = ServerProcess(python("print('up', flush=True); import time; time.sleep(60)"),
                           log=tmp_path / "log")  # fmt: skip
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    server.wait_ready("^up$", 20)
    time.sleep(1.2)
    assert server.running()
    server.stop()


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", os.getpid(), flush=True)
        time.sleep(100)
    """
    with ServerProcess(python(code), log=tmp_path / "log", grace=0.2) as server:
        pid = int(server.wait_ready(r"^up (\d+)$", 20)[1])
    wait_gone([pid])


def test_an_early_end_is_said_with_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys; print('out of memory', file=sys.stderr); sys.exit(3)"
    with (
        ServerProcess(python(code), log=log) as server,
        pytest.raises(InfrastructureError, match=r"ready; .*out of memory") as got,
    ):
        server.wait_ready("^up$", 20)
    assert str(log) in str(got.value)
    assert "\n" not in str(got.value)


def test_not_ready_in_time(tmp_path: Path) -> None:
    with (
        ServerProcess(python("import time; time.sleep(60)"), log=tmp_path / "log") as server,
        pytest.raises(InfrastructureError, match=r"not ready within 0.3 s; it wrote nothing"),
    ):
        server.wait_ready("^up$", 0.3)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with (
        ServerProcess(["/nonexistent/vllm"], log=tmp_path / "log") as server,
        pytest.raises(InfrastructureError, match="/nonexistent/vllm ended before it was ready"),
    ):
        server.wait_ready("^up$", 20)


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = ServerProcess(["true"], log=tmp_path / "file" / "log")
    with pytest.raises(InfrastructureError, match="cannot start true: log file"):
        server.start()


MEMORY = """
    import mmap, os, sys, time
    for name in sys.argv[1:]:
        with open(name, "a+b") as file:
            if not file.tell():
                file.truncate(4096)
            kept = [mmap.mmap(file.fileno(), 4096), *globals().get("kept", [])]
    open(os.environ["SOCKETS"] + "/a-socket", "w").close()
    print("has", os.environ["SOCKETS"], flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize("grace", [1.0, 0.0])
def test_shared_memory_and_folder_go_with_the_server(tmp_path: Path, grace: float) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("no shared memory in the file system")
    own, old, common = (shared / f"pbias-test-{os.getpid()}-{name}" for name in ("a", "b", "c"))
    old.write_bytes(bytes(4096))
    time.sleep(1.5)  # what is older than the server by more than a second is not its own
    try:
        server = ServerProcess(
            [*python(MEMORY), str(own), str(old), str(common)],
            log=tmp_path / "log",
            grace=grace,
            folder="SOCKETS",
        )
        with server:
            folder = Path(server.wait_ready(r"^has (.+)$", 20)[1])
            assert (folder / "a-socket").exists()
            reader = subprocess.Popen(
                [*python("import mmap, sys\nf = open(sys.argv[1], 'r+b')\n"
                         "m = mmap.mmap(f.fileno(), 0)\nprint('has', flush=True)\ninput()"),
                 str(common)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"has\n"
        assert [own.exists(), old.exists(), common.exists()] == [False, True, True]
        assert not folder.exists()
        reader.communicate(b"\n")
    finally:
        for path in (own, old, common):
            path.unlink(missing_ok=True)


def test_a_folder_that_is_set_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETS", str(tmp_path))
    with ServerProcess(python(MEMORY), log=tmp_path / "log", folder="SOCKETS") as server:
        assert server.wait_ready(r"^has (.+)$", 20)[1] == str(tmp_path)
    assert (tmp_path / "a-socket").exists()
