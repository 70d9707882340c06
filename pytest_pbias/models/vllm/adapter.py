"""A LoRA adapter, checked for what vLLM can serve before a server is started for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.contents import contents_digest
from pytest_pbias.models.spec import Adapter

_ROOMS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ranks that --max-lora-rank takes
_INSIDE = "adapter"  # where `pbias train` leaves an adapter, below the merged model
_UNSERVED = (
    ("use_dora", "DoRA"),
    ("lora_bias", "a LoRA bias"),
    ("use_qalora", "QA-LoRA"),
    ("use_bdlora", "BD-LoRA"),
    ("alora_invocation_tokens", "Activated LoRA"),
    ("layer_replication", "replicated layers"),
    ("modules_to_save", "modules saved whole (modules_to_save)"),
)


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's folder, or that of a training with its ``adapter`` in it.

    Raises:
        ConfigurationError: it holds no adapter, or one that vLLM does not serve.
    """
    given = folder.resolve()
    inside = given / _INSIDE
    found = inside if not (given / "adapter_config.json").is_file() and inside.is_dir() else given
    try:
        config = json.loads((found / "adapter_config.json").read_text("utf-8"))
    except OSError:
        raise ConfigurationError(
            f"--pbias-lora: {folder} is not an adapter's folder: it has no adapter_config.json"
        ) from None
    except ValueError as error:
        raise ConfigurationError(
            f"--pbias-lora: {found / 'adapter_config.json'}: not JSON: {error}"
        ) from None
    weights = [*sorted(found.glob("adapter_model.safetensors")), *found.glob("adapter_model.bin")]
    if not weights:
        raise ConfigurationError(f"--pbias-lora: {found} has no adapter_model.safetensors")
    rank = _rank(config, found)
    return Adapter(
        name=found.parent.name if found.name == _INSIDE else found.name,
        folder=found,
        rank=rank,
        room=next(room for room in _ROOMS if room >= rank),
        digest=contents_digest(found, scheme="LoRA adapter 2"),
    )


def _rank(config: Any, folder: Path) -> int:
    """The largest rank of an adapter that can be served."""
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise ConfigurationError(
            f"--pbias-lora: {folder} is an adapter of type {kind}; vLLM serves LORA only"
        )
    for key, name in _UNSERVED:
        if config.get(key):
            raise ConfigurationError(
                f"--pbias-lora: {folder} has {name}, which vLLM does not serve: merge it into its "
                "base and measure the merged folder"
            )
    try:
        patterns = (config.get("rank_pattern") or {}).values()
        rank = max(int(one) for one in (config["r"], *patterns))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigurationError(
            f"--pbias-lora: {folder / 'adapter_config.json'} states no rank r"
        ) from None
    if not 1 <= rank <= _ROOMS[-1]:
        raise ConfigurationError(
            f"--pbias-lora: {folder} has rank {rank}; vLLM serves ranks of 1 to {_ROOMS[-1]}"
        )
    return rank
