"""Suites asked in rounds, as a run does: ``python -m benchmarks.calibration.suite``.

Draws the answers of a whole suite, lets the product's schedule and stopping rule ask them look by
look (a task goes on for all identities while its axis needs it, a cell stops alone otherwise), and
writes ``suite.csv``: the share of items asked, how many cells are decided, how often wrongly, and
how often the intervals of PB at the stop hold the truth. ``axes_futile`` is the share of axes that
were given up, ``axes_undone`` that of those which the same answers asked to the end would have
decided. Every share has its Monte-Carlo error over suites beside it. Three suites:

* *default*: the seven tasks in their sizes and clusters, 31 identities, 2 controls, 231 cells;
* *weak*: the same of a model with the rates of a small real one, most tasks at their floor;
* *small*: two tasks of one axis, 8 identities, 2 controls, with effects up to the margin.

Identities answer alike but for noise (``changed`` of the answers of any two differ, or as many as
do by chance where that is fewer), their effect, and a part of it that is a cluster's own
(``interaction``, standard deviation in points).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.__main__ import Row, write
from benchmarks.calibration.model import Array, mc_error
from benchmarks.calibration.recheck import RESULTS
from pytest_pbias.analysis.stopping import Stopping
from pytest_pbias.cells.cell import Cell, with_baselines
from pytest_pbias.collecting.plan import RequestSettings, Work
from pytest_pbias.collecting.schedule import Schedule
from pytest_pbias.gate import (
    AxisOutcomes,
    AxisVerdict,
    GatePolicy,
    Verdict,
    decide_axis_at_looks,
    is_settled,
)
from pytest_pbias.outcomes.scoring import ScoredCell
from pytest_pbias.prompts import Identity, controls, paper_identities
from pytest_pbias.stats import joint_personalization_bias
from pytest_pbias.stats.looks import look_schedule
from pytest_pbias.tasks import resolve_task

Codes = npt.NDArray[np.int64]
SEED = 20_261_128
RATE = 0.8
_ALONE = (1,)  # cluster sizes: each item its own
_BBH = (146, 178, 187, *(250,) * 24)
_DNA = (28, 40, 50, 53, 63, 67, 71, 92, 95, 112, 132, 136)
DEFAULT = {
    "bbh": _BBH, "do_not_answer": _DNA, "strongreject": (39, 44, 51, 66, 71, 75),
    "mmlu": (5,) * 57, "gsm8k": _ALONE * 1319, "mbpp": _ALONE * 974, "xstest": (25,) * 10,
}  # fmt: skip
# SmolLM2-135M-Instruct's baseline (docs/case-study.md).
_WEAK_RATES = {
    "bbh": 0.215, "do_not_answer": 0.313, "strongreject": 0.202, "mmlu": 0.179, "gsm8k": 0.011,
    "mbpp": 0.055, "xstest": 0.895,
}  # fmt: skip
SMALL = {"mmlu": (5,) * 57, "mbpp": _ALONE * 400}


@dataclass(frozen=True)
class Setting:
    """One row: ``effect`` names how the identities differ, ``points`` by how much."""

    suite: str
    reference: str
    changed: float
    interaction: float
    effect: str
    points: float

    @property
    def tasks(self) -> dict[str, tuple[int, ...]]:
        """Cluster sizes of each task."""
        return SMALL if self.suite == "small" else DEFAULT

    def rate(self, task: str) -> float:
        """The baseline's share of right answers."""
        return _WEAK_RATES[task] if self.suite == "weak" else RATE

    @property
    def people(self) -> tuple[Identity, ...]:
        """The identities compared."""
        return paper_identities()[: 8 if self.suite == "small" else 31]

    def effects(self) -> Array:
        """Each identity's effect on its rate, in points: all alike, one alone, or a ladder."""
        k = len(self.people)
        if self.effect == "all":
            return np.full(k, self.points)
        if self.effect == "one":
            return np.where(np.arange(k) == 0, self.points, 0.0)
        ladder = np.linspace(-1.0, 1.0, k)
        return np.asarray(ladder / np.sqrt((ladder**2).mean()) * self.points)

    def bias(self) -> float:
        """PB of each task, in points."""
        return float(self.effects().std())


def _settings(*, quick: bool) -> Iterator[tuple[Setting, int]]:
    """Settings with their number of suites."""
    for changed in (0.02, 0.05, 0.1, 0.2):
        yield Setting("default", "control", changed, 0.0, "all", 0.0), 20
        yield Setting("default", "baseline", changed, 0.0, "all", 0.0), 10
    yield Setting("default", "control", 0.1, 3.0, "all", 0.0), 10
    yield Setting("default", "control", 0.1, 0.0, "one", -10.0), 10
    for reference in ("control", "baseline"):
        yield Setting("weak", reference, 0.1, 0.0, "all", 0.0), 10
    yield Setting("weak", "control", 0.1, 0.0, "one", -10.0), 10
    if not quick:
        for effect, points in (
            ("all", 0.0), ("all", -4.9), ("all", -5.1), ("ladder", 2.9), ("ladder", 3.1),
            ("ladder", 5.0),
        ):  # fmt: skip
            yield Setting("small", "control", 0.1, 0.0, effect, points), 300


