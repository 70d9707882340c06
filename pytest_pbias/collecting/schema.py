"""How responses lie in the SQLite file: tables, row encoding, and the hash each record carries."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

from pytest_pbias.models.chat import Response
from pytest_pbias.tasks.base import Grade

SCHEMA_VERSION = 2  # 2: bodies of answers that were thought about
APPLICATION_ID = 0x50424941  # "PBIA"

TABLES = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT NOT NULL UNIQUE, body BLOB NOT NULL, packed INTEGER NOT NULL,
    finish_reason BLOB NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER,
    latency REAL NOT NULL, digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS grades (
    key TEXT PRIMARY KEY, score REAL NOT NULL, label TEXT NOT NULL, parsable INTEGER NOT NULL,
    digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    owner TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (owner, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS collectors (
    owner TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, key TEXT, row BLOB, reason TEXT NOT NULL);
"""

RESPONSE_COLUMNS = (
    "key, body, packed, finish_reason, prompt_tokens, completion_tokens, latency, digest"
)

_PACKED, _THOUGHT = 1, 2  # what the column ``packed`` says of a body, added up
_PACK_FROM = 400  # bytes; shorter texts are stored as they are

Row = tuple[Any, ...]


def _digest(*fields: object) -> bytes:
    return hashlib.blake2b(repr(fields).encode(), digest_size=16).digest()


def encode_text(text: str) -> bytes:
    """UTF-8 that also keeps lone surrogates, which JSON escapes in an answer can produce."""
    return text.encode("utf-8", "surrogatepass")


def decode_body(body: bytes, packed: int) -> tuple[str, str, int | None]:
    """The text of a response, its reasoning and the tokens of that, from its two columns.

    Raises:
        ValueError, zlib.error: they are damaged.
    """
    plain = zlib.decompress(body) if packed & _PACKED else body
    text = plain.decode("utf-8", "surrogatepass")
    if not packed & _THOUGHT:
        return text, "", None
    answer, reasoning, tokens = json.loads(text)
    return answer, reasoning, tokens


def encode_response(response: Response) -> Row:
    """Return the row of ``responses`` for a response, in :data:`RESPONSE_COLUMNS` order."""
    thought = response.reasoning, response.reasoning_tokens
    packed = 0 if thought == ("", None) else _THOUGHT
    body = encode_text(json.dumps((response.text, *thought)) if packed else response.text)
    if len(body) >= _PACK_FROM:
        smaller = zlib.compress(body, 1)
        if len(smaller) < len(body):
            body, packed = smaller, packed | _PACKED
    fields = (
        response.key,
        body,
        packed,
        encode_text(response.finish_reason),
        response.prompt_tokens,
        response.completion_tokens,
        float(response.latency),
    )
    return (*fields, _digest(*fields))


def decode_response(row: Row) -> Response | None:
    """Return the response in a row, or None where the row does not match its hash."""
    *fields, digest = row
    if digest != _digest(*fields):
        return None
    key, body, packed, finish_reason, prompt_tokens, completion_tokens, latency = fields
    text, reasoning, reasoning_tokens = decode_body(body, packed)
    return Response(
        key=key,
        text=text,
        finish_reason=finish_reason.decode("utf-8", "surrogatepass"),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        latency=latency,
        reasoning=reasoning,
        reasoning_tokens=reasoning_tokens,
    )


def encode_grade(key: str, grade: Grade) -> Row:
    """Return the row of ``grades`` for one grade."""
    fields = (key, float(grade.score), grade.label, int(grade.parsable))
    return (*fields, _digest(*fields))


def decode_grade(row: Row) -> Grade | None:
    """Return the grade in a row, or None where the row does not match its hash."""
    *fields, digest = row
    if digest != _digest(*fields):
        return None
    return Grade(fields[1], fields[2], bool(fields[3]))
