"""Measure personalization bias of language models, and gate releases on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_pbias.plugin.cell import CellFixture

__version__ = "0.1.0"
__all__ = ["CellFixture", "__version__"]


def __getattr__(name: str) -> Any:
    """Load what tests annotate with only when it is asked for; importing the package is free."""
    if name == "CellFixture":
        from pytest_pbias.plugin.cell import CellFixture

        return CellFixture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
