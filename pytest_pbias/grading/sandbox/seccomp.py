"""The classic-BPF system-call filter of sandboxed interpreters.

It allows what an interpreter needs to compute, and denies every other call: new processes, sockets
(of every family), System V and POSIX queues and shared memory, signals to others, namespaces,
mounts, io_uring, keys, and whatever a later kernel adds. Threads may start, processes may not.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # the lower halves
_ALLOW, _KILL, _DENY, _MISSING = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_THREAD = 0x00010000  # CLONE_THREAD


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    clone: int
    clone3: int
    fcntl: int
    ioctl: int
    socketpair: int
    computing: tuple[int, ...]
    scratch: tuple[int, ...]


# ``computing``: reading and writing open files, opening (the sandbox says which), memory, time,
# signals within the process, waiting (epoll and event descriptors too, which asyncio needs),
# sending and receiving on the only sockets there can be, pairs of the program's own, threads'
# bookkeeping, and ending.
# ``scratch``: making, renaming and removing files, where the sandbox has a scratch folder.
_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        clone=56,
        clone3=435,
        fcntl=72,
        ioctl=16,
        socketpair=53,
        computing=(
            *range(15),
            *(15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 32, 33, 34, 35, 36, 37, 38, 39, 60, 63),
            *(73, 79, 89, 95, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 111, 121, 124, 127),
            *(131, 158, 186, 201, 202, 204, 217, 218, 219, 228, 229, 230, 231, 257, 262, 267),
            *(269, 270, 271, 273, 274, 292, 293, 318, 324, 332, 334, 439),
            *(44, 45, 48, 213, 232, 233, 281, 290, 291),
        ),
        scratch=(74, 75, 77, 82, 83, 84, 87, 90, 91, 258, 263, 264, 268, 280, 316),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        clone=220,
        clone3=435,
        fcntl=25,
        ioctl=29,
        socketpair=199,
        computing=(
            *(17, 23, 24, 32, 48, 56, 57, 59, 61, 62, 63, 64, 65, 66, 67, 68, 72, 73, 78, 79, 80),
            *(93, 94, 96, 98, 99, 100, 101, 102, 103, 113, 114, 115, 123, 124, 128, 132, 134, 135),
            *(136, 139, 153, 155, 156, 160, 163, 165, 166, 169, 172, 173, 174, 175, 176, 177),
            *(178, 179, 214, 215, 216, 222, 226, 233, 278, 283, 291, 293, 439),
            *(19, 20, 21, 22, 206, 207, 210),
        ),
        scratch=(34, 35, 38, 46, 52, 53, 82, 83, 88, 276),
    ),
}
# Of fcntl: duplicating and the flags of descriptors, not the commands that send signals.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)
# Of ioctl: that a descriptor does not block.
_IOCTL_COMMANDS = (0x5421,)
# Pairs of stream sockets, whatever their flags: a datagram socket could write to any other.
_UNIX, _STREAM_TYPES = 1, (0x1, 0x801, 0x80001, 0x80801)


def _step(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, when, otherwise, value)


def only_computing(*, scratch: bool = False) -> bytes | None:
    """The filter for this machine, or None where its system calls are not known here.

    ``clone`` is allowed for threads only; ``clone3``, whose flags a filter cannot read, is
    reported as missing, so that the C library falls back to ``clone``. ``scratch`` allows to make
    and remove files as well.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    steps = _right_numbering(machine)
    for number in (*machine.computing, *(machine.scratch if scratch else ())):
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    steps += _second_argument(machine.fcntl, _FCNTL_COMMANDS)
    steps += _second_argument(machine.ioctl, _IOCTL_COMMANDS)
    steps += [
        _step(_EQUAL, machine.socketpair, 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_EQUAL, _UNIX, 1, 0),
        _step(_RETURN, _DENY),
        _step(_LOAD, _NUMBER),
        *_second_argument(machine.socketpair, _STREAM_TYPES),
        *_threads_only(machine),
        _step(_EQUAL, machine.clone, 0, 1),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join([*steps, _step(_RETURN, _DENY)])


def _second_argument(call: int, values: tuple[int, ...]) -> list[bytes]:
    """Allow a call with one of these second arguments, deny it with another."""
    allowed = [
        step for value in values for step in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))
    ]
    return [
        _step(_EQUAL, call, 0, len(allowed) + 2),
        _step(_LOAD, _SECOND_ARGUMENT),
        *allowed,
        _step(_RETURN, _DENY),
    ]


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
