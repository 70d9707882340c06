"""The same seed on the same machine gives the same weights: what has to hold for that on a CPU.

Sums of floating-point numbers depend on their order. PyTorch splits them among threads, so that
the number of threads is part of the result, and some of its kernels (gradients of indexing, for
one) add in whatever order the threads arrive. MKL chooses its code path by how memory happens to
be aligned, unless told not to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def deterministic_sums(threads: int, seed: int) -> Iterator[None]:
    """Order every sum in the same way in each training with ``seed`` and so many ``threads``.

    Applies to the CPU; PyTorch's earlier settings come back at the end, its seeds do not.
    MKL reads its setting once, so that it holds where nothing has multiplied matrices before.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO")
    import torch
    from transformers import set_seed

    threads_before = torch.get_num_threads()
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.set_num_threads(threads)
    # A model with an operation that has no such form is still trained; PyTorch warns of it.
    torch.use_deterministic_algorithms(True, warn_only=True)
    set_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
