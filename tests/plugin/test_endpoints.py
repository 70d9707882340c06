"""A session over several endpoints, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

SELECTED = ["--pbias-model=tiny", "--pbias-limit=40", "-p", "no:cacheprovider"]
SELECTED += ["--pbias-reference=baseline"]  # so many answers as are counted below


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_killed_endpoint_costs_no_answer(
    suite: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    killed, other, alone = (fake_server(latency=0.05) for _ in range(3))
    shared = [*SELECTED, f"--pbias-data-dir={data_dir()}", "-n", workers]
    urls = [f"--pbias-base-url={other.url}", f"--pbias-base-url={killed.url}"]
    command = [sys.executable, "-m", "pytest", *shared, *urls, "--pbias-table=two.parquet"]
    command += ["--pbias-concurrency=8"]
    with subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        end = time.monotonic() + 60
        while killed.requests() < 60:
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(killed.pid(), signal.SIGKILL)
        said, _ = process.communicate(timeout=90)
    assert "are missing" not in said, said
    assert Store(suite.path / ".pbias" / "responses.sqlite").count() == 400
    assert other.requests() >= 200
    one = [f"--pbias-base-url={alone.url}", "--pbias-store=alone", "--pbias-table=one.parquet"]
    suite.runpytest_subprocess(*shared, *one)
    tables = [OutcomeTable.read(suite.path / f"{name}.parquet") for name in ("two", "one")]
    columns = ("task", "identity", "item_id", "response")
    rows = [sorted(zip(*map(table.text, columns), strict=True)) for table in tables]
    assert len(rows[0]) == 400
    assert rows[0] == rows[1]
