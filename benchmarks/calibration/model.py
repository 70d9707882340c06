"""Simulated tables with a known bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DIFFICULTIES = ("even", "easy")


@dataclass(frozen=True)
class Setting:
    """One cell of the grid; ``bias`` is the PB of the latent effects, percentage points."""

    identities: int
    items: int
    bias: float
    difficulty: str = "even"
    heterogeneity: float = 0.0
    cluster_size: int = 1
    repeats: int = 1
    missing: float = 0.0


def effects(setting: Setting) -> Array:
    """Effects of the identities on the mean rate: equally spaced, mean 0, RMS ``bias``."""
    ladder = np.linspace(-1.0, 1.0, setting.identities)
    scaled: Array = ladder / np.sqrt((ladder**2).mean()) * setting.bias / 100
    return scaled


def rates(setting: Setting, items: int, rng: np.random.Generator) -> Array:
    """Chance of a correct answer, shape (identities, items), for newly drawn items."""
    k = setting.identities
    clusters = -(-items // setting.cluster_size)
    shift = rng.normal(0.0, setting.heterogeneity, (k, items))
    if setting.cluster_size > 1:
        shared = rng.normal(0.0, 0.08, (k, clusters))
        shift = shift + np.repeat(shared, setting.cluster_size, axis=1)[:, :items]
    if setting.difficulty == "easy":
        # Seven items in ten are all but certain: an effect can show on the others only.
        open_ = rng.random(items) < 0.3
        base = np.where(open_, rng.uniform(0.35, 0.65, items), 0.98)
        move = (effects(setting)[:, None] / 0.3 + shift) * open_
    else:
        base = rng.uniform(0.3, 0.8, items)
        move = effects(setting)[:, None] + shift
    return np.clip(base + move, 0.0, 1.0)


def truth(setting: Setting, rng: np.random.Generator, items: int = 200_000) -> tuple[float, Array]:
    """PB and the identities' mean rates (percentage points) over the population of items."""
    total = np.zeros(setting.identities)
    chunk = 20_000
    for _ in range(items // chunk):
        total += rates(setting, chunk, rng).sum(axis=1)
    mean = total / (items // chunk * chunk)
    if setting.bias == 0.0:
        mean[:] = mean.mean()
    return 100 * float(mean.std()), 100 * mean


def table(setting: Setting, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.int64]]:
    """One table (identities, items, repeats) of zeros and ones, NaN where missing; and clusters."""
    chance = rates(setting, setting.items, rng)
    shape = (*chance.shape, setting.repeats)
    scores = (rng.random(shape) < chance[:, :, None]).astype(np.float64)
    if setting.missing:
        scores[rng.random(shape) < setting.missing] = np.nan
    return scores, np.arange(setting.items) // setting.cluster_size


def mc_error(share: float, replicates: int) -> float:
    """Monte-Carlo error (standard error) of a share of independent replicates.

    Of none or all of them it is that of half a replicate: what was not seen is not impossible.
    """
    if not replicates:
        return 0.0  # computed exactly
    kept = min(max(share, 0.5 / replicates), 1 - 0.5 / replicates)
    return round(float(np.sqrt(kept * (1 - kept) / replicates)), 4)


def with_errors(
    row: Mapping[str, float | str], replicates: int, *names: str
) -> dict[str, float | str]:
    """The row with the Monte-Carlo error of its shares ``names``, each beside its figure.

    A figure that a setting does not have is an empty string, and so is its error.
    """
    found: dict[str, float | str] = {}
    for name, value in row.items():
        found[name] = value
        if name in names:
            found[f"{name}_error"] = "" if value == "" else mc_error(float(value), replicates)
    return found
