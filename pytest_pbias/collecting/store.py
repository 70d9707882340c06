"""The response store: one SQLite file that several processes share and that loses nothing."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_pbias.collecting import schema
from pytest_pbias.collecting.database import Connections
from pytest_pbias.collecting.records import Failure
from pytest_pbias.models.chat import Response, no_answer
from pytest_pbias.tasks.base import Grade

_ROWS = 100  # rows per INSERT, 8 variables each
_CHUNK = 900  # keys per IN (...) list; below SQLite's oldest limit on variables
_DAMAGED = "hash does not match"
_NO_ANSWER = "no answers: empty, or broken off by the endpoint"
# Of each response what shows whether it is an answer; the body is null where it clearly is. Most
# begin with a letter; of packed texts only those are looked into that are short for their at least
# 400 bytes. What was thought about (``packed`` from 2 on) is kept of answers only.
_GLANCE = (
    "key, CASE WHEN lower(CAST(finish_reason AS TEXT)) IN ('error', 'abort') THEN body "
    "WHEN packed > 1 THEN NULL WHEN packed AND length(body) >= 100 THEN NULL "
    "WHEN NOT packed AND substr(body, 1, 1) BETWEEN x'21' AND x'7e' THEN NULL "
    "ELSE body END, packed, finish_reason, digest"
)


class Store:
    """Responses, grades and failures in ``path``, durable once a ``put_*`` call returns.

    Safe for several threads and processes. Damaged records are moved to the ``quarantine`` table,
    read as missing, and named in :attr:`notices`; so are replies that are no answers, which earlier
    versions stored.

    Raises:
        StoreError: from every method, one line, when the file cannot be read or written.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._connections = Connections(self.path, read_only=read_only)
        self._connections.run(lambda connection: connection.execute("SELECT 1 FROM meta LIMIT 1"))

    @property
    def notices(self) -> Sequence[str]:
        """One line for each damage found since this object was made."""
        return self._connections.notices

    def close(self) -> None:
        """Close every connection. The store may be used again; it reopens by itself."""
        self._connections.close()

    # -- responses -----------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str]) -> dict[str, Response]:
        """Return the stored responses among ``keys``; missing and damaged ones are left out."""
        found: dict[str, Response] = {}
        damaged: list[schema.Row] = []
        void: list[schema.Row] = []
        for key, row in self._select("responses", schema.RESPONSE_COLUMNS, keys):
            response = decode_or_none(row)
            if response is None:
                damaged.append(row)
            elif _no_answer(response):
                void.append(row)
            else:
                found[key] = response
        self._quarantine("responses", damaged, _DAMAGED)
        self._quarantine("responses", void, _NO_ANSWER)
        return found

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of ``keys`` that have no response, in the given order.

        Checks for presence only, and that it is an answer; :meth:`get_many` finds damage.
        :meth:`verify` checks everything.
        """
        wanted = list(dict.fromkeys(keys))
        present: set[str] = set()
        void: list[schema.Row] = []
        for key, row in self._select("responses", _GLANCE, wanted):
            if row[1] is not None and _is_void(row):
                void.append(row)
            else:
                present.add(key)
        self._quarantine("responses", void, _NO_ANSWER)
        return [key for key in wanted if key not in present]

    def put_many(self, responses: Iterable[Response]) -> None:
        """Store responses in one transaction. A key that is there already keeps its response."""
        self.put_rows([schema.encode_response(response) for response in responses])

    def put_rows(self, rows: Sequence[schema.Row]) -> None:
        """Like :meth:`put_many`, of responses already encoded by ``schema.encode_response``.

        Many rows go into one statement: each statement gives up the interpreter lock, and getting
        it back from a busy event loop takes far longer than the insertion.
        """

        def work(connection: sqlite3.Connection) -> None:
            for start in range(0, len(rows), _ROWS):
                chunk = rows[start : start + _ROWS]
                marks = ",".join(["(?,?,?,?,?,?,?,?)"] * len(chunk))
                connection.execute(
                    f"INSERT OR IGNORE INTO responses ({schema.RESPONSE_COLUMNS}) VALUES {marks}",
                    [field for row in chunk for field in row],
                )

        self._connections.write(work)

    def count(self) -> int:
        """Number of stored responses."""
        return int(self._scalar("SELECT count(*) FROM responses"))

    def keys(self) -> Iterator[str]:
        """The keys of all stored responses, oldest first, read in chunks."""
        last = 0
        while rows := self._all(
            "SELECT rowid, key FROM responses WHERE rowid > ? ORDER BY rowid LIMIT 5000", (last,)
        ):
            last = rows[-1][0]
            yield from (row[1] for row in rows)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete responses for good, in one transaction, and give their space back."""
        values = [(key,) for key in keys]
        statement = "DELETE FROM responses WHERE key = ?"
        self._connections.write(lambda connection: connection.executemany(statement, values))
        self._connections.run(lambda connection: connection.execute("VACUUM"))

    def counts(self) -> dict[str, int]:
        """Number of rows of each kind: responses, grades, failures, quarantine."""
        tables = ("responses", "grades", "failures", "quarantine")
        return {table: int(self._scalar(f"SELECT count(*) FROM {table}")) for table in tables}

    def verify(self) -> int:
        """Check file structure and the hash of every record; return how many were quarantined."""
        if self._scalar("PRAGMA integrity_check(1)") != "ok":
            self._connections.repair()
        before = self._scalar("SELECT count(*) FROM quarantine")
        last = 0
        while rows := self._all(
            f"SELECT rowid, {schema.RESPONSE_COLUMNS} FROM responses "
            "WHERE rowid > ? ORDER BY rowid LIMIT 1000",
            (last,),
        ):
            last = rows[-1][0]
            damaged = [row[1:] for row in rows if decode_or_none(row[1:]) is None]
            self._quarantine("responses", damaged, _DAMAGED)
        return int(self._scalar("SELECT count(*) FROM quarantine") - before)

    # -- grades --------------------------------------------------------------------------------

    def get_grades(self, keys: Iterable[str]) -> dict[str, Grade]:
        """Return the cached grades among ``keys`` (see :func:`grade_key`)."""
        found: dict[str, Grade] = {}
        damaged: list[schema.Row] = []
        columns = "key, score, label, parsable, digest"
        for key, row in self._select("grades", columns, keys):
            grade = schema.decode_grade(row)
            if grade is None:
                damaged.append(row)
            else:
                found[key] = grade
        self._quarantine("grades", damaged, _DAMAGED)
        return found

    def put_grades(self, grades: Mapping[str, Grade]) -> None:
        """Store grades under their keys, in one transaction."""
        rows = [schema.encode_grade(key, grade) for key, grade in grades.items()]
        statement = "INSERT OR REPLACE INTO grades VALUES (?,?,?,?,?)"
        self._connections.write(lambda connection: connection.executemany(statement, rows))

    # -- meta and failures ---------------------------------------------------------------------

    def get_meta(self, key: str) -> str | None:
        """Return the text kept under ``key``, or None."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def put_meta(self, key: str, value: str) -> None:
        """Keep a text under ``key``, in place of what was there."""
        statement = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        self._connections.write(lambda connection: connection.execute(statement, (key, value)))

    def change_meta(self, key: str, change: Callable[[str | None], str]) -> None:
        """Keep what ``change`` makes of the text under ``key``; nobody writes in between."""

        def work(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            values = (key, change(None if row is None else row[0]))
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)

        self._connections.write(work)

    def put_failures(self, owner: str, failures: Iterable[Failure]) -> None:
        """Record finally failed requests of the collector ``owner``, for processes that wait."""
        rows = [
            (owner, one.key, one.reason.encode("utf-8", "replace").decode(), one.attempts)
            for one in failures
        ]
        statement = "INSERT OR REPLACE INTO failures VALUES (?,?,?,?)"
        self._connections.write(lambda connection: connection.executemany(statement, rows))

    def get_failures(self, owner: str, keys: Iterable[str]) -> dict[str, Failure]:
        """Return the failures that the collector ``owner`` recorded among ``keys``."""
        wanted = set(keys)
        rows = self._all("SELECT key, reason, attempts FROM failures WHERE owner = ?", (owner,))
        return {row[0]: Failure(*row) for row in rows if row[0] in wanted}

    def put_collector(self, owner: str, state: str, reason: str = "") -> None:
        """Say how the collector ``owner`` stands: ``running``, ``done``, or ``stopped``."""
        statement = "INSERT OR REPLACE INTO collectors VALUES (?,?,?)"
        values = (owner, state, reason.encode("utf-8", "replace").decode())
        self._connections.write(lambda connection: connection.execute(statement, values))

    def get_collectors(self) -> dict[str, tuple[str, str]]:
        """Return owner -> (state, reason) of every collector on record."""
        return {row[0]: (row[1], row[2]) for row in self._all("SELECT * FROM collectors")}

    def forget_collectors(self, owners: Iterable[str]) -> None:
        """Drop the records and failures of collectors that are gone."""
        values = [(owner,) for owner in owners]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM failures WHERE owner = ?", values)
            connection.executemany("DELETE FROM collectors WHERE owner = ?", values)

        self._connections.write(work)

    def data_version(self) -> int:
        """A number that changes when another connection has written; cheap to poll."""
        return int(self._scalar("PRAGMA data_version"))

    # -- plumbing ------------------------------------------------------------------------------

    def _scalar(self, statement: str) -> Any:
        return self._all(statement)[0][0]

    def _all(self, statement: str, values: Sequence[object] = ()) -> list[schema.Row]:
        return self._connections.run(lambda one: one.execute(statement, values).fetchall())

    def _select(
        self, table: str, columns: str, keys: Iterable[str]
    ) -> Iterator[tuple[str, schema.Row]]:
        wanted = list(keys)
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            statement = f"SELECT {columns} FROM {table} WHERE key IN ({marks})"
            for row in self._all(statement, chunk):
                yield row[0], row

    def _quarantine(self, table: str, rows: Sequence[schema.Row], reason: str) -> None:
        """Set rows aside, which begin with their key and end with their digest."""
        if not rows:
            return
        # By digest: what another process has stored in place of a row since is not that row.
        values = [(row[0], row[-1]) for row in rows]

        def work(connection: sqlite3.Connection) -> None:
            body = "body" if table == "responses" else "CAST(label AS BLOB)"
            connection.executemany(
                f"INSERT INTO quarantine (origin, key, row, reason) SELECT '{table}', key, {body}, "
                f"'{reason}' FROM {table} WHERE key = ? AND digest = ?",
                values,
            )
            connection.executemany(f"DELETE FROM {table} WHERE key = ? AND digest = ?", values)

        if not self._connections.read_only:
            self._connections.write(work)
        what = "response" if table == "responses" else "grade"
        damaged = "damaged " if reason == _DAMAGED else ""
        notice = (
            f"store {self.path}: {len(rows)} {damaged}{what}{'s' * (len(rows) > 1)} set aside "
            f"({reason}); treated as missing"
        )
        # What is only read stays, and is found again at every look.
        if not self._connections.read_only or notice not in self._connections.notices:
            self._connections.notices.append(notice)


def _no_answer(response: Response) -> bool:
    found = no_answer(response.text, response.finish_reason, thought=response.thought)
    return found is not None


def _is_void(row: schema.Row) -> bool:
    """Whether a row of :data:`_GLANCE` with a body is seen to be no answer."""
    _, body, packed, finish_reason, _ = row
    try:
        finish = finish_reason.decode("utf-8", "replace")
        text, _, _ = schema.decode_body(body, packed)
    except (ValueError, TypeError, AttributeError, zlib.error):
        return False  # damaged: get_many sees to it
    return no_answer(text, finish) is not None


def decode_or_none(row: schema.Row) -> Response | None:
    """Decode a row of ``responses``; None where it is damaged in any way."""
    try:
        return schema.decode_response(row)
    except (ValueError, TypeError, AttributeError, zlib.error):
        return None
