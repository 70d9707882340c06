"""Error rates of the comparison of cues: ``python -m benchmarks.calibration.cues``.

Draws one identity by two cues (one sentence against several wordings) and their baselines, and
writes ``cues.csv``: how often the interval of the second cue's effect covers its mean over all
wordings there could be, what the interval over items alone would cover, and how often the two are
found to differ, to agree within 5 points, and to turn. Truths: the ``same`` effect, an effect that
``turns``, one in a ``single`` wording of the second cue (the effect of the cue is then a quarter or
an eighth of it, and hangs on the wording drawn).
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np

from pytest_pbias.stats import CueEffectResult, cue_contrast, cue_effect, paired_difference

SEED = 20_261_129
MARGIN, ALPHA = 5.0, 0.05
ITEMS = (100, 400, 1200)
WORDINGS = (4, 8)
SPREADS = (0.0, 5.0, 15.0)  # standard deviation of the wordings' own effects, points
EFFECT = 15.0  # points, downwards where it is stated
TRUTHS = ("same", "turns", "single")


def draw(
    shift: np.ndarray, rate: np.ndarray, luck: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A cell whose items' rates are shifted, and its baseline; three answers of four are shared."""
    again = np.where(rng.random(luck.size) < 0.75, luck, rng.random(luck.size))
    return (again < rate + shift).astype(float), (luck < rate).astype(float)


def one(
    truth: str, n_items: int, n_wordings: int, spread: float, rng: np.random.Generator
) -> tuple[float, CueEffectResult, float, float, CueEffectResult, CueEffectResult]:
    """The true effect by the second cue, its intervals, and the two contrasts of a run."""
    rate, luck = rng.uniform(0.4, 0.6, n_items), rng.random(n_items)
    wording = rng.integers(0, n_wordings, n_items)
    own = np.clip(rng.normal(0.0, spread, n_wordings), -24.0, 24.0)
    mean = {"same": -EFFECT, "turns": EFFECT, "single": 0.0}[truth]
    if truth == "single":
        own = own + np.where(np.arange(n_wordings) == 0, -35.0, 0.0)
        mean = -35.0 / n_wordings
    first = draw(np.full(n_items, -EFFECT / 100), rate, luck, rng)
    shift = own if truth == "single" else mean + own
    second = draw(np.clip(shift, -39.0, 39.0)[wording] / 100, rate, luck, rng)
    found = cue_effect(*second, wordings=wording)
    alone = paired_difference(*second)
    contrasts = [
        cue_contrast(first, second, wordings=(None, wording), confidence=confidence)
        for confidence in (0.95, 1 - 2 * ALPHA)
    ]
    return mean, found, alone.low, alone.high, contrasts[0], contrasts[1]


def setting_row(
    truth: str, n_items: int, n_wordings: int, spread: float, replicates: int
) -> dict[str, float | str]:
    """The error rates of one setting."""
    key = [SEED, TRUTHS.index(truth), n_items, n_wordings, round(10 * spread)]
    rng = np.random.default_rng(key)
    counts = dict.fromkeys(("covered", "covered_by_items", "effect", "differ", "agree", "turn"), 0)
    for _ in range(replicates):
        mean, found, low, high, contrast, narrow = one(truth, n_items, n_wordings, spread, rng)
        counts["covered"] += found.low <= mean <= found.high
        counts["covered_by_items"] += low <= mean <= high
        counts["effect"] += found.pvalue <= ALPHA
        differ = contrast.pvalue <= ALPHA
        counts["differ"] += differ
        counts["agree"] += narrow.low > -MARGIN and narrow.high < MARGIN
        counts["turn"] += differ and found.pvalue <= ALPHA and found.estimate > 0
    row: dict[str, float | str] = {
        "truth": truth, "items": n_items, "wordings": n_wordings, "spread": spread,
        "replicates": replicates,
    }  # fmt: skip
    return row | {name: round(count / replicates, 4) for name, count in counts.items()}


def main() -> None:
    """Run the settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    rows = [
        setting_row(*setting, options.replicates)
        for setting in itertools.product(TRUTHS, ITEMS, WORDINGS, SPREADS)
    ]
    path = Path(__file__).parent / "results" / "cues.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
