"""What a training noted beside the weights is said by every report of a run of them."""

from __future__ import annotations

import json
import shutil

import pytest

from pytest_pbias.models.embedded import data_dir, locate


def test_a_report_says_that_the_papers_recipe_was_not_quantized(suite: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    folder = suite.path / "trained"
    shutil.copytree(locate(), folder)
    note = {"without_quantization": "there is no GPU"}
    (folder / "training.json").write_text(json.dumps(note), encoding="utf-8")
    result = suite.runpytest_subprocess(
        *("--pbias-model=./trained", f"--pbias-data-dir={data_dir()}", "--pbias-limit=2"),
        *("--pbias-json=r.json", "--pbias-max-tokens=8"),
    )
    said = "trained by the paper's recipe without its 4-bit quantization (there is no GPU)"
    assert said in " ".join(result.stdout.str().split())
    assert said in json.loads((suite.path / "r.json").read_text("utf-8"))["run"]["notes"]
