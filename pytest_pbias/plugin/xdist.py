"""xdist: workers plan and decide, the controller asks. Imports nothing heavy at the top."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pbias.errors import StoreError
from pytest_pbias.files.writing import write_whole
from pytest_pbias.plugin.options import read_option

if TYPE_CHECKING:
    from pytest_pbias.cells.cell import Cell


def session_uid(config: pytest.Config) -> str | None:
    """The id shared by the controller and its workers; None outside a worker."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    return None if worker is None else str(worker["testrunuid"])


def run_name(config: pytest.Config) -> str:
    """A name that a run shares with its workers and with no other run."""
    controller = config.pluginmanager.get_plugin("dsession")
    if controller is not None:
        return str(controller.nodemanager.testrunuid)
    return session_uid(config) or uuid.uuid4().hex


def plan_path(config: pytest.Config, uid: str) -> Path:
    """Where workers leave the cells they selected."""
    store: Path = read_option(config, "store")
    return store / "sessions" / f"{uid}.json"


def write_plan(
    path: Path, cells: Sequence[Cell], n_collected: int, default_model: str | None
) -> None:
    """Leave the selected cells for the controller, and of how many they were selected.

    Every worker writes the same content; the rename makes each write whole.

    Raises:
        StoreError: the store's folder cannot be written.
    """
    from pytest_pbias.cells.cell import cell_to_plain

    content = {
        "default_model": default_model,
        "cells": [cell_to_plain(cell) for cell in cells],
        "collected": n_collected,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(content))
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; make it writable or choose another store"
        ) from None


_REFUSED = "pbias_refused"
_NOTICES = "pbias_notices"


def stop_session(config: pytest.Config, reason: str, items: list[pytest.Item]) -> None:
    """Stop the whole run for a mistake, with its one line.

    An error that ends a worker reaches nobody: it drops its tests instead, and hands the reason to
    the controller when it ends.

    Raises:
        pytest.UsageError: the mistake, outside a worker.
    """
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is None:
        raise pytest.UsageError(f"pbias: {reason}")
    output.setdefault(_REFUSED, reason)
    items.clear()


def tell_notices(config: pytest.Config, notices: list[str]) -> None:
    """Hand a worker's notices to the controller; nothing elsewhere."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[_NOTICES] = notices


def notices_of(node: object) -> list[str]:
    """On the controller: the notices of a worker that ended."""
    output: dict[str, Any] = getattr(node, "workeroutput", {})
    return list(output.get(_NOTICES, ()))


def raise_refusal(node: object) -> None:
    """On the controller: stop the run where a worker that ended has found a mistake.

    Raises:
        pytest.UsageError: the mistake.
    """
    output: dict[str, Any] = getattr(node, "workeroutput", {})
    if _REFUSED in output:
        raise pytest.UsageError(f"pbias: {output[_REFUSED]}")
