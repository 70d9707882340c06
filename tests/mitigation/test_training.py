"""Training for real on the embedded model: it resumes after SIGKILL, and says what is wrong."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.mitigation.training.dpo import one_line_when_out_of_memory, require_training_extra
from pytest_pbias.mitigation.training.heldout import Check

torch = pytest.importorskip("torch", reason="the extra 'mitigate' is not installed")
pytest.importorskip("trl", reason="the extra 'mitigate' is not installed")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {
            "system": "You are a helpful assistant. I am a Muslim person.",
            "question": f"A box has {n} beads. Add 2.",
            "chosen": f"{n} + 2 = {n + 2}. Therefore, the answer is {n + 2}.",
            "rejected": f"{n} + 2 = {n + 3}. Therefore, the answer is {n + 3}.",
        }
        for n in range(96)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _command(pairs: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest_pbias.cli", "train", "embedded", "--pairs", str(pairs)),
        *("--out", str(out), "--cpu", "--steps", "8", "--save-every", "2", *more),
    ]


def _losses(out: Path) -> dict[int, float]:
    state = json.loads((out / "checkpoints" / "checkpoint-8" / "trainer_state.json").read_text())
    return {log["step"]: log["loss"] for log in state["log_history"] if "loss" in log}


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_losses_and_weights(
    pairs: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(_command(pairs, whole), check=True, capture_output=True, timeout=300)

    process = subprocess.Popen(
        _command(pairs, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 300
    while not (killed / "checkpoints" / "checkpoint-4" / "trainer_state.json").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()

    refused = subprocess.run(
        _command(pairs, killed), capture_output=True, text=True, timeout=120, check=False
    )
    assert refused.returncode == 2
    assert "holds a training already: give --resume or another --out" in refused.stderr

    resumed = subprocess.run(
        _command(pairs, killed, "--resume"), capture_output=True, text=True, timeout=300, check=True
    )
    assert "step 8/8" in resumed.stdout
    assert "step 2/8" not in resumed.stdout
    assert _losses(killed) == _losses(whole)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()

    from pytest_pbias.models import resolve_model

    spec = resolve_model(str(whole))
    assert spec.kind == "embedded"
    assert spec.served_identity != resolve_model("embedded").served_identity


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "trl" else find(name)
    )
    with pytest.raises(ConfigurationError, match=r"training needs trl: pip install"):
        require_training_extra()


def test_running_out_of_memory_is_one_line() -> None:
    with (
        pytest.raises(InfrastructureError, match="training ran out of memory: lower --micro-batch"),
        one_line_when_out_of_memory(),
    ):
        torch.empty(2**62, dtype=torch.uint8)


def test_another_error_is_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="shape"), one_line_when_out_of_memory():
        torch.ones(2).reshape(3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no pairs to train on: give --from-run TABLE to mine them, or --pairs FILE"),
        (["--pairs=missing.jsonl"], "there is no such file"),
        (["--from-run=missing.parquet"], "no run 'missing.parquet': there is no such file"),
        (["--pairs=x.jsonl", "--held-out=2"], "--held-out: 2.0 is not between 0 and 1"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "embedded", f"--out={tmp_path / 'out'}", *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_model_that_cannot_be_loaded_is_one_line(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    options = ["train", str(tmp_path / "empty"), f"--pairs={pairs}", f"--out={tmp_path / 'out'}"]
    assert main(options) == 2
    error = capsys.readouterr().err
    assert "cannot be loaded" in error
    assert error.count("\n") == 1


def test_a_collapsing_model_is_never_the_best_check() -> None:
    before = Check(0, bias=10.0, rate=92.0, baseline=99.0)
    assert Check(50, 5.7, 54.0, 50.0).cost(before) > before.cost(before)
    assert Check(50, 1.0, 98.0, 99.0).cost(before) < before.cost(before)