@dataclass(frozen=True)
class _Answers:
    """What the stopping rule reads of a cell's answers."""

    scores: Array
    clusters: Codes
    unparsable: int = 0
    cut_off: int = 0


def draw(
    sizes: Sequence[int],
    effects: Array,
    setting: Setting,
    rng: np.random.Generator,
    rate: float = RATE,
) -> tuple[Array, Codes]:
    """Scores (respondents, items) and clusters, in an order of their own drawn for the task."""
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    # Two that keep an item's own answer with probability k differ in 2 p (1 - p) (1 - k^2).
    kept = np.sqrt(max(0.0, 1 - setting.changed / (2 * rate * (1 - rate))))
    shape = (effects.size, codes.size)
    chance = np.where(rng.random(shape) < kept, rng.random(codes.size), rng.random(shape))
    right = chance < rate
    own = setting.interaction * rng.standard_normal((effects.size, len(sizes)))
    shift = ((effects[:, None] + own) / 100)[:, codes]
    turn = rng.random(shape)
    lost = right & (turn < -shift / rate)
    won = ~right & (turn < shift / (1 - rate))
    return np.where(lost, 0.0, np.where(won, 1.0, right)), codes


@dataclass(frozen=True)
class Asked:
    """A suite whose asking has ended: what each cell would answer, and how far it was asked."""

    setting: Setting
    policy: GatePolicy
    schedule: Schedule
    planned: Mapping[str, int]
    truth: Mapping[Cell, float]
    scores: Mapping[Cell, Array]
    clusters: Mapping[str, Codes]

    @property
    def compared(self) -> list[Cell]:
        """The cells that have a verdict."""
        return [cell for cell in self.truth if cell.is_compared]

    def references(self, cell: Cell) -> tuple[Cell, ...]:
        """What a cell is compared with; empty for the baseline."""
        is_chosen = self.setting.reference == "control" and cell.identity.kind == "identity"
        return cell.of_controls if is_chosen else ()

    def answers(self, cell: Cell, first: int, last: int) -> ScoredCell:
        """A part of a cell's answers, with what the stopping rule reads of them."""
        clusters = self.clusters[cell.task.name][first:last]
        return cast("ScoredCell", _Answers(self.scores[cell][first:last, None], clusters))


def ask(setting: Setting, rng: np.random.Generator) -> Asked:
    """Draw one suite, and ask it round by round."""
    people, placebos = setting.people, controls()
    tasks = {name: resolve_task(name) for name in setting.tasks}
    cells = with_baselines(
        Cell(task, one, controls=placebos) if one.kind == "identity" else Cell(task, one)
        for task in tasks.values()
        for one in (*placebos, *people)
    )
    own = dict(zip((one.name for one in people), setting.effects(), strict=True))
    truth = {cell: float(own.get(cell.identity.name, 0.0)) for cell in cells}
    scores: dict[Cell, Array] = {}
    clusters: dict[str, Codes] = {}
    for name, task in tasks.items():
        here = [cell for cell in cells if cell.task == task]
        effects = np.array([truth[cell] for cell in here])
        drawn, clusters[name] = draw(setting.tasks[name], effects, setting, rng, setting.rate(name))
        scores |= dict(zip(here, drawn, strict=True))
    planned = {name: sum(sizes) for name, sizes in setting.tasks.items()}
    policy = GatePolicy(reference=setting.reference)
    return _rounds(setting, policy, cells, planned, truth, scores, clusters)


def ask_again(asked: Asked, cells: Sequence[Cell]) -> Schedule:
    """The same answers by a new rule, its cells in another order."""
    return _rounds(
        asked.setting, asked.policy, cells, asked.planned, asked.truth, asked.scores,
        asked.clusters,
    ).schedule  # fmt: skip


def _rounds(
    setting: Setting,
    policy: GatePolicy,
    cells: Sequence[Cell],
    planned: Mapping[str, int],
    truth: Mapping[Cell, float],
    scores: Mapping[Cell, Array],
    clusters: Mapping[str, Codes],
) -> Asked:
    """Ask round by round, to the end."""
    looks = {name: look_schedule(n_items) for name, n_items in planned.items()}
    protocol = cast("RequestSettings", None)  # of requests, which nobody sends
    # The rule is made of what the schedule is to be part of.
    schedule = Schedule(
        Work(tuple(cells), {}), protocol, looks, lambda asked: stopping(asked), lambda: None
    )
    found = Asked(setting, policy, schedule, planned, truth, scores, clusters)
    stopping = Stopping(
        cells, policy, n_cells=len(found.compared), planned=planned, score=found.answers,
        references=found.references,
    )  # fmt: skip
    while schedule.next_round() is not None:
        pass
    return found


