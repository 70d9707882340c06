"""The life cycle of a real ``vllm serve``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from benchmarks.perf.divergence import parting
from pytest_pbias.errors import ConfigurationError, InfrastructureError, StoreError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.embedded import locate
from pytest_pbias.models.embedded.engine import Engine
from pytest_pbias.models.vllm import VllmServer, VllmSettings, find_vllm

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "mmlu"], identities=["a senior citizen", "a man"])
def test_small(cell):
    cell.check()
"""
NEAR_TIE = 1e-3
"""Logits closer than this may change places where sums are rounded in another order."""
Key = tuple[str, str, str]
Answers = Mapping[Key, str]
Conversations = Mapping[Key, list[dict[str, str]]]


@pytest.mark.slow
@pytest.mark.vllm
def test_workers_share_a_server_that_survives_a_kill_and_answers_as_the_embedded_engine(
    pytester: pytest.Pytester,
    cpu_vllm: str,
    cpu_arguments: str,
    weights: Callable[[Path], Path],
    arguments: Callable[..., list[str]],
    servers: Callable[[str], list[psutil.Process]],
    wait_until_gone: Callable[..., None],
    cached: Callable[..., str],
    answers: Callable[[Path], Answers],
    conversations: Callable[..., Conversations],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(pytester.path / "hub"))
    commit = cached(pytester.path / "hub", "org/small-llama", weights(pytester.path))
    model = Path("org/small-llama")
    pytester.makepyfile(test_suite=SUITE)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--pbias-json=out.json"]
    told = ["--pbias-limit=100", "--pbias-concurrency=8", "--pbias-table=vllm.parquet"]
    process = subprocess.Popen(
        command + arguments(model, *told),
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    store = pytester.path / ".pbias" / "responses.sqlite"
    end = time.monotonic() + 400
    while _count(store) < 40:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)
    (server,) = servers("small-llama")
    engine = server.children(recursive=True)
    assert engine
    server.send_signal(signal.SIGKILL)
    wait_until_gone([server, *engine], 40)
    said = process.communicate(timeout=500)[0]
    report = json.loads((pytester.path / "out.json").read_text())
    assert report["run"]["n_missing"] == 0, said
    assert process.returncode in (0, 1), said
    server_facts = report["run"]["server"]
    _recorded_server_is_what_ran(server_facts, cpu_vllm, cpu_arguments)
    assert server_facts["revision"] == commit
    assert "--max-model-len" in server_facts["arguments"]
    assert server_facts["max_model_len"] < 4096
    assert "float32" in said
    assert not servers("small-llama")
    subprocess.run(
        [*command, "--pbias-model=embedded", "--pbias-limit=100", "-p", "no:cacheprovider",
         "--pbias-placement=system", "--pbias-table=embedded.parquet", "--pbias-store=embedded",
             "--pbias-reference=baseline", "--pbias-stop=never"],
        cwd=pytester.path,
        stdout=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    _answers_agree(
        answers(pytester.path / "vllm.parquet"),
        answers(pytester.path / "embedded.parquet"),
        conversations(["do_not_answer", "mmlu"], ["a senior citizen", "a man"], 100),
    )


def _answers_agree(ours: Answers, reference: Answers, chats: Conversations) -> None:
    """At least 99 % are the same, and the others part at a tie; says which and how near it was."""
    assert ours.keys() == reference.keys() == chats.keys()
    engine = Engine(locate())
    partings = {
        key: parting(engine, chats[key], reference[key], ours[key])
        for key in reference
        if ours[key] != reference[key]
    }
    said = f"{len(partings)} of {len(reference)} answers differ from the embedded engine's\n"
    said += "\n".join(f"{' / '.join(key)}: {one}" for key, one in partings.items())
    print(said)
    assert len(partings) <= 0.01 * len(reference), said
    assert all(one.gap is not None and one.gap < NEAR_TIE for one in partings.values()), said


def _recorded_server_is_what_ran(server: dict[str, object], command: str, cpu: str) -> None:
    assert server["engine"] == "vLLM"
    assert server["version"] == _installed_version(command)
    assert server["versions"] == [server["version"]]
    assert server["model"] == "org/small-llama"
    assert "warning" not in server
    assert server["dtype"] == "float32"
    assert server["device"] == "cpu"
    assert isinstance(server["arguments"], list)
    own = ["--no-enable-chunked-prefill", *cpu.split()]
    assert server["arguments"][-len(own) :] == own


def _installed_version(command: str) -> str:
    """The version in the metadata of the environment that the command is in."""
    libraries = Path(command).resolve().parents[1] / "lib"
    (found,) = libraries.glob("python3*/site-packages/vllm-[0-9]*.dist-info")
    return found.name.removeprefix("vllm-").removesuffix(".dist-info").partition("+")[0]


def _count(store: Path) -> int:
    from pytest_pbias.collecting import Store

    try:
        return Store(store, read_only=True).count() if store.exists() else 0
    except StoreError:  # it is only just being made
        return 0


@pytest.mark.slow
@pytest.mark.vllm
def test_nothing_of_several_workers_is_left_behind_when_pytest_is_killed(
    pytester: pytest.Pytester,
    cpu_vllm: str,
    cpu_arguments: str,
    weights: Callable[[Path], Path],
    arguments: Callable[..., list[str]],
    servers: Callable[[str], list[psutil.Process]],
    wait_until_gone: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = weights(pytester.path)
    pytester.makepyfile(test_suite=SUITE)
    before = _shared_memory()
    # Left alone the CPU build wants a NUMA node a worker.
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    two = f"--pbias-vllm-args={cpu_arguments} --tensor-parallel-size 2"
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments(model, "--pbias-limit=100", two)],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + 240
    workers: list[psutil.Process] = []
    log = pytester.path / ".pbias" / "logs" / f"vllm-{process.pid}.log"
    # They have found each other; without AVX-512 they do so by sockets.
    while len(workers) < 2 or not (_shared_memory() - before or _by_sockets(log)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)
        below = [one for server in servers("small-llama") for one in _below(server)]
        workers = [one for one in below if any("Worker_TP" in word for word in _line(one))]
    (server,) = servers("small-llama")
    everything = [server, *_below(server)]
    process.kill()
    process.communicate()
    wait_until_gone(everything, 40)
    assert not servers("small-llama")
    while _shared_memory() > before:  # the guard removes it when all have ended
        assert time.monotonic() < end
        time.sleep(0.1)


def _shared_memory() -> set[Path]:
    return set(Path("/dev/shm").glob("vllm_*"))


def _by_sockets(log: Path) -> bool:
    return log.exists() and "SHM communicator disabled" in log.read_text("utf-8", "replace")


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.vllm
def test_a_server_that_cannot_start_is_one_line_with_its_log(
    tmp_path: Path, cpu_vllm: str, weights: Callable[[Path], Path]
) -> None:
    model = weights(tmp_path)
    settings = VllmSettings(cpu_vllm, ("--no-such-option",))
    spec = resolve_model(str(model), vllm=settings)
    server = VllmServer(spec, settings, log=tmp_path / "log", longest=100, lost=print)
    with pytest.raises(InfrastructureError, match="ended before it was ready") as caught:
        server.start(print)
    server.stop()
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "log") in str(caught.value)


