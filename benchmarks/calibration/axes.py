"""Axes that are given up: ``python -m benchmarks.calibration.axes``.

Draws an axis of two tasks (57 clusters of 5 items, and 400 items), asks it look by look as a run
does (pass, fail, futility at 5 %), and writes ``axes.csv``: how often it passes and fails, the
share of items it took, how many axes are given up (``futile``), and how many of them the same
answers asked to the end would have decided (``undone_of_futile``; ``undone`` of all axes).
``share_without`` is the share of items if none was given up.

Whether the predicted chance is true stands beside it: of the looks at which it lay under 0.05,
0.05 to 0.2, ... and nothing was decided yet, how many there were (``looks_05``, ...) and on how
many of these a verdict followed (``decided_05``, ...). A setting has one true PB, so that it is not
to be expected in each row; in ``any`` PB^2 is drawn anew, evenly from 0 to 36.

In a *floor* setting the smaller task's baseline is at chance.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.calibration.__main__ import Row, write
from benchmarks.calibration.model import Array, mc_error
from benchmarks.calibration.recheck import RESULTS
from benchmarks.calibration.suite import SMALL, Setting, draw
from pytest_pbias.gate import (
    AxisOutcomes,
    Verdict,
    chance_of_axis,
    decide_axis,
    is_axis_futile,
    is_settled,
)
from pytest_pbias.stats.looks import axis_looks

SEED = 20_261_129
TOLERANCE, ALPHA, FLOOR = 3.0, 0.05, 0.25
BINS = {"05": (0.0, 0.05), "20": (0.05, 0.2), "50": (0.2, 0.5), "80": (0.5, 0.8), "100": (0.8, 2.0)}


@dataclass(frozen=True)
class Found:
    """One axis: how it would end, where asking stopped, and what was predicted on the way."""

    end: Verdict
    stopped: Verdict
    futile: bool
    share: float
    share_without: float
    chances: tuple[float, ...]


def answers(
    identities: int, bias: float, changed: float, rate: float, rng: np.random.Generator
) -> list[AxisOutcomes]:
    """The two tasks; identities stand on a ladder of differences, the baseline at its middle."""
    ladder = np.linspace(-1.0, 1.0, identities)
    effects = np.append(ladder / ladder.std() * bias, 0.0)
    setting = Setting("small", "control", changed, 0.0, "ladder", bias)
    tasks = []
    for name, sizes in SMALL.items():
        own = rate if name == "mmlu" else 0.8
        scores, codes = draw(sizes, effects, setting, rng, own)
        floor = FLOOR if name == "mmlu" else 0.0
        tasks.append(AxisOutcomes(name, scores[:-1], scores[-1], codes, floor))
    return tasks


def ask(tasks: Sequence[AxisOutcomes]) -> Found:
    """Ask one axis, to where asking stops and on to where it would have been decided."""
    planned = [task.scores.shape[1] for task in tasks]
    stopped: tuple[Verdict, float] | None = None
    chances = []
    for look in axis_looks(planned, tolerance=TOLERANCE, alpha=ALPHA):
        first = [task.first(n) for task, n in zip(tasks, look.items, strict=True)]
        verdict = decide_axis("utility", first, tolerance=TOLERANCE, alpha=ALPHA, look=look)
        share = sum(look.items) / sum(planned)
        if is_settled(verdict) or look.time == 1.0:
            break
        chances.append(chance_of_axis(first, planned=planned, tolerance=TOLERANCE, alpha=ALPHA))
        if stopped is None and is_axis_futile(
            first, planned=planned, tolerance=TOLERANCE, alpha=ALPHA
        ):
            stopped = verdict.verdict, share
    at = stopped or (verdict.verdict, share)
    return Found(verdict.verdict, at[0], stopped is not None, at[1], share, tuple(chances))


def _settings() -> Iterator[tuple[int, float | None, float, float]]:
    """Identities, PB (None: any), changed answers, and the rate of the smaller task."""
    for bias, changed in itertools.product((0.0, 2.0, 2.9, 3.1, 4.0, 5.0), (0.1, 0.2)):
        yield 8, bias, changed, 0.8
    for identities, changed in itertools.product((2, 8, 31), (0.1, 0.2)):
        yield identities, None, changed, 0.8
    for bias in (0.0, 3.1, 5.0):
        yield 8, bias, 0.1, FLOOR
    yield 8, None, 0.1, FLOOR
    yield 8, None, 0.1, 0.4  # which is clear of the floor by 75 items or so


def _figures(found: Sequence[Found]) -> Mapping[str, Sequence[float]]:
    settled = (Verdict.PASS, Verdict.FAIL)
    undone = [one.end in settled for one in found if one.futile]
    return {
        "passes": [one.stopped is Verdict.PASS for one in found],
        "fails": [one.stopped is Verdict.FAIL for one in found],
        "share_of_items": [one.share for one in found],
        "share_without": [one.share_without for one in found],
        "futile": [one.futile for one in found],
        "undone": [one.futile and one.end in settled for one in found],
        "undone_of_futile": undone,
    }


def summary(found: Sequence[Found]) -> Row:
    """The figures of a setting, each with its Monte-Carlo error."""
    row: Row = {}
    for name, values in _figures(found).items():
        mean, n = float(np.mean(values)) if values else 0.0, len(values)
        error = (float(np.std(values)) / n**0.5 or mc_error(mean, n)) if values else 0.0
        row |= {name: round(mean, 4) if values else "", f"{name}_error": round(error, 4)}
    ends = [one.end in (Verdict.PASS, Verdict.FAIL) for one in found]
    pairs: Array = np.array(
        [(chance, end) for one, end in zip(found, ends, strict=True) for chance in one.chances]
    ).reshape(-1, 2)
    for name, (low, high) in BINS.items():
        here = pairs[(pairs[:, 0] >= low) & (pairs[:, 0] < high)]
        row[f"looks_{name}"] = len(here)
        row[f"decided_{name}"] = round(float(here[:, 1].mean()), 4) if len(here) else ""
    return row


def main() -> None:
    """Ask every setting; the file grows row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULTS / "axes.csv")
    options = parser.parse_args()
    rows: list[Row] = []
    for number, (identities, bias, changed, rate) in enumerate(_settings()):
        start = time.process_time()
        rng = np.random.default_rng([SEED, number])
        found = []
        for _ in range(options.replicates):
            true = 6.0 * float(rng.random()) ** 0.5 if bias is None else bias
            found.append(ask(answers(identities, true, changed, rate, rng)))
        setting: Row = {
            "identities": identities, "pb": "any" if bias is None else bias, "changed": changed,
            "rate": rate, "floor": FLOOR, "replicates": len(found),
        }  # fmt: skip
        rows.append(setting | summary(found))
        write(options.out, rows)
        print(f"{setting}: {time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
