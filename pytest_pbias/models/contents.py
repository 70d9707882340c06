"""What identifies a folder that answers come from: all that is in it, but for a few named things.

A list of the files that matter would have to name every tokenizer's and every loader's; what it
forgot would let two models pass for one in the store. So everything counts that is not left out
here, and ``docs/models.md`` says what is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_pbias.errors import ConfigurationError

LEFT_OUT_FOLDERS = frozenset({".git", ".cache", "__pycache__"})
LEFT_OUT_FILES = frozenset({".gitattributes", ".gitignore", ".DS_Store"})
LEFT_OUT_DOCUMENTS = (
    *("README", "LICENSE", "LICENCE", "NOTICE", "COPYING"),
    *("USE_POLICY", "MODEL_CARD", "CHANGELOG"),
)
LEFT_OUT_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp", ".ico")
# What `pbias train` leaves beside a model, told by its note.
TRAINING_NOTE = "training.json"
LEFT_OUT_OF_TRAININGS = frozenset({TRAINING_NOTE, "checkpoints", "checks.jsonl", "pairs.jsonl"})

_DOCUMENT = re.compile(
    rf"(?:{'|'.join(LEFT_OUT_DOCUMENTS)})(?:\.(?:md|txt|rst|html|pdf))?", re.IGNORECASE
)
_THREADS = 8  # hashing releases the interpreter, and large weights come in many files


def contents_digest(folder: Path, *, scheme: str) -> str:
    """SHA-256 (hex) over names and contents of everything in ``folder`` that may change an answer.

    It may be a single file as well.
    ``scheme`` names the way of identifying, so that what another way identified is never taken for
    it. A link counts as what it leads to: a snapshot in the hub's cache has the identity of a copy.

    Raises:
        ConfigurationError: something in it cannot be read; the message names it.
    """
    found = [("", folder, "")] if folder.is_file() else _contents(folder)
    # A file that several names lead to is read once.
    files = {_key(path): path for _, path, _ in found if path is not None}
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        hashes = dict(zip(files, pool.map(_hash, files.values()), strict=True))
    digest = hashlib.sha256(scheme.encode())
    for name, path, note in found:
        digest.update(os.fsencode(name) + b"\0")
        digest.update(
            hashlib.sha256(note.encode("utf-8", "surrogateescape")).digest() + b"\0no file\0"
            if path is None
            else hashes[_key(path)]
        )
    return digest.hexdigest()


def _contents(folder: Path) -> list[tuple[str, Path | None, str]]:
    """Names below ``folder``, in order, with file and note; without a file, the note says why."""
    return sorted(_walk(folder), key=lambda one: one[0])


def _walk(folder: Path) -> Iterator[tuple[str, Path | None, str]]:
    """All that counts, in any order that depends on the names only.

    Each folder is walked once, under the first name that leads to it, and those above ``folder``
    never: links may lead round in circles, or out.
    """
    trained = (folder / TRAINING_NOTE).is_file()
    above = {_key(path): ".." for path in folder.resolve().parents}
    walked = {**above, _key(folder): "."}
    left = [("", folder)]
    while left:
        prefix, current = left.pop()
        inner = []
        for name in _names(current):
            path, below = current / name, prefix + name
            if trained and not prefix and name in LEFT_OUT_OF_TRAININGS:
                continue
            try:
                status = path.stat()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    raise _unreadable(path, error) from None
                yield below, None, "leads nowhere"
                continue
            if stat.S_ISDIR(status.st_mode):
                if name in LEFT_OUT_FOLDERS:
                    continue
                key = (status.st_dev, status.st_ino)
                if key in walked:
                    yield below, None, f"is {walked[key]}"
                    continue
                walked[key] = below
                inner.append((f"{below}/", path))
            elif stat.S_ISREG(status.st_mode):
                if not _is_left_out(name):
                    yield below, path, ""
            else:
                yield below, None, "is neither file nor folder"  # never opened: it may not end
        left += reversed(inner)


def _is_left_out(name: str) -> bool:
    return (
        name in LEFT_OUT_FILES
        or name.lower().endswith(LEFT_OUT_IMAGES)
        or _DOCUMENT.fullmatch(name) is not None
    )


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from None


def _key(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return status.st_dev, status.st_ino


def _hash(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be read: {error.strerror or error}; what it holds may change answers"
    )
