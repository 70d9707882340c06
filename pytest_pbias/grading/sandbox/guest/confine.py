"""Confine this interpreter for good by Landlock and a system-call filter.

``READABLE``, ``DEVICES`` and ``FILTER`` are defined by the text before this one.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every machine
_NO_NEW_PRIVILEGES, _SECCOMP, _DEATH_SIGNAL = 38, 22, 1
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *args):
    result = function(*(ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _ruleset():
    """A ruleset that handles every access that this kernel's Landlock knows."""
    version = _call(_libc.syscall, _CREATE, None, 0, 1)
    accesses = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    size = 8 + 8 * (version >= 4) + 8 * (version >= 6)
    attributes = struct.pack("QQQ", (1 << accesses) - 1, network, scoped)[:size]
    return _call(_libc.syscall, _CREATE, attributes, size, 0)


def _allow(ruleset, path, access):
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", access, descriptor)
    _call(_libc.syscall, _ADD_RULE, ruleset, 1, rule, 0)
    os.close(descriptor)


def confine(readable, devices, bpf):
    """Leave this process the reading of ``readable`` and pure computing, and nothing else."""
    _call(_libc.prctl, _DEATH_SIGNAL, 9, 0, 0, 0)
    ruleset = _ruleset()
    for path in readable:
        _allow(ruleset, path, _READ | _LIST | _EXECUTE)
    for path in devices:
        _allow(ruleset, path, _READ | _WRITE)
    _call(_libc.prctl, _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call(_libc.syscall, _RESTRICT, ruleset, 0)
    os.close(ruleset)
    held = ctypes.create_string_buffer(bpf, len(bpf))
    program = struct.pack("HxxxxxxP", len(bpf) // 8, ctypes.addressof(held))
    _call(_libc.prctl, _SECCOMP, 2, program, 0, 0)


confine(READABLE, DEVICES, FILTER)
