"""Which cores the workers of vLLM's CPU build compute on.

Left alone that build gives every worker of a replica a NUMA node of its own, refuses to start more
workers than there are nodes, and puts all replicas on the same cores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_pbias.models.vllm.command import option

BINDING = "VLLM_CPU_OMP_THREADS_BIND"
_SYSTEM = Path("/sys/devices/system")
_TENSOR = ("--tensor-parallel-size", "-tp")
_PIPELINE = ("--pipeline-parallel-size", "-pp")
_DATA = ("--data-parallel-size", "-dp")
_DATA_HERE = ("--data-parallel-size-local", "-dpl")


def thread_binding(arguments: Sequence[str], cores: Sequence[int], nodes: int) -> str | None:
    """Cores of each worker, as vLLM's variable has them; None where vLLM's own choice will do.

    ``cores`` are the physical ones this process may use, ``nodes`` the NUMA nodes they are on.
    With fewer cores than workers nothing is bound.
    """
    replicas = _size(arguments, _DATA_HERE) or _size(arguments, _DATA) or 1
    workers = replicas * (_size(arguments, _TENSOR) or 1) * (_size(arguments, _PIPELINE) or 1)
    if workers <= nodes or workers == 1:
        return None
    share = len(cores) // workers
    if share == 0:
        return "nobind"
    shares = [cores[n * share : (n + 1) * share] for n in range(workers)]
    return "|".join(",".join(map(str, one)) for one in shares)


def physical_cores(system: Path = _SYSTEM) -> list[int]:
    """One logical CPU of each physical core that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    seen: set[str] = set()
    kept = []
    for cpu in allowed:
        siblings = _read(system / f"cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        if siblings not in seen:
            seen.add(siblings)
            kept.append(cpu)
    return kept


def numa_nodes(cores: Sequence[int], system: Path = _SYSTEM) -> int:
    """How many NUMA nodes the cores are on; 1 where the system does not tell."""
    found = {
        node.name for cpu in cores for node in (system / f"cpu/cpu{cpu}").glob("node[0-9]*")
    }  # fmt: skip
    return len(found) or 1


def _size(arguments: Sequence[str], names: Sequence[str]) -> int | None:
    for name in names:
        value = option(arguments, name)
        if value is not None and value.isdigit():
            return int(value)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""