def test_a_folder_is_identified_by_everything_that_changes_answers(
    tmp_path: Path, weights: Callable[[Path], Path], fake_command: str
) -> None:
    model, command = weights(tmp_path), fake_command
    plain = resolve_model(str(model), vllm=VllmSettings(command))
    assert plain.kind == "vllm"
    assert plain.path == model.resolve()
    other = resolve_model(str(model), vllm=VllmSettings(command, ("--dtype", "float16")))
    assert other.served_identity != plain.served_identity
    (model / "chat_template.jinja").write_text("{{ messages }}")
    again = resolve_model(str(model), vllm=VllmSettings(command))
    assert again.served_identity != plain.served_identity


def test_the_context_is_as_long_as_the_plan_needs_and_arguments_pass_through(
    tmp_path: Path, weights: Callable[[Path], Path], fake_command: str
) -> None:
    model = weights(tmp_path)
    settings = VllmSettings(fake_command, ("--tensor-parallel-size", "2"))
    spec = resolve_model(str(model), vllm=settings)
    server = VllmServer(spec, settings, log=tmp_path / "log", longest=77, lost=print)
    line = " ".join(server.command)
    assert f"serve {model.resolve()} --host 127.0.0.1 --port " in line
    assert line.endswith("--enable-prefix-caching --max-model-len 77 --tensor-parallel-size 2")
    own = VllmSettings(settings.command, ("--max-model-len=50", "--no-enable-prefix-caching"))
    server = VllmServer(spec, own, log=tmp_path / "log", longest=77, lost=print)
    assert server.command[-2:] == ["--max-model-len=50", "--no-enable-prefix-caching"]
    assert server.command.count("--max-model-len") == 0


def test_what_is_missing_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_command: str
) -> None:
    with pytest.raises(ConfigurationError, match="there is no command"):
        find_vllm(str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="is not a model folder"):
        resolve_model(str(tmp_path), vllm=VllmSettings(fake_command))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "empty" / "python"))
    with pytest.raises(ConfigurationError, match="need vLLM, which is not installed"):
        resolve_model("llama3")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param([], "256 at once", marks=pytest.mark.slow),
        (["--pbias-concurrency=8"], "8 at once"),
    ],
)
def test_a_server_of_our_own_is_given_many_requests_unless_told_otherwise(
    pytester: pytest.Pytester,
    fake_command: str,
    weights: Callable[[Path], Path],
    arguments: Callable[..., list[str]],
    options: list[str],
    said: str,
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    line = arguments(weights(pytester.path), "--pbias-limit=5", "--pbias-plan", *options)
    result = pytester.runpytest_subprocess(*line, f"--pbias-vllm-command={fake_command}")
    result.stdout.fnmatch_lines([f"*({said})"])
