"""The engine is loaded once a session."""

from __future__ import annotations

import pytest

from pytest_pbias.models.embedded import locate
from pytest_pbias.models.embedded.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The shipped model."""
    pytest.importorskip("onnxruntime_genai", reason="the extra 'embedded' is not installed")
    return Engine(locate())
