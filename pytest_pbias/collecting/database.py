"""The store's SQLite file: its connections, and what can be salvaged of a damaged one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pytest_pbias.collecting import schema
from pytest_pbias.errors import StoreError

_STEP = 512  # rowids read at once before a damaged range is split


@contextlib.contextmanager
def file_lock(path: Path, *, exclusive: bool = False) -> Iterator[None]:
    """While this lasts no other process rebuilds or makes the file; ``exclusive``: nor opens it."""
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
    with file_lock(path, exclusive=True):
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
            # Pages that the header counts and a cut-off file lacks spoil the others otherwise.
            old.execute("PRAGMA writable_schema=ON")
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
    except (sqlite3.DatabaseError, UnicodeDecodeError):
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
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return 0
    return pages * 64


def _is_in_wal_mode(path: Path) -> bool:
    """What the header says (SQLite file format, section 1.3.3); False for a file to be made."""
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False


_BUSY_SECONDS = 60.0

_DAMAGE = ("malformed", "not a database", "Could not decode")

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Held:
    """A thread's connection. SQLite crashes where one is closed by another thread while in use."""

    connection: sqlite3.Connection
    inode: int  # of the file that was opened
    in_use: threading.Lock = field(default_factory=threading.Lock)
    closed: bool = False


class Connections:
    """Connections to one store file, one for each thread.

    Raises:
        StoreError: the file cannot be opened, is newer than this package, or is not a store.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.notices: list[str] = []
        self._local = threading.local()
        self._open_ones: list[_Held] = []
        self._lock = threading.Lock()
        if read_only and not path.exists():
            raise StoreError(f"no store at {path}: run the suite first, or correct the path")
        if not read_only:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self.error(error) from error

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``work`` with this thread's connection; rebuild a damaged file and try once more."""
        try:
            return self._call(work)
        except sqlite3.DatabaseError as error:
            if self.read_only or not any(sign in str(error) for sign in _DAMAGE):
                raise self.error(error) from error
        except OSError as error:
            raise self.error(error) from error
        self.repair()
        try:
            return self._call(work)
        except (OSError, sqlite3.Error) as error:
            raise self.error(error) from error

    def repair(self) -> None:
        """Rebuild a file whose structure is damaged, and note it."""
        try:
            held: _Held | None = getattr(self._local, "held", None)
            damaged = self.path.stat().st_ino if held is None or held.closed else held.inode
            self.close()
            self.notices.append(salvage(self.path, damaged))
        except (OSError, sqlite3.Error) as error:
            raise self.error(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Like :meth:`run`, in one transaction that is durable on return."""

        def in_transaction(connection: sqlite3.Connection) -> T:
            with transaction(connection):
                return work(connection)

        return self.run(in_transaction)

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            while True:
                held = self._connection()
                with held.in_use:
                    if not held.closed:
                        return work(held.connection)
        except UnicodeDecodeError as error:  # SQLite's own message quotes the damaged bytes
            raise sqlite3.DatabaseError("malformed text in the file") from error

    def _connection(self) -> _Held:
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None and not held.closed and self._same_file(held):
            return held
        if self.read_only:
            held = _Held(self._open_read_only(), self.path.stat().st_ino)
        else:
            # SQLite lets one process alone turn a file to WAL, and has the others fail at once.
            with file_lock(self.path, exclusive=not _is_in_wal_mode(self.path)):
                held = _Held(self._open(), self.path.stat().st_ino)
        self._local.held = held
        with self._lock:
            self._open_ones.append(held)
        return held

    def _same_file(self, held: _Held) -> bool:
        """Whether ``path`` is still the file that was opened, not one that was rebuilt since.

        Each thread asks for its own connection: another may have opened the new file already.
        """
        try:
            return self.path.stat().st_ino == held.inode
        except FileNotFoundError:
            return False

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            self._check_version(connection, version)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cache_size=-500")
            if version == 0:
                self._create(connection)
            elif version < schema.SCHEMA_VERSION:  # older versions are not to write here any more
                connection.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_read_only(self) -> sqlite3.Connection:
        for query in ("mode=ro", "immutable=1"):  # WAL needs a writable folder; immutable does not
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?{query}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                self._check_version(connection, version)
                connection.execute("SELECT count(*) FROM meta").fetchone()
            except sqlite3.OperationalError:
                connection.close()
                if query == "immutable=1":
                    raise
            else:
                return connection
        raise AssertionError("unreachable")

    def _check_version(self, connection: sqlite3.Connection, version: int) -> None:
        if version > schema.SCHEMA_VERSION:
            raise StoreError(
                f"store {self.path} was written by a newer pytest-pbias (store version {version}, "
                f"this one reads up to {schema.SCHEMA_VERSION}): upgrade, or choose another store"
            )
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != schema.APPLICATION_ID:
            raise StoreError(f"{self.path} is not a pytest-pbias store: choose another file")

    @staticmethod
    def _create(connection: sqlite3.Connection) -> None:
        with transaction(connection):
            for statement in schema.TABLES.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION}")

    def close(self) -> None:
        """Close every connection this object opened, when no thread uses it any more.

        It may be used again afterwards.
        """
        with self._lock:
            open_ones, self._open_ones = self._open_ones, []
        for held in open_ones:
            with held.in_use, contextlib.suppress(sqlite3.Error):
                held.closed = True
                held.connection.close()

    def error(self, error: BaseException) -> StoreError:
        """Return the one-line error for people that an SQLite or OS error becomes."""
        text = " ".join(str(error).split())
        advice = "check the disk and the permissions, or choose another store"
        if "full" in text or "disk I/O" in text:
            advice = "free disk space and run again; nothing that was stored is lost"
        elif "readonly" in text or "unable to open" in text or isinstance(error, OSError):
            advice = "make it writable or choose another store"
        elif "locked" in text:
            advice = "another process holds it; wait for that run or stop it"
        return StoreError(f"store {self.path}: {text}; {advice}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit on leaving, roll back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
