"""Servers that a session starts, and what is known of the one that answered."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_pbias.collecting import Store
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import ModelSpec
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.vllm import VllmServer
from pytest_pbias.plugin.settings import Settings

_EMBEDDED_START_SECONDS = 120.0
_TEMPLATE_TOKENS = 256  # that a chat template may add to a conversation


def start_vllm(
    settings: Settings,
    longest_prompt: int,
    lost: Callable[[str], None],
    say: Callable[[str], None],
) -> VllmServer:
    """Start vLLM with room for a prompt of ``longest_prompt`` bytes and its answer.

    ``lost`` is told why, when the server has died for good; ``say`` how starting gets on.

    Raises:
        PbiasError: it cannot be started.
    """
    server = VllmServer(
        settings.model,
        settings.vllm,
        log=settings.store_dir / "logs" / f"vllm-{os.getpid()}.log",
        # At most a token a byte.
        longest=longest_prompt + settings.sampling.max_tokens + _TEMPLATE_TOKENS,
        lost=lost,
    )
    try:
        server.start(say)
    except BaseException:
        server.stop()
        raise
    return server


def start_embedded(spec: ModelSpec, logs: Path) -> tuple[ServerProcess, str]:
    """Start the embedded model's server; it ends with this process, however that ends."""
    if importlib.util.find_spec("onnxruntime_genai") is None:
        raise ConfigurationError(
            "the embedded model needs its runtime: pip install 'pytest-pbias[embedded]'"
        )
    command = [sys.executable, "-m", "pytest_pbias.models.embedded.server"]
    server = ServerProcess(
        [*command, "--model", str(spec.path), "--processes", str(min(os.cpu_count() or 1, 4))],
        log=logs / f"embedded-{os.getpid()}.log",
    )
    server.start()
    address = server.wait_ready(r"^listening on (http://\S+)$", _EMBEDDED_START_SECONDS)
    return server, f"{address.group(1)}/v1"


def remember_server(store: Store, spec: ModelSpec, facts: dict[str, Any]) -> None:
    """Keep what is known of a server beside its answers.

    Every version of it that answered is in ``versions``.
    """
    known = served_facts(store, spec) or {}
    versions = dict.fromkeys([*known.get("versions", []), facts.get("version", "unknown")])
    store.put_meta(_key(spec), json.dumps(facts | {"versions": list(versions)}))


def served_facts(store: Store, spec: ModelSpec) -> dict[str, Any] | None:
    """What is known of the server that gave the model's answers, in this session or before."""
    known = store.get_meta(_key(spec))
    return None if known is None else dict(json.loads(known))


def _key(spec: ModelSpec) -> str:
    return f"server:{spec.served_identity}"
