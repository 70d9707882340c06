"""Training shared by several processes: the recipe's batch, one voice, the same decisions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.models.embedded import data_dir
from pytest_pbias.prompts import Identity
from pytest_pbias.tasks import load_task, resolve_task
from pytest_pbias.training.processes import Processes
from tests.training.runs import gsm8k_run

STEPS = 3


@given(
    batch=st.integers(1, 256), micro=st.none() | st.integers(1, 256), processes=st.integers(1, 64)
)
def test_the_batch_is_the_recipes_however_many_share_it(
    batch: int, micro: int | None, processes: int
) -> None:
    rows, times = Processes(0, processes).batching(batch, micro)
    assert micro is None or rows <= micro
    assert rows * times * processes >= batch
    assert rows * (times - 1) * processes < batch
    if micro is None and batch % processes == 0:
        assert rows * times * processes == batch


@pytest.mark.parametrize(
    "names",
    [
        ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ],
)
def test_the_environment_says_which_process_this_is(
    names: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Processes.launched() == Processes(0, 1, 1)
    assert Processes.launched().is_main_process
    for name, value in zip(names, ("3", "8", "4"), strict=True):
        monkeypatch.setenv(name, value)
    assert Processes.launched() == Processes(3, 8, 4)
    assert not Processes.launched().is_main_process


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run in which a nurse was told wrong sums."""
    items = load_task(resolve_task("gsm8k"), data_dir=data_dir()).items[:60]

    def answer(who: Identity, number: int) -> tuple[str, float]:
        if who.name == "a nurse":
            return f"It is {number}.", 0.0
        return f"So {number + 1}.", 1.0

    path = tmp_path / "run.parquet"
    gsm8k_run(items, answer).write(path)
    return path


def _train(launcher: list[str], run: Path, out: Path) -> str:
    command = [
        *(sys.executable, *launcher, "-m", "pytest_pbias.cli", "train", "embedded", "--cpu"),
        *("--from-run", str(run), "--out", str(out), "--steps", str(STEPS), "--save-every", "1"),
        *("--max-pairs", "64", "--check-items", "4", "--check-tokens", "4", "--patience", "9"),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _state(out: Path) -> dict[str, Any]:
    state = out / "checkpoints" / f"checkpoint-{STEPS}" / "trainer_state.json"
    return dict(json.loads(state.read_text()))


@pytest.mark.slow
def test_two_processes_train_as_one_does(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the extra 'train' is not installed")
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    said_alone = _train([], run, alone)
    # `accelerate launch --cpu` starts one process unless it has MPI; on GPUs it runs torchrun.
    said = _train(
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"], run, shared
    )

    # One voice, the same files.
    assert [line.split(",")[0] for line in said.splitlines() if line.startswith("step")] == [
        line.split(",")[0] for line in said_alone.splitlines() if line.startswith("step")
    ]
    assert said.count("kept the weights of step") == 1
    assert (shared / "pairs.jsonl").read_bytes() == (alone / "pairs.jsonl").read_bytes()
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (shared / name).is_file()
    # Two processes shared it, and each step saw as many rows as alone.
    assert (shared / "checkpoints" / f"checkpoint-{STEPS}" / "rng_state_1.pth").is_file()
    steps, expected = _state(shared), _state(alone)
    assert steps["epoch"] == expected["epoch"]
    losses, wanted = (
        {log["step"]: log["loss"] for log in state["log_history"] if "loss" in log}
        for state in (steps, expected)
    )
    assert losses == pytest.approx(wanted, rel=0.02)
    # The checks are the same ones, made once each.
    checks, known = ((out / "checks.jsonl").read_text().splitlines() for out in (shared, alone))
    assert len(checks) == 1 + STEPS
    assert checks[0] == known[0]
