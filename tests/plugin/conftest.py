from __future__ import annotations

import sys
from collections.abc import Iterator

import pandas  # noqa: F401  pytester forgets what a test imports; PyArrow keeps the first one
import pytest

from pytest_pbias.models.process import ServerProcess

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "gsm8k"], identities=[
    "baseline", "a person", "a man", "a Muslim person", "a transgender woman"])
def test_small(cell):
    cell.check()
"""


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded model behind HTTP in a process of its own; yields its base URL."""
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "pytest_pbias.models.embedded.server"]
    with ServerProcess(command, log=log) as process:
        yield process.wait_ready(r"^listening on (\S+)$", 60)[1] + "/v1"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with one small suite."""
    pytester.makepyfile(test_suite=SUITE)
    return pytester


@pytest.fixture
def only_listed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs ask the identities that a suite lists, and no controls besides, unless a test says."""
    assert pytester  # which forgets the variable
    monkeypatch.setenv("PYTEST_ADDOPTS", "--pbias-reference=baseline")
