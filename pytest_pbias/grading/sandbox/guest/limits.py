"""Resource limits of a sandboxed interpreter; they hold for everything that it runs."""

from __future__ import annotations

import os
import resource


def limit(cpu, memory, file, files):
    """Limit CPU seconds, bytes of memory and of a file, and open files, beyond recall."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for which, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (most, most))


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
