"""Saving what was trained: the adapter, and the merged model in a form that can be served."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.embedded import RUNTIME_FOLDER

ADAPTER = "adapter"
"""Folder of the adapter below the merged model."""

_BUILDER = (sys.executable, "-m", "onnxruntime_genai.models.builder")
_USAGE = 2  # how a program ends that was called wrongly


def save_trained(
    model: Any,
    tokenizer: Any,
    base: str,
    out: Path,
    *,
    step: int,
    checkpoint: Path,
    quantized: bool = False,
) -> None:
    """Write ``out/adapter`` and the merged model into ``out``.

    The merged model keeps the type of the base's weights; an adapter of ``quantized`` weights is
    merged into the base's own, not into what 4 bits left of them. A base with the form that the
    embedded engine runs gets that form as well.

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
    merged = _whole(base, out / ADAPTER) if quantized else model.merge_and_unload()
    stored = getattr(AutoConfig.from_pretrained(base), "dtype", None)
    merged = merged.to(stored if isinstance(stored, torch.dtype) else torch.bfloat16)
    merged.config.use_cache = True
    merged.save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))
    if (Path(base) / RUNTIME_FOLDER).is_dir():
        save_runtime(out)


def _whole(base: str, adapter: Path) -> Any:
    """The base's weights as they are stored, with an adapter merged into them."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def require_runtime_builder(base: str) -> None:
    """See that what is trained from ``base`` can be given the form that it must end in.

    Raises:
        ConfigurationError: ``base`` has the embedded engine's form, and the builder of that form
            cannot be loaded here.
    """
    if not (Path(base) / RUNTIME_FOLDER).is_dir():
        return
    problem = _builder_problem()
    if problem:
        raise ConfigurationError(
            f"{base} is trained into the embedded engine's form as well, whose builder cannot be "
            f"loaded ({problem}): pip install 'pytest-pbias[embedded,train]'"
        )


@functools.cache
def _builder_problem() -> str:
    """Why the builder cannot be loaded; empty where it can.

    It is started without arguments, which it refuses once everything it needs is imported: that
    finds a missing package whatever the versions installed need.
    """
    done = subprocess.run(_BUILDER, capture_output=True, text=True)
    return "" if done.returncode in (0, _USAGE) else _last_line(done.stderr)


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
                *_BUILDER,
                *("-i", str(folder), "-o", str(target), "-p", "fp32", "-e", "cpu", "-c", cache),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise InfrastructureError(
            f"the merged model could not be converted to ONNX: {_last_line(done.stderr)}"
        )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
