"""What a probe tries before a sandbox is trusted: each attempt that works is named.

``HOST``, a dictionary of what exists on the host (a ``file``, the ``port`` and the ``abstract``
name that listen there, a ``process``, the ``user``), the ``scratch`` bytes and ``files``, and the
``memory`` and ``threads`` that a program may have are defined by the text before this one. No
attempt does harm where it works: what it opens it does not write, what it makes it removes.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import threading

_libc = ctypes.CDLL(None, use_errno=True)
_NOBODY = 65534
_KERNEL = (
    *("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger"),
    *("/proc/sys/kernel/panic", "/proc/sys/vm/drop_caches", "/sys/kernel/uevent_helper"),
)
_DEVICES = ("full", "random", "tty", "ptmx", "console", "kmsg", "mem", "fuse", "kvm", "vsock")
_SYSTEM = ("/etc/passwd", "/etc/hostname", "/etc/os-release", "/bin/sh", "/usr/bin/env")
_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/dev", "/run", "/", "/usr", "/root")
_NAME = "pbias-attempt"


def _any(attempt, things):
    """Whether an attempt works for any of these."""
    for thing in things:
        with contextlib.suppress(OSError):
            attempt(thing)
            return True
    return False


def _opens(flags):
    return lambda path: os.close(os.open(path, flags))


def _calls(function, *args):
    """Call a function of C's; whether it worked."""
    return getattr(_libc, function)(*args) >= 0


def _connects():
    return _any(
        lambda name: socket.socket(*name[:2]).connect(name[2]),
        (
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", HOST["port"])),
            (socket.AF_UNIX, socket.SOCK_STREAM, HOST["abstract"]),
        ),
    )


def _opens_sockets():
    """Of any kind; vsock and others lead out of a network namespace."""
    kinds = ((40, 1), (40, 2), (38, 5), (17, 3), (16, 3), (2, 1), (10, 1), (1, 1), (1, 2))
    return _any(lambda kind: socket.socket(*kind).close(), kinds)


def _forks():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def _is_privileged():
    """Root, or not nobody where root could have made it so, or with a capability."""
    capabilities = ctypes.create_string_buffer(24)
    _libc.capget(struct.pack("=Ii", 0x20080522, 0), capabilities)  # denied: none is seen
    user, group = {os.getuid(), os.geteuid()}, {os.getgid(), os.getegid()}
    return (
        0 in user
        or (HOST["user"] == 0 and user | group != {_NOBODY})
        or any(capabilities.raw)
        or any(_any(become, (0,)) for become in (os.setuid, os.seteuid, os.setgid))
    )


def _fills():
    """Whether it can keep more bytes or more files, in all, than a scratch folder takes."""
    made = []
    size = 0
    piece = bytes(512 * 1024)
    try:
        for place in (*_PLACES, os.getcwd(), os.path.dirname(os.__file__)):
            for content in (piece, b""):  # files that take room, then files that take none
                with contextlib.suppress(OSError):
                    while size <= HOST["scratch"] and len(made) <= HOST["files"]:
                        path = os.path.join(place, f"{_NAME}-{os.getpid()}-{len(made)}")
                        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                        made.append(path)
                        try:
                            written = os.write(descriptor, content)
                        finally:
                            os.close(descriptor)
                        size += written
                        if written < len(content):
                            break
        return len(made) > HOST["files"] or size > HOST["scratch"]
    finally:
        for path in made:
            os.unlink(path)


def _shares_memory():
    """System V and POSIX memory and queues, and files in memory, are beyond every limit."""
    found = False
    with contextlib.suppress(OSError):
        os.close(os.memfd_create("attempt"))
        found = True
    for make, drop, arguments in (
        ("shmget", "shmctl", (0, ctypes.c_size_t(4096), 0o600)),
        ("msgget", "msgctl", (0, 0o600)),
        ("semget", "semctl", (0, 1, 0o600)),
    ):
        made = getattr(_libc, make)(*arguments)
        if made >= 0:
            found = True
            getattr(_libc, drop)(made, *((0,) if make == "semget" else ()), 0, None)
    with contextlib.suppress(AttributeError):
        if _libc.mq_open(f"/{_NAME}".encode(), os.O_CREAT | os.O_RDWR, 0o600, None) >= 0:
            _libc.mq_unlink(f"/{_NAME}".encode())
            found = True
    return found


def _takes_memory():
    mmap.mmap(-1, HOST["memory"] + 2**20).close()
    return True


def _starts_threads():
    """Whether it can have far more threads at once than it may; some more are none's harm."""
    most = 4 * HOST["threads"]
    done = threading.Event()
    threading.stack_size(64 * 1024)
    started = []
    try:
        while len(started) < most:
            thread = threading.Thread(target=done.wait, args=(20,))
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        done.set()
        for thread in started:
            thread.join()
    return True


def _reaches_processes():
    """Signal 0 only asks whether one could; the priority is set to what it is."""

    def sets_priority(process):
        os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process))

    process = (HOST["process"],)
    return _any(lambda pid: os.kill(pid, 0), process) or _any(sets_priority, process)


def _makes_namespaces():
    """Of users, mounts and networks; they would end with this process."""
    return any(_libc.unshare(kind) == 0 for kind in (0x10000000, 0x20000, 0x40000000))


def _controls_the_kernel():
    read = _any(_opens(os.O_RDONLY), ("/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/1/environ"))
    return read or _any(_opens(os.O_WRONLY), _KERNEL)


_ATTEMPTS = {
    "reads": lambda: _any(_opens(os.O_RDONLY), (HOST["file"],)),
    "writes": lambda: _any(_opens(os.O_RDWR), (HOST["file"],)),
    "connects": _connects,
    "forks": _forks,
    "opens sockets": _opens_sockets,
    "lists folders": lambda: _any(os.listdir, (os.path.dirname(HOST["file"]), "/home", "/proc")),
    "reads the system's files": lambda: _any(_opens(os.O_RDONLY), _SYSTEM),
    "is privileged": _is_privileged,
    "controls the kernel": _controls_the_kernel,
    "opens devices": lambda: _any(_opens(os.O_RDWR), (f"/dev/{name}" for name in _DEVICES)),
    "evades the killer of processes": lambda: _any(
        _opens(os.O_WRONLY), ("/proc/self/oom_score_adj", "/proc/self/oom_adj")
    ),
    "fills what it can write": _fills,
    "shares memory": _shares_memory,
    "takes memory": _takes_memory,
    "starts threads without end": _starts_threads,
    "reaches processes": _reaches_processes,
    "traces": lambda: _calls("ptrace", 0x4206, HOST["process"], 0, 0),
    "uses io_uring": lambda: _calls("syscall", 425, 1, ctypes.create_string_buffer(120)),
    "makes namespaces": _makes_namespaces,
    "sees the environment": lambda: any(name not in ("PWD", "LC_CTYPE") for name in os.environ),
}


def attempts():
    """Names of the attempts that the sandbox did not stop."""
    worked = []
    for name, attempt in _ATTEMPTS.items():
        try:
            if attempt():
                worked.append(name)
        except (OSError, ValueError, MemoryError):
            continue
    return worked


verdict = ", ".join(attempts()) or "held"
with contextlib.suppress(OSError):
    # What it says next would not be "held".
    os.execv("/proc/self/exe", ["python", "-c", f"print({verdict + ', starts programs'!r})"])
os.write(1, verdict.encode() + b"\n")
