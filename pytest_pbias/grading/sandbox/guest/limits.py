"""Resource limits of a sandboxed interpreter; they hold for everything that it runs.

A sandbox may put its own text before this one, with ``before_limits`` (what needs rights that go
before the limits come) and ``after_limits`` (what forbids to change them).
"""

from __future__ import annotations

import _thread
import os
import resource


def limit(cpu, memory, file, files, threads):
    """Limit CPU seconds, bytes of memory and of a file, open files and threads, beyond recall."""
    globals().get("before_limits", int)()
    _limit_threads(threads)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for which, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(which, (most, most))
    globals().get("after_limits", int)()


def _limit_threads(most):
    """Leave room for ``most`` more processes and threads of this user.

    The kernel counts all of a user's, in a user namespace of its own only those within. The count
    is nowhere to be read; a thread tells whether it is below a limit.
    """
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most_of_all = 1 << 20 if hard == resource.RLIM_INFINITY else hard

    def starts(number):
        resource.setrlimit(resource.RLIMIT_NPROC, (number, hard))
        try:
            _thread.start_new_thread(int, ())
        except RuntimeError:
            return False
        return True

    low, high = 0, min(8, most_of_all)
    while high < most_of_all and not starts(high):
        low, high = high, min(2 * high, most_of_all)
    while high > 8 and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if starts(middle) else (middle, high)
    number = min(high + most, most_of_all)
    resource.setrlimit(resource.RLIMIT_NPROC, (number, number))


def read_line(descriptor):
    """The next line of a descriptor; ends the process where there is none."""
    got = []
    while not got or not got[-1].endswith(b"\n"):
        more = os.read(descriptor, 65536)
        if not more:
            os._exit(3)
        got.append(more)
    return b"".join(got).decode("ascii")


def write_line(descriptor, value):
    """Write a literal as one line of ASCII."""
    left = memoryview((ascii(value) + "\n").encode("ascii"))
    while left:
        left = left[os.write(descriptor, left) :]
