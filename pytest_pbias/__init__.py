"""Measure personalization bias of language models, and gate releases on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_pbias.models.application import Reply
    from pytest_pbias.plugin.cell import CellFixture

__version__ = "0.1.0"
__all__ = ["CellFixture", "Reply", "__version__"]
_PLACES = {"CellFixture": "plugin.cell", "Reply": "models.application"}


def __getattr__(name: str) -> Any:
    """Load what users import only when it is asked for; importing the package is free."""
    if name in _PLACES:
        return getattr(import_module(f"pytest_pbias.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
