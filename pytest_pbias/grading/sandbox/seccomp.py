"""Classic-BPF system-call filters for sandboxed interpreters.

:func:`no_new_processes` goes with namespaces: threads may start, processes may not. Process limits
by number do not bind a user with system privileges, even one in a user namespace of its own, so
the calls themselves are denied. :func:`only_computing` goes with Landlock, which leaves sockets
other than TCP, signals, attributes of files and much else alone: it allows what an interpreter
needs to compute, and denies every other call.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_ALLOW, _KILL, _DENY, _MISSING = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_THREAD = 0x00010000  # CLONE_THREAD


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    clone: int
    clone3: int
    fcntl: int
    forbidden: tuple[int, ...]
    computing: tuple[int, ...]


# ``forbidden``: fork, vfork, ptrace, reaching into other processes, the kernel's keys, BPF,
# io_uring (which would do for a program what it may not do itself), performance events, user
# faults, namespaces and mounts.
# ``computing``: reading and writing open files, opening (Landlock says which), memory, time,
# signals within the process, waiting, threads' bookkeeping, and ending.
_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        clone=56,
        clone3=435,
        fcntl=72,
        forbidden=(
            *(57, 58, 101, 310, 311, 312, 438, 440, 248, 249, 250, 321, 425, 426, 427, 298, 323),
            *(272, 308, 165, 166, 155),
        ),
        computing=(
            *range(15),
            *(15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 32, 33, 34, 35, 36, 37, 38, 39, 60, 63),
            *(73, 79, 89, 95, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 111, 121, 124, 127),
            *(131, 158, 186, 201, 202, 204, 217, 218, 219, 228, 229, 230, 231, 257, 262, 267),
            *(269, 270, 271, 273, 274, 292, 293, 318, 324, 332, 334, 439),
        ),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        clone=220,
        clone3=435,
        fcntl=25,
        forbidden=(
            *(117, 270, 271, 272, 438, 440, 217, 218, 219, 280, 425, 426, 427, 241, 282),
            *(97, 268, 40, 39, 41),
        ),
        computing=(
            *(17, 23, 24, 32, 48, 56, 57, 59, 61, 62, 63, 64, 65, 66, 67, 68, 72, 73, 78, 79, 80),
            *(93, 94, 96, 98, 99, 100, 101, 102, 103, 113, 114, 115, 123, 124, 128, 132, 134, 135),
            *(136, 139, 153, 155, 156, 160, 163, 165, 166, 169, 172, 173, 174, 175, 176, 177),
            *(178, 179, 214, 215, 216, 222, 226, 233, 278, 283, 291, 293, 439),
        ),
    ),
}
# Of fcntl: duplicating and the flags of descriptors, not the commands that send signals.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)


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
    steps = _right_numbering(machine)
    for number in machine.forbidden:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _DENY)]
    steps += _threads_only(machine)
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def only_computing() -> bytes | None:
    """The filter for this machine, or None where its system calls are not known here."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    steps = _right_numbering(machine)
    for number in machine.computing:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    commands = [
        step
        for command in _FCNTL_COMMANDS
        for step in (_step(_EQUAL, command, 0, 1), _step(_RETURN, _ALLOW))
    ]
    steps += [
        _step(_EQUAL, machine.fcntl, 0, len(commands) + 2),
        _step(_LOAD, _SECOND_ARGUMENT),
        *commands,
        _step(_RETURN, _DENY),
        *_threads_only(machine),
        _step(_EQUAL, machine.clone, 0, 1),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join([*steps, _step(_RETURN, _DENY)])


def _right_numbering(machine: _Machine) -> list[bytes]:
    """Kill what calls by another machine's numbers; leave the number of the call loaded."""
    return [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, machine.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        # The 32-bit numbering of x86-64 would slip past every comparison below.
        _step(_ANY_BIT, 0x40000000, 0, 1),
        _step(_RETURN, _KILL),
    ]


def _threads_only(machine: _Machine) -> list[bytes]:
    """Deny new processes; leave the number of the call loaded."""
    return [
        _step(_EQUAL, machine.clone3, 0, 1),
        _step(_RETURN, _MISSING),
        _step(_EQUAL, machine.clone, 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _THREAD, 1, 0),
        _step(_RETURN, _DENY),
        _step(_LOAD, _NUMBER),
    ]
