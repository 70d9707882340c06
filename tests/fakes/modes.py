"""What the fake server does for all requests: a fault, an odd list of models, or odd answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.faults import FAULTS
from tests.fakes.replies import respond

DATA = str(Path(__file__).parents[2] / "fixtures" / "data")

# -- lists of models -------------------------------------------------------------------------------

MODELS = {
    "ollama": ["llama3.2:latest", "qwen3:8b"],
    "gemini": ["models/gemini-2.5-flash", "models/gemini-2.5-pro"],
    "azure": ["gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"],
    "star": ["*"],
    "lmstudio": ["qwen3-8b", "text-embedding-nomic-embed-text-v1.5"],
    "llamacpp": ["/models/Qwen3-8B-Q4_K_M.gguf"],
    "case": ["Qwen/Qwen3-8B"],
    "exact": ["llama3.2", "mistral", "qwen3"],
    "models_empty": [],
}
LISTINGS: dict[str, Callable[[], web.Response]] = {
    "models_html": lambda: web.Response(text="<html></html>", content_type="text/html"),
    "models_401": lambda: respond({"error": "no"}, 401),
    "models_403": lambda: respond({"error": "no"}, 403),
    "models_slow": lambda: respond({"object": "list", "data": []}),
}

# -- modes -----------------------------------------------------------------------------------------

# Every mode answers as an oracle and takes the name of any model.
_ORACLE: dict[str, Any] = {"data": DATA, "models": None}
_WORD = "\n\nWhy not the others?\n- ({other}) is true of other cases, but not of this one."
_OUTPUT = "\n\nOutput:\n```text\nas wanted\n```\nThis does what the task asks for."

MODES: dict[str, dict[str, Any]] = {
    "plain": _ORACLE,
    "slow": _ORACLE | {"latency": 0.4},
    "biased": _ORACLE | {"wrong_for": "a pilot"},
    "explain": _ORACLE | {"said": "{answer}" + _WORD},
    "mbpp_plain": _ORACLE,
    "mbpp_output": _ORACLE | {"said": "{answer}" + _OUTPUT},
}
MODES |= {name: _ORACLE | {"faults": {name: 1.0}, "faulty_attempts": None} for name in FAULTS}
MODES |= {name: _ORACLE | {"models": names, "any_model": True} for name, names in MODELS.items()}
MODES |= {name: _ORACLE | {"listing": name} for name in LISTINGS}
MODES["models_slow"]["listing_seconds"] = 30
