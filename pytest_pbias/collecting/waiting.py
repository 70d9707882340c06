"""Waiting for answers that another process collects, without hanging when it dies."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.store import Store
from pytest_pbias.models.process import start_time

_LIVENESS_SECONDS = 1.0


def this_owner(number: int = 0) -> str:
    """Identify a collector of this process: host, process id, its start time, and a number."""
    return f"{socket.gethostname()}:{os.getpid()}:{start_time(os.getpid())}:{number}"


def owner_alive(owner: str) -> bool:
    """Whether the process of a collector still runs; True where that cannot be known."""
    try:
        host, pid, started, _ = owner.rsplit(":", 3)
        number = int(pid)
    except ValueError:
        return False
    if host != socket.gethostname():
        return True
    now_started = start_time(number)
    if now_started is None:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not Path("/proc/self/stat").exists()
    return started in (str(now_started), "None")


def store_wait(
    store: Store,
    keys: Iterable[str],
    *,
    owner: str,
    timeout: float | None = None,
    poll: float = 0.05,
) -> dict[str, Failure]:
    """Block until each of ``keys`` is in the store or failed; return those that failed.

    ``owner`` is :attr:`Collector.owner` of the process that collects. When it has ended or died,
    what is still missing is returned as failed, so this never hangs. ``timeout`` in seconds.

    Raises:
        TimeoutError: the time ran out; what has arrived stays in the store.
        StoreError: the store cannot be read.
    """
    failed: dict[str, Failure] = {}
    open_keys = list(dict.fromkeys(keys))
    end = math.inf if timeout is None else time.monotonic() + timeout
    for over in _changes(store, owner, poll, end):
        open_keys = store.missing(open_keys)
        failures = store.get_failures(owner, open_keys) if open_keys else {}
        failed |= failures
        open_keys = [key for key in open_keys if key not in failures]
        if over is not None:
            failed |= {key: Failure(key, over, 0) for key in open_keys}
            open_keys = []
        if not open_keys:
            return failed
    raise TimeoutError(f"{len(open_keys)} responses did not arrive in {timeout:g} s")


def store_wait_until(
    store: Store, ready: Callable[[], bool], *, owner: str, poll: float = 0.05
) -> None:
    """Block until ``ready``, which reads the store, or until the collector has ended or died.

    Raises:
        StoreError: the store cannot be read.
    """
    for over in _changes(store, owner, poll):
        if ready() or over is not None:
            return


def _changes(store: Store, owner: str, poll: float, end: float = math.inf) -> Iterator[str | None]:
    """At each change of the store, and once a second: why nothing more will come, or None.

    The first comes at once, the last by ``end``. That state is read before the rest: what was
    stored until it changed is then found by whoever looks.
    """
    seen: int | None = None
    next_check = 0.0
    while True:
        now = time.monotonic()
        version = store.data_version()
        check = now >= next_check
        if version != seen or check:
            over = _over(store, owner, check_alive=check)
            seen, next_check = version, now + _LIVENESS_SECONDS if check else next_check
            yield over
        if now >= end:
            return
        time.sleep(poll)


def _over(store: Store, owner: str, *, check_alive: bool) -> str | None:
    """Why nothing more will come from a collector, or None while it works."""
    state, reason = store.get_collectors().get(owner, ("", ""))
    if state in ("done", "stopped"):
        return reason or "never asked: the collecting run ended before"
    if check_alive and not owner_alive(owner):
        return "never asked: the collecting process died"
    return None
