"""Files written whole or not at all, and only where a file belongs.

A place to write to is a new file, a regular one, or a stream that is meant by its name
(``/dev/stdout``, ``/dev/stderr``, ``/dev/fd/N``). A device, a named pipe, a socket or a folder is
never replaced, whatever the user may do: renaming a file over ``/dev/null`` as root would succeed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_pbias.errors import ConfigurationError

_STREAM = re.compile(r"/dev/stdout|/dev/stderr|(?:/dev|/proc/self)/fd/([0-9]{1,9})")
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40  # as many as Linux follows
_SHOWN = 40  # characters of a file's name that its partial one keeps

_KINDS = (
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def stream_at(path: Path) -> int | None:
    """The descriptor that a path, or what it links to, means by its name; None for other paths."""
    name = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        found = _STREAM.fullmatch(name)
        if found is not None:
            return _STANDARD[name] if found[1] is None else int(found[1])
        try:
            name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
        except OSError:
            return None
    return None


def require_writable(path: Path) -> None:
    """See that ``path`` can be written, before what is to be written is worked for.

    Folders above it are made.

    Raises:
        OSError: it cannot; ``strerror`` says why.
    """
    descriptor = stream_at(path)
    if descriptor is not None:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EBADF, "it is open for reading only")
        return
    target = _file_at(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=target.parent):
        pass


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty file to fill; it takes the place of ``path`` once the block has ended well.

    A stream gets all of it at once. Where ``path`` is a link, the link stays, and what it leads to
    is written.

    Raises:
        OSError: it cannot be written, or no file belongs there; nothing is left behind.
    """
    descriptor = stream_at(path)
    if descriptor is not None:
        with tempfile.TemporaryDirectory() as folder:
            partial = Path(folder) / "content"
            partial.touch()
            yield partial
            _send(partial, descriptor)
        return
    target = _file_at(path)
    partial = target.with_name(f"{target.name[:_SHOWN]}.{secrets.token_hex(6)}.part")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield partial
        partial.replace(_file_at(path))  # looked at again: much may have happened meanwhile
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` as it is, in UTF-8.

    Raises:
        OSError: as :func:`whole_file` does.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def save_text(path: Path, text: str, what: str) -> None:
    """Write ``text`` whole; ``what`` names the file in the error. Folders above it are made.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    save_bytes(path, text.encode("utf-8"), what)


def save_bytes(path: Path, content: bytes, what: str) -> None:
    """Write ``content`` whole; ``what`` names the file in the error. Folders above it are made.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(
            f"{what} {path} cannot be written: {error.strerror or error}; give another path"
        ) from None


def _file_at(path: Path) -> Path:
    """The regular file that stands at ``path``, or the one that would.

    Raises:
        OSError: something else stands there.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    if stat.S_ISREG(mode):
        return Path(os.path.realpath(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    raise OSError(errno.EINVAL, f"it is {kind}, not a file")


def _send(partial: Path, descriptor: int) -> None:
    # Through a copy of the descriptor: to open the name anew would empty a file that the shell
    # has redirected the stream to. What was printed before goes first.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with partial.open("rb") as content, os.fdopen(os.dup(descriptor), "wb") as out:
        shutil.copyfileobj(content, out)
