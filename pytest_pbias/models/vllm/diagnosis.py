"""What a server's log says: how far it is, what went wrong, what it runs."""

from __future__ import annotations

import re
from pathlib import Path

_HINTS = (
    ("gated repo", "the model is gated: accept its licence on the hub and set HF_TOKEN"),
    ("401 client error", "the hub rejects the token: set HF_TOKEN"),
    ("no space left", "the disk is full: free some space for the weights"),
    ("out of memory", "the GPU has too little memory: take a smaller model or other arguments"),
    ("no available memory for the cache", "too little memory is left for the KV cache: see "
     "--gpu-memory-utilization and --max-model-len among the arguments for vLLM"),
    ("failed to infer device type", "vLLM finds no GPU; its CPU build runs without one"),
    ("not supported for now", "this version of vLLM does not know the model's architecture"),
    ("offline mode", "the weights are not in the cache and the hub may not be asked"),
)  # fmt: skip
_PASSED_ON = "root cause|WorkerProc initialization failed|Internal Server Error"
_PHASES = (
    ("Application startup complete", "ready"),
    ("Capturing CUDA graph", "warming up"),
    ("torch.compile", "compiling"),
    ("GPU KV cache size", "warming up"),
    ("Loading weights", "loading weights"),
    ("Loading safetensors", "loading weights"),
    ("Initializing a V1 LLM engine", "starting the engine"),
)
# In the line in which the engine states its whole configuration.
_STATED = {
    "dtype": r"\bdtype=torch\.(\w+)",
    "quantization": r"\bquantization=([\w.-]+)",
    "device": r"\bdevice_config=(\w+)",
    "max_model_len": r"\bmax_seq_len=(\d+)",
    "tensor_parallel_size": r"\btensor_parallel_size=(\d+)",
    "pipeline_parallel_size": r"\bpipeline_parallel_size=(\d+)",
    "data_parallel_size": r"\bdata_parallel_size=(\d+)",
    "prefix_caching": r"\benable_prefix_caching=(\w+)",
}


def phase(log: str) -> str:
    """How far a starting server is."""
    return next((name for mark, name in _PHASES if mark in log), "starting")


def trouble(log: str, path: Path) -> str:
    """One line: what the log says went wrong, and where the log is."""
    for mark, hint in _HINTS:
        if mark in log.lower():
            return f"{hint} (log: {path})"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\b\w*Error\b(?!\()", line)]
    # What the processes above say of the one that failed comes last and tells nothing.
    telling = [line for line in telling if not re.search(_PASSED_ON, line)] or telling or lines
    last = re.sub(r"\x1b\[[0-9;]*m", "", telling[-1])[:200] if telling else "it wrote nothing"
    return f"{last} (log: {path})"


def stated_config(log: str) -> dict[str, str]:
    """What the engine states of its configuration; what it does not state is left out."""
    line = next((line for line in log.splitlines() if "LLM engine (v" in line), "")
    found = {name: re.search(pattern, line) for name, pattern in _STATED.items()}
    return {name: match[1] for name, match in found.items() if match and match[1] != "None"}
