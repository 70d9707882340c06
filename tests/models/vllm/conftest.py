"""A real ``vllm serve``: the CPU build, with the embedded model's weights.

``PBIAS_VLLM`` names the ``vllm`` command to use, where it is in an environment of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from pytest_pbias.models.embedded import data_dir, locate
from pytest_pbias.outcomes import OutcomeTable

COMMAND = os.environ.get("PBIAS_VLLM") or shutil.which("vllm")
CPU = "--dtype float32 --enforce-eager"
Key = tuple[str, str, str]
"""Task, identity and item of one prompt."""
Answers = Mapping[Key, str]


@pytest.fixture
def cpu_arguments() -> str:
    """What the CPU build is started with."""
    return CPU


@pytest.fixture(scope="session")
def vllm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What vLLM remembers of architectures from one start to the next; shared by all workers."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "vllm-cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture
def cpu_vllm(monkeypatch: pytest.MonkeyPatch, vllm_cache: Path, tmp_path: Path) -> str:
    """The real command, with what the CPU build needs."""
    if COMMAND is None:
        pytest.skip("vLLM is not installed (PBIAS_VLLM)")
    for name, value in {
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",  # as TRL sets it: what is recorded is read off the log
        "VLLM_CACHE_ROOT": str(vllm_cache),
        "TORCHINDUCTOR_CACHE_DIR": str(vllm_cache / "inductor"),
        "PBIAS_TEST": str(tmp_path),  # by which what it starts is known
    }.items():
        monkeypatch.setenv(name, value)
    return COMMAND


@pytest.fixture
def fake_command(tmp_path: Path) -> str:
    """A command of the right name; enough for what happens before anything is started."""
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 3\n")
    command.chmod(0o755)
    return str(command)


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, which may not be asked."""
    from huggingface_hub import constants

    from pytest_pbias.models.vllm.hub import pinned_commit

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pinned_commit.cache_clear()
    return tmp_path / "hub"


@pytest.fixture
def cached() -> Callable[..., str]:
    """Puts a model folder into a cache of the hub; returns its commit."""

    def put(cache: Path, repo: str, folder: Path | None = None, commit: str = "c" * 40) -> str:
        place = cache / f"models--{repo.replace('/', '--')}"
        snapshot = place / "snapshots" / commit
        if folder is None:
            snapshot.mkdir(parents=True)
        else:
            shutil.copytree(folder, snapshot)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / "main").write_text(commit)
        return commit

    return put


@pytest.fixture
def weights() -> Callable[[Path], Path]:
    """Copies the embedded model as a plain model folder, without the embedded engine's own form."""

    def copy(folder: Path) -> Path:
        ignore = shutil.ignore_patterns("runtime")
        return Path(shutil.copytree(locate(), folder / "small-llama", ignore=ignore))

    return copy


@pytest.fixture
def arguments() -> Callable[..., list[str]]:
    """The command line of a session that starts the real server."""

    def build(model: Path, *more: str) -> list[str]:
        return [
            f"--pbias-model={model}",
            f"--pbias-vllm-command={COMMAND}",
            f"--pbias-vllm-args={CPU}",
            f"--pbias-data-dir={data_dir()}",
            "--pbias-placement=system",
            # What is listed, and all of it: answers are compared one by one with another engine's.
            *("--pbias-reference=baseline", "--pbias-stop=never"),
            *("-p", "no:cacheprovider"),
            *more,
        ]

    return build


@pytest.fixture
def servers() -> Callable[[str], list[psutil.Process]]:
    """Finds the running servers of a model that this test started, without their guards."""

    def find(name: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            line, environ = process.info["cmdline"] or [], process.info["environ"] or {}
            ours = environ.get("PBIAS_TEST") == os.environ["PBIAS_TEST"]
            served = "serve" in line and any(part.endswith(name) for part in line)
            if ours and served and not any(part.endswith("guard.py") for part in line):
                found.append(process)
        return found

    return find


@pytest.fixture
def wait_until_gone() -> Callable[[list[psutil.Process], float], None]:
    """Waits for processes to end."""

    def wait(processes: list[psutil.Process], seconds: float) -> None:
        _, alive = psutil.wait_procs(processes, timeout=seconds)
        assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]

    return wait


@pytest.fixture
def answers() -> Callable[[Path], Answers]:
    """Reads the responses of a table."""

    def read(path: Path) -> Answers:
        table = OutcomeTable.read(path)
        columns = (table.text(name) for name in ("task", "identity", "item_id", "response"))
        return {(str(a), str(b), str(c)): str(d) for a, b, c, d in zip(*columns, strict=True)}

    return read


@pytest.fixture
def conversations() -> Callable[..., dict[Key, list[dict[str, str]]]]:
    """Makes the conversations of a suite as the plugin makes them."""
    from pytest_pbias.cells.cell import Cell, with_baselines
    from pytest_pbias.prompts import render_messages, resolve_identities
    from pytest_pbias.tasks import load_task, resolve_task

    def make(
        tasks: Sequence[str], identities: Sequence[str], limit: int
    ) -> dict[Key, list[dict[str, str]]]:
        prompts: dict[Key, list[dict[str, str]]] = {}
        for name in tasks:
            task = resolve_task(name)
            data = load_task(task, data_dir=data_dir(), limit=limit, seed=0)
            for cell in with_baselines(Cell(task, one) for one in resolve_identities(identities)):
                for item in data.items:
                    messages = render_messages(cell.identity, item.prompt, "system")
                    prompts[name, cell.identity.name, item.id] = [
                        {"role": one["role"], "content": one["content"]} for one in messages
                    ]
        return prompts

    return make
