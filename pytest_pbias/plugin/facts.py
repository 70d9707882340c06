"""Facts of a run that its table keeps: what it used, and on what its figures depend."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from pytest_pbias import __version__
from pytest_pbias.collecting.cost import Price
from pytest_pbias.plugin.asking import Asking, Waiting


def cost_so_far(asking: Asking | Waiting | None, price: Price | None) -> dict[str, Any]:
    """Tokens that this session used, and their list price where it is known."""
    progress = asking.progress() if isinstance(asking, Asking) else None
    prompt = 0 if progress is None else progress.prompt_tokens
    completion = 0 if progress is None else progress.completion_tokens
    cost: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if price is not None:
        cost |= {"amount": price.of(prompt, completion), "currency": price.currency}
    return cost


def versions() -> dict[str, str]:
    """What the figures depend on."""
    known = {"pytest-pbias": __version__, "python": platform.python_version()}
    return known | {name: version(name) for name in ("numpy", "scipy", "pyarrow", "openai")}
