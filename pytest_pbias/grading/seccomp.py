"""A classic-BPF system-call filter: threads may start, processes may not.

Process limits by number do not bind a user with system privileges, even one in a user namespace
of its own, so the sandbox denies the calls themselves.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _DENY, _MISSING = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_THREAD = 0x00010000  # CLONE_THREAD


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    clone: int
    clone3: int
    forbidden: tuple[int, ...]


# Numbers of fork, vfork, ptrace, and of the calls that reach other processes or the kernel's keys.
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 56, 435, (57, 58, 101, 310, 311, 248, 249, 250, 321)),
    "aarch64": _Machine(0xC00000B7, 220, 435, (117, 270, 271, 217, 218, 219, 280)),
}


def _step(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, when, otherwise, value)


def no_new_processes() -> bytes | None:
    """The filter for this machine, or None where its system calls are not known here.

    ``clone`` is allowed for threads only; ``clone3``, whose flags a filter cannot read, is
    reported as missing, so that the C library falls back to ``clone``.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, machine.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        # The 32-bit numbering of x86-64 would slip past every comparison below.
        _step(_ANY_BIT, 0x40000000, 0, 1),
        _step(_RETURN, _KILL),
    ]
    for number in machine.forbidden:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _DENY)]
    steps += [
        _step(_EQUAL, machine.clone3, 0, 1),
        _step(_RETURN, _MISSING),
        _step(_EQUAL, machine.clone, 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _THREAD, 1, 0),
        _step(_RETURN, _DENY),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)
