"""What is known of a running server, for the record: asked of it, and read off its log."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Sequence
from typing import Any

from pytest_pbias.models.spec import AdapterFacts, ModelSpec, ServerFacts
from pytest_pbias.models.vllm.chat_start import chat_start_trouble
from pytest_pbias.models.vllm.command import without_secrets
from pytest_pbias.models.vllm.diagnosis import stated_config
from pytest_pbias.models.vllm.weights import ask_local

_SECONDS = 5.0


def server_facts(
    spec: ModelSpec, address: str, command: Sequence[str], log: str, deterministic: str | None
) -> ServerFacts:
    """Version, served names, type of the weights and arguments of the server at ``address``.

    ``address`` has no path; of the command the arguments after ``--port N`` are kept;
    ``deterministic`` says how answers are kept from depending on the batch.
    """
    version = _get(f"{address}/version")
    listed = _get(f"{address}/v1/models")
    rows = listed.get("data") if isinstance(listed, dict) else None
    ours = [row for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict) and row.get("id") == spec.base_name]  # fmt: skip
    row = ours[-1] if ours else {}
    stated = stated_config(log)
    longest = stated.get("max_model_len", str(row.get("max_model_len")))
    adapter = spec.adapter
    return ServerFacts(
        engine="vLLM",
        model=spec.served_name,
        version=_text(version.get("version")) if isinstance(version, dict) else None,
        weights=_text(row.get("root")),
        revision=None if spec.hub is None else spec.revision,
        adapter=None
        if adapter is None
        else AdapterFacts(adapter.name, adapter.rank, adapter.digest),
        dtype=stated.get("dtype"),
        quantization=stated.get("quantization"),
        device=stated.get("device"),
        max_model_len=_number(longest),
        tensor_parallel_size=_number(stated.get("tensor_parallel_size")),
        pipeline_parallel_size=_number(stated.get("pipeline_parallel_size")),
        data_parallel_size=_number(stated.get("data_parallel_size")),
        prefix_caching=stated.get("prefix_caching"),
        deterministic=deterministic,
        warning=chat_start_trouble(address, spec.served_name),
        arguments=tuple(without_secrets(command[command.index("--port") + 2 :])),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _get(url: str) -> Any:
    try:
        with ask_local(url, _SECONDS) as answer:
            return json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None
