"""Confine this interpreter for good: an unprivileged user, a system-call filter, Landlock.

``FILTER``, and ``SCRATCH`` (within bubblewrap's namespaces) or ``READABLE`` (under Landlock; the
other one is None), are defined by the text before this one. What is here runs before any text of a
model's.
"""

from __future__ import annotations

import array
import os
import struct
import sys

# What is below ctypes: importing that takes a program's start a tenth longer.
from _ctypes import call_function, dlopen, dlsym

_NOBODY = 65534
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every machine
_NO_NEW_PRIVILEGES, _SECCOMP, _DEATH_SIGNAL = 38, 22, 1
_NEW_USER = 0x10000000
_UNSAFE_FLAGS = 2 | 4 | 8  # no set-user-id, no devices, no programs
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_OF_NO_INTERPRETER = ("site-packages", "dist-packages")
_libc = dlopen(None, 0)


def _try(name, *args):
    """Call a function of C's that returns -1 where it fails."""
    return call_function(dlsym(_libc, name), args)


def _call(name, *args):
    result = _try(name, *args)
    if result < 0:
        raise OSError(f"{name}{args[:1]} is not possible here")
    return result


def mount_scratch(size, files):
    """Put the one writable folder at ``/tmp``: files count as well as bytes."""
    options = f"size={size},nr_inodes={files},mode=1777".encode()
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", _UNSAFE_FLAGS, options)
    os.chdir("/tmp")


def become_nobody():
    """Give up root for good, where this is root, and every capability in any case.

    Anyone but root stays who they are: outside of a user namespace, nobody else can be had.
    """
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        # A user namespace of its own counts its own threads only. Not everyone may have one.
        _try("unshare", _NEW_USER)
    version_3 = struct.pack("=Ii", 0x20080522, 0)
    _call("capset", version_3, bytes(24))
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def filter_calls(bpf):
    """Allow the calls that the filter allows, and no other."""
    held = array.array("B", bpf)
    program = struct.pack("HxxxxxxP", len(bpf) // 8, held.buffer_info()[0])
    _call("prctl", _SECCOMP, 2, program, 0, 0)


def _ruleset():
    """A ruleset that handles every access that this kernel's Landlock knows."""
    version = _call("syscall", _CREATE, None, 0, 1)
    accesses = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    size = 8 + 8 * (version >= 4) + 8 * (version >= 6)
    attributes = struct.pack("QQQ", (1 << accesses) - 1, network, scoped)[:size]
    return _call("syscall", _CREATE, attributes, size, 0)


def _allow(ruleset, path, access):
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", access, descriptor)
    _call("syscall", _ADD_RULE, ruleset, 1, rule, 0)
    os.close(descriptor)


def _allow_interpreter(ruleset, folder):
    """Allow what stands in a folder of the standard library, but no installed package."""
    if not os.path.isdir(folder):
        _allow(ruleset, folder, _READ)
        return
    _allow(ruleset, folder, _LIST)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _OF_NO_INTERPRETER:
                continue
            if entry.is_dir(follow_symlinks=False):
                _allow(ruleset, entry.path, _READ | _LIST | _EXECUTE)
            elif entry.is_file(follow_symlinks=False):
                _allow(ruleset, entry.path, _READ | _EXECUTE)


def rules(folders, files, devices):
    """Landlock's rules: reading the interpreter's files and these devices, nothing else."""
    ruleset = _ruleset()
    for folder in folders:
        _allow_interpreter(ruleset, folder)
    for path in files:
        _allow(ruleset, path, _READ | _EXECUTE)
    for path in devices:
        _allow(ruleset, path, _READ | _WRITE)
    return ruleset


def restrict(ruleset):
    """Put rules into force; the process ends with the one that started it."""
    # Only now: a change of user forgets the signal.
    _call("prctl", _DEATH_SIGNAL, 9, 0, 0, 0)
    _call("syscall", _RESTRICT, ruleset, 0)
    os.close(ruleset)


def hold_modules():
    """Hold the folders of modules open, for one who may not walk to them (root's home)."""
    held = [(path, os.open(path, os.O_PATH)) for path in sys.path if os.path.isdir(path)]

    def reach():
        for path, descriptor in held:
            if os.path.exists(os.path.join(path, ".")):
                os.close(descriptor)
            else:
                _move_modules(path, f"/proc/self/fd/{descriptor}")

    return reach


def _move_modules(old, new):
    sys.path_importer_cache.clear()
    moved = [sys.path]
    moved += [m.__path__ for m in sys.modules.values() if isinstance(vars(m).get("__path__"), list)]
    for paths in moved:
        paths[:] = [
            new + path[len(old) :] if path == old or path.startswith(old + "/") else path
            for path in paths
        ]


def before_limits():
    """Do what needs rights, then give all of them up."""
    global RULES
    if SCRATCH is None:
        RULES = rules(*READABLE)
        reach = hold_modules()
    else:
        mount_scratch(*SCRATCH)
        reach = int
    become_nobody()
    reach()


def after_limits():
    """Allow computing and what the sandbox has of files, no more."""
    if SCRATCH is None:
        restrict(RULES)
    filter_calls(FILTER)
