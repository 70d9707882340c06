"""A run that a Ray cluster asks: two nodes on this machine, one of which is killed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.errors import StoreError
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

CLUSTER = Path(__file__).parents[1] / "collecting" / "raycluster.py"
KEY = "a-key-that-no-file-may-hold"
SELECTED = ["--pbias-model=tiny", f"--pbias-data-dir={data_dir()}", "-p", "no:cacheprovider"]

# Looked for, not imported: pytester forgets what a test imports, and to import its parts in C a
# second time ends the process.
INSTALLED = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not INSTALLED, reason="the extra 'ray' is not installed")


@dataclass
class TwoNodes:
    """A running raycluster.py."""

    process: subprocess.Popen[str]
    address: str
    folder: Path

    def kill_one(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        while self.process.stdout.readline() != "killed\n":
            assert self.process.poll() is None


@pytest.fixture
def two_nodes() -> Iterator[TwoNodes]:
    with subprocess.Popen(
        [sys.executable, str(CLUSTER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("ready at "):
            assert line, "the cluster did not start"
        address, folder = line.removeprefix("ready at ").strip().split(" in ")
        yield TwoNodes(process, address, Path(folder))
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


def _rows(path: Path) -> list[tuple[Any, ...]]:
    """Everything but what differs from run to run."""
    table = OutcomeTable.read(path).arrow.drop_columns(["run_id", "latency"])
    return sorted(tuple(map(str, row.values())) for row in table.to_pylist())


@pytest.mark.slow
@pytest.mark.ray
@needs_ray
def test_a_killed_node_costs_no_answer_and_the_table_is_that_of_a_local_run(
    suite: pytest.Pytester,
    fake_server: Callable[..., Any],
    two_nodes: TwoNodes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = fake_server(latency=0.1, key=KEY, faults={"503": 0.1})
    shared = [*SELECTED, f"--pbias-base-url={server.url}", "--pbias-limit=40"]
    command = [sys.executable, "-m", "pytest", *shared, "--pbias-concurrency=4"]
    command += [f"--pbias-ray={two_nodes.address}", "--pbias-table=ray.parquet"]
    store = suite.path / ".pbias" / "responses.sqlite"
    with subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        _wait_for(store, 60, process)
        two_nodes.kill_one()
        said, _ = process.communicate(timeout=300)
    assert Store(store).count() == 480, said
    local = suite.runpytest_subprocess(
        *shared, "--pbias-store=alone", "--pbias-table=local.parquet"
    )
    assert process.returncode == local.ret
    assert _rows(suite.path / "ray.parquet") == _rows(suite.path / "local.parquet")
    for path in [*two_nodes.folder.rglob("*"), *suite.path.rglob("*")]:
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in said


def _wait_for(store: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many answers are durable, and not all of them."""
    end = time.monotonic() + 240
    while _count(store) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    assert _count(store) < 300


def _count(store: Path) -> int:
    """Durable answers; none where the store is only just being made."""
    try:
        return Store(store, read_only=True).count() if store.exists() else 0
    except StoreError:
        return 0


