"""Training for real on the embedded model: it resumes after SIGKILL, and says what is wrong."""

from __future__ import annotations

import importlib.util
import json
import os
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
from pytest_pbias.mitigation.training.reproducing import same_sums
from pytest_pbias.models.embedded import locate

torch = pytest.importorskip("torch", reason="the extra 'mitigate' is not installed")
pytest.importorskip("trl", reason="the extra 'mitigate' is not installed")


STEPS = 4


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"question": f"Add 2 to {n}.", "chosen": f"It is {n + 2}.", "rejected": f"It is {n + 3}."}
        for n in range(64)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _arguments(pairs: Path, out: Path, *more: str) -> list[str]:
    return [
        *("train", "embedded", "--pairs", str(pairs), "--out", str(out), "--cpu"),
        *("--steps", str(STEPS), "--save-every", "1", *more),
    ]


def _train(pairs: Path, out: Path, *more: str, cores: int | None = None) -> str:
    """Train in a process of its own; returns what it said."""
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)
    if cores is not None:
        environment["OMP_NUM_THREADS"] = str(cores)
    command = [sys.executable, "-m", "pytest_pbias.cli", *_arguments(pairs, out, *more)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=True, env=environment
    ).stdout


def _losses(out: Path) -> dict[int, float]:
    state = out / "checkpoints" / f"checkpoint-{STEPS}" / "trainer_state.json"
    history = json.loads(state.read_text())["log_history"]
    return {log["step"]: log["loss"] for log in history if "loss" in log}


def _distance(one: Path, other: Path) -> float:
    """How far the weights of two models are from each other (root of the sum of squares)."""
    from safetensors.torch import load_file

    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    return (
        float(sum(((ours[name].double() - theirs[name].double()) ** 2).sum() for name in ours))
        ** 0.5
    )


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_losses_and_weights(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _train(pairs, whole)

    command = [sys.executable, "-m", "pytest_pbias.cli", *_arguments(pairs, killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (killed / "checkpoints" / "checkpoint-2" / "trainer_state.json").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()

    assert main(_arguments(pairs, killed)) == 2
    refused = capsys.readouterr().err
    assert "holds a training already: give --resume or another --out" in refused

    # The cores that it is offered change nothing: how many are used is the product's decision.
    said = _train(pairs, killed, "--resume", cores=2)
    assert f"step {STEPS}/{STEPS}" in said
    assert f"step 1/{STEPS}" not in said
    assert len(_losses(whole)) == STEPS
    # Bit by bit here; some machine may add in another order. Without its optimizer's state the
    # training goes on to losses that differ in the second digit.
    assert _losses(killed) == pytest.approx(_losses(whole), rel=1e-4)
    assert _distance(killed, whole) < 0.05 * _distance(whole, locate())

    from pytest_pbias.models import resolve_model

    spec = resolve_model(str(whole))
    assert spec.kind == "embedded"
    assert spec.served_identity != resolve_model("embedded").served_identity


def test_sums_are_ordered_while_training_and_settings_come_back() -> None:
    def settings() -> tuple[int, bool, bool]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    before = settings()
    drawn = []
    for _ in range(2):
        with same_sums(threads=1, seed=7):
            assert settings() == (1, True, True)
            drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1]
    assert settings() == before


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
