"""``pbias ... | head``: the reader goes away before everything is written."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [["report", "--schema"], ["compare", "--schema"], ["runs"]])
def test_a_reader_that_has_gone_is_no_error(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_pbias.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert said == ""
    assert process.returncode == 141
