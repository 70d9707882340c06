"""Run programs in a sandbox as whoever runs this: JSON in, JSON out.

In: ``backend`` (a name) and ``programs`` (source, tests, set-up), each after ``HOST``, what there is
to reach. Out: ``reason`` (why the sandbox is not used, or null), ``outcomes``, ``harmed``.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytest_pbias.grading.sandbox import Program, run_many
from pytest_pbias.grading.sandbox.backends import BACKENDS, why_not


def _settings() -> list[str]:
    names = ("kernel/core_pattern", "kernel/panic", "vm/overcommit_memory", "kernel/pid_max")
    return [Path("/proc/sys", name).read_text() for name in names]


def run(request: dict[str, Any]) -> dict[str, Any]:
    (backend,) = [one for one in BACKENDS if one.name == request["backend"]]
    reason = why_not(backend)
    if reason is not None:
        return {"reason": reason}
    before = _settings()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        Path(folder).chmod(0o755)
        file = Path(folder, "kept")
        file.write_text("kept")
        file.chmod(0o666)  # anyone may: only the sandbox keeps a program from it
        server.bind("")
        server.listen()
        host = {
            "file": str(file),
            "folder": folder,
            "abstract": server.getsockname(),
            "process": os.getpid(),
            "user": os.getuid(),
        }
        programs = [
            Program(f"HOST = {host!r}\n{source}", *rest) for source, *rest in request["programs"]
        ]
        outcomes = run_many(programs, wall_seconds=30.0, backend=backend)
        harmed = file.read_text() != "kept" or _settings() != before
    return {"reason": None, "outcomes": outcomes, "harmed": harmed}


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
