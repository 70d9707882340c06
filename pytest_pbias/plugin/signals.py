"""SIGTERM ends a run as Ctrl-C does: what was paid for is kept and reported."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


def do_nothing() -> None:
    """Restore nothing."""


def interrupt_on_sigterm() -> Callable[[], None]:
    """Turn SIGTERM into KeyboardInterrupt; return the function that undoes it.

    Left alone where someone else handles the signal, or outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return do_nothing
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return do_nothing

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)

    def restore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return restore
