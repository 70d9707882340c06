"""Which files a bare interpreter is made of: it prints its module path and its libraries.

It runs outside of the sandboxes, before them, and loads every extension module of the standard
library to see what the loader finds for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import os
import sys

# Modules for terminals, windows, sound and host tables, of which a sandbox has none: each library
# that they bring along is a mount more for every program.
_USELESS = ("xx", "_tkinter", "readline", "_curses", "nis", "_dbm", "_gdbm", "ossaudio", "_crypt")


class _Loaded(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("name", ctypes.c_char_p))


def libraries():
    """The paths of the shared libraries that are loaded now, as the loader found them."""
    found = []
    callback = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p
    )

    def note(loaded, size, data):
        found.append(os.fsdecode(loaded.contents.name or b""))
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(callback(note), None)
    return [path for path in found if os.path.isabs(path)]


def load_everything(folders):
    """Load the extension modules in these folders, but for those that are no use there."""
    for folder in folders:
        for name in os.listdir(folder):
            stem = name.partition(".")[0]
            if not name.endswith(".so") or "test" in stem or stem.startswith(_USELESS):
                continue
            loader = importlib.machinery.ExtensionFileLoader(stem, os.path.join(folder, name))
            with contextlib.suppress(Exception):
                importlib.util.module_from_spec(importlib.util.spec_from_loader(stem, loader))
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # glibc loads it when a thread ends early


folders = [path for path in sys.path if os.path.exists(path)]
load_everything(path for path in folders if os.path.isdir(path))
print(repr((folders, libraries())))
