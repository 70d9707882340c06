"""A run that finds its store damaged keeps what can be read of it, and says so."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["gsm8k"], identities=["a man", "a woman"])
def test_small(cell):
    cell.check()
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_store_that_lost_its_end(
    pytester: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    server = fake_server()
    pytester.makepyfile(test_suite=SUITE)
    run = (
        *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-placement=system", "-n", workers),
    )
    first = pytester.runpytest_subprocess(*run)
    assert "damaged" not in first.stdout.str()
    asked = server.requests()
    store = pytester.path / ".pbias" / "responses.sqlite"
    with sqlite3.connect(store) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.truncate(store, store.stat().st_size * 7 // 10)
    again = pytester.runpytest_subprocess(*run)
    said = [line for line in again.stdout.lines if "was damaged" in line]
    assert len(said) == 1
    assert "intact responses were kept, the rest will be asked again" in said[0]
    assert 0 < server.requests() - asked < asked * 0.8
    assert again.ret == first.ret


@pytest.mark.parametrize("workers", ["0", "2"])
def test_answers_that_were_changed(
    pytester: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    server = fake_server()
    pytester.makepyfile(test_suite=SUITE)
    run = (
        *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-placement=system", "--pbias-limit=10"),
        *("-n", workers),
    )
    pytester.runpytest_subprocess(*run)
    store = pytester.path / ".pbias" / "responses.sqlite"
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE responses SET body = x'41' WHERE rowid % 10 = 0")
    connection.close()
    again = pytester.runpytest_subprocess(*run)
    assert "set aside (hash does not match); treated as missing" in again.stdout.str()
