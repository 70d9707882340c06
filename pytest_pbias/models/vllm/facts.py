"""What is known of a running server, for the record: asked of it, and read off its log."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Sequence
from typing import Any

from pytest_pbias.models.spec import ModelSpec
from pytest_pbias.models.vllm.chat_start import chat_start_trouble
from pytest_pbias.models.vllm.command import without_secrets
from pytest_pbias.models.vllm.diagnosis import stated_config
from pytest_pbias.models.vllm.weights import ask_local

_SECONDS = 5.0


def server_facts(spec: ModelSpec, address: str, command: Sequence[str], log: str) -> dict[str, Any]:
    """Version, served names, type of the weights and arguments of the server at ``address``.

    JSON; what the server does not say is left out. ``address`` has no path; of the command the
    arguments after ``--port N`` are kept.
    """
    facts: dict[str, Any] = {"engine": "vLLM", "model": spec.served_name}
    version = _get(f"{address}/version")
    if isinstance(version, dict) and isinstance(version.get("version"), str):
        facts["version"] = version["version"]
    listed = _get(f"{address}/v1/models")
    rows = listed.get("data") if isinstance(listed, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("id") == spec.base_name:
            facts |= {"weights": row.get("root"), "max_model_len": row.get("max_model_len")}
    facts |= {name: _number(value) for name, value in stated_config(log).items()}
    if spec.hub is not None:
        facts["revision"] = spec.revision
    trouble = chat_start_trouble(address, spec.served_name)
    if trouble is not None:
        facts["warning"] = trouble
    if spec.adapter is not None:
        facts["adapter"] = {"name": spec.adapter.name, "rank": spec.adapter.rank,
                            "digest": spec.adapter.digest}  # fmt: skip
    facts["arguments"] = without_secrets(command[command.index("--port") + 2 :])
    return facts


def _number(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _get(url: str) -> Any:
    try:
        with ask_local(url, _SECONDS) as answer:
            return json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None
