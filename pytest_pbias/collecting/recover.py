"""Rebuilding a store whose file structure is damaged, keeping every record that is intact."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pytest_pbias.collecting import schema

_STEP = 512  # rowids read at once before a damaged range is split


@contextlib.contextmanager
def held_still(path: Path, *, exclusive: bool = False) -> Iterator[None]:
    """While this lasts no other process rebuilds the file; ``exclusive``: nor opens it."""
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def salvage(path: Path, inode: int) -> str:
    """Move the damaged file aside, copy its intact records to a new store; return one line on it.

    ``inode`` is that of the damaged file: where another process has rebuilt it already, nothing is
    done. The damaged file is kept beside the new one.

    Raises:
        OSError: the folder is not writable.
        sqlite3.Error: the new file cannot be written.
    """
    with held_still(path, exclusive=True):
        if path.exists() and path.stat().st_ino != inode:
            return f"store {path} was rebuilt by another process"
        aside = _free_name(path)
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        # The copy is complete before anything is moved: a process that dies here loses nothing.
        kept = _copy(path, fresh)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        try:
            os.link(path, aside)
        except OSError:  # a file system without hard links
            os.replace(path, aside)
        os.replace(fresh, path)
    return (
        f"store {path} was damaged: {kept} intact responses were kept, the rest will be asked "
        f"again; the damaged file is {aside.name}"
    )


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _copy(source: Path, target: Path) -> int:
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as new:
        new.executescript(schema.TABLES)
        new.execute("BEGIN")
        with contextlib.closing(sqlite3.connect(source)) as old:
            rows = _intact_rows(old)
            grades = _readable(old, "SELECT key, score, label, parsable, digest FROM grades")
            meta = _readable(old, "SELECT key, value FROM meta")
        marks = ",".join("?" * 8)
        new.executemany(
            f"INSERT OR IGNORE INTO responses ({schema.RESPONSE_COLUMNS}) VALUES ({marks})", rows
        )
        intact = [row for row in grades if schema.decode_grade(row) is not None]
        new.executemany("INSERT OR IGNORE INTO grades VALUES (?,?,?,?,?)", intact)
        new.executemany("INSERT OR IGNORE INTO meta VALUES (?,?)", meta)
        kept: int = new.execute("SELECT count(*) FROM responses").fetchone()[0]
        new.execute("COMMIT")
        new.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
        new.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION}")
    return kept


def _readable(old: sqlite3.Connection, query: str) -> list[schema.Row]:
    """The rows that can be read before the first damaged page."""
    found: list[schema.Row] = []
    with contextlib.suppress(sqlite3.DatabaseError, UnicodeDecodeError):
        found.extend(old.execute(query))
    return found


def _intact_rows(old: sqlite3.Connection) -> list[schema.Row]:
    found: list[schema.Row] = []
    try:
        last = old.execute("SELECT max(rowid) FROM responses").fetchone()[0] or 0
    except sqlite3.DatabaseError:
        last = _guess_last(old)
    ranges = [(low, min(low + _STEP - 1, last)) for low in range(1, last + 1, _STEP)]
    while ranges:
        low, high = ranges.pop()
        try:
            rows = old.execute(
                f"SELECT {schema.RESPONSE_COLUMNS} FROM responses NOT INDEXED "
                "WHERE rowid BETWEEN ? AND ?",
                (low, high),
            ).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            if low < high:
                middle = (low + high) // 2
                ranges += [(low, middle), (middle + 1, high)]
            continue
        found += [row for row in rows if schema.decode_response(row) is not None]
    return found


def _guess_last(old: sqlite3.Connection) -> int:
    """Upper bound of the rowids where even ``max(rowid)`` is unreadable: from the file's pages."""
    try:
        pages: int = old.execute("PRAGMA page_count").fetchone()[0]
    except sqlite3.DatabaseError:
        return 0
    return pages * 64