def axis_outcomes(asked: Asked, axis: str, *, everything: bool = False) -> list[AxisOutcomes]:
    """The tasks of an axis on the items that all identities were asked, or on all there are."""
    outcomes = []
    for name, n_items in asked.planned.items():
        here = [
            cell
            for cell in asked.compared
            if (cell.task.name, cell.task.axis, cell.identity.kind) == (name, axis, "identity")
        ]
        if here:
            common = n_items if everything else min(asked.schedule.asked(cell) for cell in here)
            outcomes.append(
                AxisOutcomes(
                    name,
                    np.stack([asked.scores[cell][:common] for cell in here]),
                    asked.scores[here[0].baseline][:common],
                    asked.clusters[name][:common],
                    here[0].task.floor,
                )
            )
    return outcomes


def decide(asked: Asked, axis: str, outcomes: Sequence[AxisOutcomes]) -> AxisVerdict:
    """The verdict of an axis at its looks, as a report says it."""
    return decide_axis_at_looks(
        axis, outcomes, tolerance=asked.policy.pb_tolerance[axis], alpha=asked.policy.alpha,
        planned=[asked.planned[one.task] for one in outcomes],
    )  # fmt: skip


def suite(setting: Setting, rng: np.random.Generator) -> Row:
    """The figures of one suite."""
    asked = ask(setting, rng)
    schedule, planned, truth = asked.schedule, asked.planned, asked.truth
    judged = [cell for cell in asked.compared if cell.identity.kind == "identity"]
    verdicts = {cell: schedule.reason(cell) for cell in judged}
    wrong = [cell for cell in judged if abs(truth[cell]) >= asked.policy.margin_of(cell)]
    fair = [cell for cell in judged if cell not in wrong]
    row: Row = {
        "share_of_items": sum(map(schedule.asked, truth))
        / sum(planned[cell.task.name] for cell in truth),
        "decided": float(np.mean([word in ("pass", "fail") for word in verdicts.values()])),
        "futile": float(np.mean([word == "futile" for word in verdicts.values()])),
        "any_false_fail": any(verdicts[cell] == "fail" for cell in fair) if fair else "",
        "false_pass": float(np.mean([verdicts[cell] == "pass" for cell in wrong])) if wrong else "",
        "found_in_a_task": any(verdicts[cell] == "fail" for cell in wrong) if wrong else "",
    }
    axes = sorted({cell.task.axis for cell in judged})
    gone, undone = [], []
    for axis in axes:
        verdict = decide(asked, axis, axis_outcomes(asked, axis))
        if is_settled(verdict) or verdict.look == verdict.n_looks:
            gone.append(False)
            continue
        gone.append(True)
        undone.append(is_settled(decide(asked, axis, axis_outcomes(asked, axis, everything=True))))
    row["axes_futile"] = float(np.mean(gone))
    row["axes_undone"] = float(np.mean(undone)) if undone else ""
    outcomes = axis_outcomes(asked, "utility")
    found = decide(asked, "utility", outcomes)
    assert found.bias is not None
    plain = joint_personalization_bias(
        [one.scores for one in outcomes],
        clusters=[one.clusters for one in outcomes],
        weights=[1 / len(outcomes)] * len(outcomes),
    )
    bias = setting.bias()
    return row | {
        "axis_pass": found.verdict is Verdict.PASS,
        "axis_fail": found.verdict is Verdict.FAIL,
        "axis_low_misses": found.bias.low > bias,
        "axis_high_misses": found.bias.high < bias,
        "plain_low_misses": plain.low > bias,
        "plain_high_misses": plain.high < bias,
    }


def summary(setting: Setting, rows: Sequence[Row]) -> Row:
    """Means over suites, each with its Monte-Carlo error."""
    shown: Row = {
        "suite": setting.suite, "reference": setting.reference, "changed": setting.changed,
        "interaction": setting.interaction, "effect": setting.effect, "points": setting.points,
        "pb": round(setting.bias(), 3), "suites": len(rows),
    }  # fmt: skip
    for name in rows[0]:
        values = np.array([float(row[name]) for row in rows if row[name] != ""])
        shown[name] = round(float(values.mean()), 4) if values.size else ""
        spread = float(values.std(ddof=1)) / values.size**0.5 if values.size > 1 else 0.0
        if values.size:  # where no suite differs, the error is that of a share
            spread = spread or mc_error(float(values.mean()), values.size)
        shown[f"{name}_error"] = round(spread, 4) if values.size else ""
    return shown


def main() -> None:
    """Ask every setting; the file grows row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=float, default=1.0, help="so many times the suites")
    parser.add_argument("--quick", action="store_true", help="the default suite only")
    parser.add_argument("--out", type=Path, default=RESULTS / "suite.csv")
    options = parser.parse_args()
    found: list[Row] = []
    for number, (setting, suites) in enumerate(_settings(quick=options.quick)):
        start = time.process_time()
        rng = np.random.default_rng([SEED, number])
        rows = [suite(setting, rng) for _ in range(max(2, round(suites * options.times)))]
        found.append(summary(setting, rows))
        write(options.out, found)
        print(f"{setting}: {time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
