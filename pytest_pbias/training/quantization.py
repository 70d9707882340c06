"""The paper's 4-bit weights (QLoRA): where they can be had, and why not elsewhere."""

from __future__ import annotations

import functools
import importlib.util
import logging
from typing import Any

NF4: dict[str, Any] = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float16",
}
"""As released with arXiv 2406.11107."""


_ON_CPU = "on the CPU, in 32-bit arithmetic and without a paged optimizer"


def weights_config(*, cpu: bool) -> dict[str, Any]:
    """The configuration of the weights; on a CPU arithmetic has 32 bits."""
    return NF4 | ({"bnb_4bit_compute_dtype": "float32"} if cpu else {})


def why_not_quantized(*, cpu: bool) -> str:
    """Why a model cannot be trained on 4-bit weights here; empty where it can."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed"
    return _problem(_device(cpu=cpu))


def unlike_released(*, cpu: bool) -> str:
    """What 4-bit weights are trained without here: what a GPU alone has; empty on one."""
    return _ON_CPU if _device(cpu=cpu) == "cpu" else ""


def _device(*, cpu: bool) -> str:
    import torch

    return "cpu" if cpu or not torch.cuda.is_available() else "cuda"


@functools.cache
def _problem(device: str) -> str:
    """Why bitsandbytes has no 4-bit weights on a device; empty where it has.

    Which versions have them on which machines is known by trying alone.
    """
    import torch

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    where = "CPU" if device == "cpu" else "GPU"
    weights = torch.linspace(-1, 1, 4096).reshape(64, 64).to(device)
    try:
        from bitsandbytes import functional

        packed, state = functional.quantize_4bit(
            weights, quant_type=NF4["bnb_4bit_quant_type"], compress_statistics=True
        )
        error = float((functional.dequantize_4bit(packed, state) - weights).abs().max())
    except Exception as problem:  # whatever a library that does not fit the machine raises
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
        return f"bitsandbytes cannot quantize on this {where}: {reason}"
    return "" if error < 0.5 else f"bitsandbytes quantizes wrongly on this {where}"
