"""Opening the store's SQLite file: one connection a thread, errors for people, damage repaired."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pytest_pbias.collecting import schema
from pytest_pbias.collecting.recover import held_still, salvage
from pytest_pbias.errors import StoreError

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
        while True:
            held = self._connection()
            with held.in_use:
                if not held.closed:
                    return work(held.connection)

    def _connection(self) -> _Held:
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None and not held.closed and self._same_file(held):
            return held
        if self.read_only:
            held = _Held(self._open_read_only(), self.path.stat().st_ino)
        else:
            with held_still(self.path):
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
