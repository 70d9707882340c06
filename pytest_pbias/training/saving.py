"""Saving what was trained: the adapter, and the merged model in a form that can be served."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytest_pbias.errors import InfrastructureError
from pytest_pbias.models.embedded import RUNTIME_FOLDER

ADAPTER = "adapter"
"""Folder of the adapter below the merged model."""


def save_trained(
    model: Any, tokenizer: Any, base: str, out: Path, *, step: int, checkpoint: Path
) -> None:
    """Write ``out/adapter`` and the merged model into ``out``.

    The merged model keeps the type of the base's weights. A base with the form that the embedded
    engine runs gets that form as well.

    Raises:
        InfrastructureError: the conversion failed.
    """
    import torch
    from peft import load_peft_weights, set_peft_model_state_dict
    from transformers import AutoConfig

    if step == 0:  # nothing was better than the model as it was
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.data.zero_()
    elif checkpoint.is_dir():
        set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device="cpu"))
    model.save_pretrained(str(out / ADAPTER))
    merged = model.merge_and_unload()
    stored = getattr(AutoConfig.from_pretrained(base), "dtype", None)
    merged = merged.to(stored if isinstance(stored, torch.dtype) else torch.bfloat16)
    merged.config.use_cache = True
    merged.save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))
    if (Path(base) / RUNTIME_FOLDER).is_dir():
        save_runtime(out)


def save_runtime(folder: Path) -> None:
    """Convert the weights of ``folder`` to what onnxruntime-genai runs, in ``folder/runtime``.

    Raises:
        InfrastructureError: its builder failed.
    """
    target = folder / RUNTIME_FOLDER
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "onnxruntime_genai.models.builder"),
                *("-i", str(folder), "-o", str(target), "-p", "fp32", "-e", "cpu", "-c", cache),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InfrastructureError(f"the merged model could not be converted to ONNX: {last}")
