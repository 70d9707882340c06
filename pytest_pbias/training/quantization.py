"""The paper's 4-bit weights (QLoRA): where they can be had, and why not elsewhere."""

from __future__ import annotations

import importlib.util
from typing import Any

NF4: dict[str, Any] = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float16",
}
"""As released with arXiv 2406.11107."""


def why_not_quantized(*, cpu: bool) -> str:
    """Why a model cannot be trained on 4-bit weights here; empty where it can."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed"
    import torch

    return "there is no GPU" if cpu or not torch.cuda.is_available() else ""