@pytest.mark.slow
@pytest.mark.ray
@needs_ray
def test_a_killed_run_is_resumed_by_what_is_missing(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server(latency=0.1)
    command = [sys.executable, "-m", "pytest", *SELECTED, f"--pbias-base-url={server.url}"]
    command += ["--pbias-limit=20", "--pbias-ray=local", "--pbias-concurrency=4", "-Werror"]
    store = suite.path / ".pbias" / "responses.sqlite"
    with subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _wait_for(store, 40, process)  # type: ignore[arg-type]  # nothing is read from it
        # Ray's own agents, which ask nothing, outlive the cluster by minutes.
        cluster = [
            one
            for one in psutil.Process(process.pid).children(recursive=True)
            if not one.name().endswith("Agent")
        ]
        process.kill()
        at_once = server.requests()
    _, alive = psutil.wait_procs(cluster, timeout=60)
    assert not alive
    stored, asked = Store(store).count(), server.requests()
    said = suite.runpytest_subprocess(*command[3:]).stdout.str()
    assert Store(store).count() == 240, said
    assert server.requests() - asked == 240 - stored
    # Asked at the kill: a node's concurrency, as many answers on their way to the store, and one
    # request whether a system role is taken. An actor has as many more at hand, which it asks as
    # soon as there is room; on a busy machine it is given some again before its driver hears.
    assert at_once <= stored + 2 * 4 + 1
    assert asked <= stored + 4 * 4 + 1


@pytest.mark.slow
@pytest.mark.ray
@needs_ray
def test_what_ends_the_process_of_ray_ends_no_session(
    suite: pytest.Pytester,
    fake_server: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray ends it where the head of the cluster is lost."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    server = fake_server(latency=0.1)
    command = [sys.executable, "-m", "pytest", *SELECTED, f"--pbias-base-url={server.url}"]
    command += ["--pbias-limit=40", "--pbias-ray=local", "--pbias-concurrency=4"]
    command += ["--pbias-json=report.json"]
    store = suite.path / ".pbias" / "responses.sqlite"
    with subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        _wait_for(store, 40, process)
        (one,) = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if child.name() == "gcs_server"
        ]
        one.kill()
        output, _ = process.communicate(timeout=120)
    said = "failed (its process ended with status 1: Failed to connect to GCS within 2 seconds."
    assert said in " ".join(output.split())
    assert (suite.path / "report.json").exists()
    assert 40 <= Store(store).count() < 480
    assert process.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.slow
@pytest.mark.ray
@needs_ray
def test_a_cluster_of_this_machine_alone_joins_no_other(
    suite: pytest.Pytester, fake_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would take the one of its environment, or the last that was started on this machine."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    server = fake_server()
    options = [*SELECTED, f"--pbias-base-url={server.url}", "--pbias-limit=4", "--pbias-ray=local"]
    said = suite.runpytest_subprocess(*options, timeout=240).stdout.str()
    assert Store(suite.path / ".pbias" / "responses.sqlite").count() == 48, said


@needs_ray
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pbias-model=embedded"], "serve 'embedded' on the cluster and give its address"),
        (["--pbias-base-url=http://127.0.0.1:9/v1", "--pbias-rpm=5"], "--pbias-rpm holds for one"),
        (["--pbias-base-url=http://127.0.0.1:9/v1", "--pbias-batch"], "--pbias-batch asks nothing"),
        (["--pbias-base-url=http://127.0.0.1:9/v1", "--pbias-ray=http://a/b"], "is not an address"),
    ],
)
def test_what_does_not_go_with_a_cluster_is_one_line(
    suite: pytest.Pytester, options: list[str], said: str
) -> None:
    model = [] if "--pbias-model=embedded" in options else ["--pbias-model=tiny"]
    result = suite.runpytest_subprocess(
        *model, "--pbias-ray=auto", *options, f"--pbias-data-dir={data_dir()}"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: pbias: *{said}*"])


@needs_ray
def test_a_cluster_that_is_not_there_is_one_line(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server()
    result = suite.runpytest_subprocess(
        *(*SELECTED, f"--pbias-base-url={server.url}", "--pbias-ray=127.0.0.1:9"),
        *("--pbias-limit=5", "-k", "gsm8k"),
    )
    result.stdout.fnmatch_lines(["*--pbias-ray: no Ray cluster answers at 127.0.0.1:9: *refused*"])
    assert result.duration < 100


@pytest.mark.skipif(INSTALLED, reason="Ray is installed")
def test_a_missing_extra_is_one_line(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(
        "--pbias-model=tiny", "--pbias-base-url=http://127.0.0.1:9/v1", "--pbias-ray=auto"
    )
    result.stderr.fnmatch_lines(["ERROR: pbias: --pbias-ray needs Ray: pip install *"])
