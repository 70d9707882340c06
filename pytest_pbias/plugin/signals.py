"""Signals while a session asks: an interruption each, so that nothing paid for is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def noop() -> None:
    """Restore nothing."""


_ENDING = (signal.SIGTERM, signal.SIGHUP)  # of a scheduler, and of a terminal that is closed


def interrupt_on_signals() -> Callable[[], None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt; return the function that undoes it.

    Left alone where someone else handles the signal, or outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return noop
    taken = [one for one in _ENDING if signal.getsignal(one) is signal.SIG_DFL]

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for one in taken:
        signal.signal(one, interrupt)

    def restore() -> None:
        for one in taken:
            signal.signal(one, signal.SIG_DFL)

    return restore


@contextmanager
def patient_with_ctrl_c(say: Callable[[str], None]) -> Iterator[None]:
    """Let the block end although Ctrl-C is pressed once more; told by ``say`` what is going on.

    Raises:
        KeyboardInterrupt: it was pressed twice more.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is not signal.default_int_handler:
        yield
        return
    pressed = 0

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt
        say("writing what there is; Ctrl-C once more leaves without the table and the reports")

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
