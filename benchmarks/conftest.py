"""The suite's own default: without --pbias-model it measures the embedded model."""

from __future__ import annotations

import pytest


def pytest_pbias_default_model(config: pytest.Config) -> str:
    return "embedded"
