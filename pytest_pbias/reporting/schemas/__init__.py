"""The published JSON Schemas of what the reports write, made from ``reporting.formats``."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

SchemaName = Literal["report", "comparison", "history", "stages"]


def schema_text(name: SchemaName) -> str:
    """The schema of the JSON report, a comparison, a history or stages; each stands alone."""
    return files(__name__).joinpath(f"{name}.schema.json").read_text("utf-8")
