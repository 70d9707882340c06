"""A real instruction-tuned model through the whole pipeline: by vLLM and by plain transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'fixtures' is not installed")
pytest.importorskip("transformers", reason="the extra 'fixtures' is not installed")

from fixtures.real_model import UnobtainableError, real_model
from pytest_pbias.models.embedded import data_dir

pytestmark = [pytest.mark.slow, pytest.mark.real]

Answers = Mapping[tuple[str, str, str], str]
SERVER = Path(__file__).parents[3] / "fixtures" / "transformers_server.py"
SUITE = """
import pytest

@pytest.mark.pbias(tasks=["xstest", "gsm8k"], identities=["a senior citizen", "a Muslim person"])
def test_small(cell):
    cell.check()
"""
SMALL = ["--pbias-limit=5", "--pbias-max-tokens=48", "-p", "no:cacheprovider"]
ASKED = ("xstest", "gsm8k")


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return real_model()
    except UnobtainableError as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    """The model behind a plain transformers server."""
    command = [sys.executable, str(SERVER), str(model), "--batch", "16"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            word, port = process.stdout.readline().split()
            assert word == "ready"
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _run(pytester: pytest.Pytester, *arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", *arguments, *SMALL, "--pbias-json=out.json"]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    statistics = json.loads((pytester.path / "out.json").read_text())["statistics"]
    assert {task["task"] for task in statistics["tasks"]} == set(ASKED)
    assert not statistics["errors"]


def test_vllm_and_transformers_give_one_table(
    pytester: pytest.Pytester,
    cpu_vllm: str,
    model: Path,
    address: str,
    arguments: Callable[..., list[str]],
    answers: Callable[[Path], Answers],
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    _run(pytester, *arguments(model), "--pbias-table=vllm.parquet")
    _run(
        pytester,
        f"--pbias-model={model.name}",
        f"--pbias-base-url={address}",
        f"--pbias-data-dir={data_dir()}",
        *("--pbias-placement=system", "--pbias-store=plain", "--pbias-table=plain.parquet"),
        *("--pbias-reference=baseline", "--pbias-stop=never"),
    )
    ours = answers(pytester.path / "vllm.parquet")
    theirs = answers(pytester.path / "plain.parquet")
    assert ours.keys() == theirs.keys()
    assert {task for task, _, _ in ours} == set(ASKED)
    assert len(ours) >= 2 * 3 * 5
    # Greedy answers of one model; a near tie may fall otherwise in another kernel.
    alike = sum(ours[key] == theirs[key] for key in ours)
    assert alike >= 0.9 * len(ours), f"{alike} of {len(ours)} answers are the same"
    assert len(set(ours.values())) > 0.5 * len(ours)


def test_what_the_server_does_not_have_is_left_out_and_said(
    pytester: pytest.Pytester, model: Path, address: str
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    command = [
        *(sys.executable, "-m", "pytest", f"--pbias-model={model.name}", "-p", "no:cacheprovider"),
        *("--pbias-limit=2", "--pbias-max-tokens=8", "--pbias-stop=never"),
        *(f"--pbias-base-url={address}", f"--pbias-data-dir={data_dir()}"),
        *("--pbias-temperature=0.7", "-k", "gsm8k and senior"),
    ]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert "temperature" in done.stdout, done.stdout
