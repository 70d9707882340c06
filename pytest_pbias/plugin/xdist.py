"""xdist: workers plan and decide, the controller asks. Imports nothing heavy at the top."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pbias.files.writing import write_whole
from pytest_pbias.plugin.options import read_option

if TYPE_CHECKING:
    from pytest_pbias.cells.cell import Cell


def session_uid(config: pytest.Config) -> str | None:
    """The id shared by the controller and its workers; None outside a worker."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    return None if worker is None else str(worker["testrunuid"])


def plan_path(config: pytest.Config, uid: str) -> Path:
    """Where workers leave the cells they selected."""
    store: Path = read_option(config, "store")
    return store / "sessions" / f"{uid}.json"


def write_plan(path: Path, cells: Sequence[Cell], default_model: str | None) -> None:
    """Leave the selected cells for the controller.

    Every worker writes the same content; the rename makes each write whole.
    """
    from pytest_pbias.cells.cell import cell_to_plain

    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"default_model": default_model, "cells": [cell_to_plain(cell) for cell in cells]}
    write_whole(path, json.dumps(content))
