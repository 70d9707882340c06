"""The life cycle of a real ``vllm serve``, on the CPU build with the embedded model's weights.

``PBIAS_VLLM`` names the ``vllm`` command to use, where it is in an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.embedded import data_dir, locate
from pytest_pbias.models.vllm import VllmServer, VllmSettings, find_vllm
from pytest_pbias.outcomes import OutcomeTable

COMMAND = os.environ.get("PBIAS_VLLM") or shutil.which("vllm")
CPU = "--dtype float32 --enforce-eager --no-enable-chunked-prefill"
SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "mmlu"], identities=["a senior citizen", "a man"])
def test_small(cell):
    cell.check()
"""

vllm = pytest.mark.skipif(COMMAND is None, reason="vLLM is not installed (PBIAS_VLLM)")


@pytest.fixture
def cpu_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the CPU build needs, and nothing outside a scratch folder.

    Its path is short: the name of a socket in it may have 107 characters.
    """
    scratch = Path(tempfile.mkdtemp(prefix="pbias-"))
    for name, value in {
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": str(scratch),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "VLLM_RPC_BASE_PATH": str(scratch),
    }.items():
        monkeypatch.setenv(name, value)
    yield
    shutil.rmtree(scratch, ignore_errors=True)


def _weights(folder: Path) -> Path:
    """The embedded model as a plain model folder, without the embedded engine's own form."""
    ignore = shutil.ignore_patterns("runtime")
    return Path(shutil.copytree(locate(), folder / "small-llama", ignore=ignore))


def _arguments(model: Path, *more: str) -> list[str]:
    return [
        f"--pbias-model={model}",
        f"--pbias-vllm-command={COMMAND}",
        f"--pbias-vllm-args={CPU}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=100",
        "--pbias-placement=system",
        *("-p", "no:cacheprovider"),
        *more,
    ]


def _servers() -> list[psutil.Process]:
    """The running servers, without their guards."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        served = "serve" in line and any(part.endswith("small-llama") for part in line)
        if served and not any(part.endswith("guard.py") for part in line):
            found.append(process)
    return found


def _wait_until_gone(processes: list[psutil.Process], seconds: float) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def _responses(folder: Path) -> dict[tuple[str | None, ...], str | None]:
    table = OutcomeTable.read(max((folder / ".pbias" / "runs").glob("*.parquet")))
    columns = [table.text(name) for name in ("task", "identity", "item_id")]
    return dict(zip(zip(*columns, strict=True), table.text("response"), strict=True))


@vllm
@pytest.mark.slow
@pytest.mark.vllm
def test_workers_share_a_server_that_survives_a_kill_and_answers_as_the_embedded_engine(
    pytester: pytest.Pytester, cpu_environment: None
) -> None:
    model = _weights(pytester.path)
    pytester.makepyfile(test_suite=SUITE)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--pbias-json=out.json"]
    process = subprocess.Popen(
        command + _arguments(model, "--pbias-concurrency=8"),
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
    (server,) = _servers()
    engine = server.children(recursive=True)
    assert engine
    server.send_signal(signal.SIGKILL)
    _wait_until_gone([server, *engine], 40)
    said = process.communicate(timeout=500)[0]
    report = json.loads((pytester.path / "out.json").read_text())
    assert report["run"]["n_missing"] == 0, said
    assert process.returncode in (0, 1), said
    assert not _servers()
    ours = _responses(pytester.path)
    shutil.rmtree(pytester.path / ".pbias")
    subprocess.run(
        [*command, "--pbias-model=embedded", "--pbias-limit=100", "-p", "no:cacheprovider"],
        cwd=pytester.path,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    reference = _responses(pytester.path)
    assert ours.keys() == reference.keys()
    same = sum(ours[key] == reference[key] for key in reference)
    assert same >= 0.99 * len(reference)


def _count(store: Path) -> int:
    from pytest_pbias.collecting import Store

    return Store(store, read_only=True).count() if store.exists() else 0


@vllm
@pytest.mark.slow
@pytest.mark.vllm
def test_nothing_is_left_behind_when_pytest_is_killed(
    pytester: pytest.Pytester, cpu_environment: None
) -> None:
    model = _weights(pytester.path)
    pytester.makepyfile(test_suite=SUITE)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *_arguments(model)],
        cwd=pytester.path,
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not _servers():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    (server,) = _servers()
    while not (engine := server.children(recursive=True)):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.kill()
    process.wait()
    _wait_until_gone([server, *engine], 40)
    assert not _servers()


@vllm
@pytest.mark.slow
@pytest.mark.vllm
def test_a_server_that_cannot_start_is_one_line_with_its_log(
    tmp_path: Path, cpu_environment: None
) -> None:
    model = _weights(tmp_path)
    settings = VllmSettings(COMMAND, ("--no-such-option",))
    spec = resolve_model(str(model), vllm=settings)
    server = VllmServer(spec, settings, log=tmp_path / "log", longest=100, lost=print)
    with pytest.raises(InfrastructureError, match="ended before it was ready") as caught:
        server.start(print)
    server.stop()
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "log") in str(caught.value)


def _fake_command(tmp_path: Path) -> str:
    """A command of the right name; enough for what happens before anything is started."""
    command = tmp_path / "vllm"
    command.write_text("#!/bin/sh\nexit 3\n")
    command.chmod(0o755)
    return str(command)


def test_a_folder_is_identified_by_everything_that_changes_answers(tmp_path: Path) -> None:
    model = _weights(tmp_path)
    command = _fake_command(tmp_path)
    plain = resolve_model(str(model), vllm=VllmSettings(command))
    assert plain.kind == "vllm"
    assert plain.path == model.resolve()
    other = resolve_model(str(model), vllm=VllmSettings(command, ("--dtype", "float16")))
    assert other.served_identity != plain.served_identity
    (model / "chat_template.jinja").write_text("{{ messages }}")
    again = resolve_model(str(model), vllm=VllmSettings(command))
    assert again.served_identity != plain.served_identity


def test_the_context_is_as_long_as_the_plan_needs_and_arguments_pass_through(
    tmp_path: Path,
) -> None:
    model = _weights(tmp_path)
    settings = VllmSettings(_fake_command(tmp_path), ("--tensor-parallel-size", "2"))
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="there is no command"):
        find_vllm(str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="is not a model folder"):
        resolve_model(str(tmp_path), vllm=VllmSettings(_fake_command(tmp_path)))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "empty" / "python"))
    with pytest.raises(ConfigurationError, match="need vLLM, which is not installed"):
        resolve_model("llama3")
