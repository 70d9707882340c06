"""Margins, tolerances, level and mode: what the gate decides by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pytest_pbias.errors import ConfigurationError, DataError, near_matches, quoted
from pytest_pbias.outcomes.arrays import TaskOutcomes
from pytest_pbias.outcomes.facts import RunFacts, read_facts

if TYPE_CHECKING:
    from pytest_pbias.cells.cell import Cell
    from pytest_pbias.prompts import Identity

Mode = Literal["detect", "prove"]
MOST_OF_A_TRAIT = 10_000.0  # its margin: words

DEFAULT_MARGIN = 5.0
DEFAULT_TOLERANCE = 3.0


def _per_axis(value: float) -> Mapping[str, float]:
    return {"utility": value, "safety": value}


@dataclass(frozen=True)
class GatePolicy:
    """Margins (percentage points), level and mode.

    ``margin`` is the tolerated paired difference of a cell from baseline per axis, overridden
    by task in ``task_margin``, and by task and identity in ``cell_margin``; ``pb_tolerance`` the
    tolerated PB per axis; ``alpha`` the error level that all cells share for a fail, and that each
    cell has for a pass. ``reference`` is what an identity is compared with: ``baseline``,
    ``control`` (the mean of the controls in its placement), ``identities`` (that of all
    identities there) or an identity's name. ``trait_margin`` is the tolerated difference of a
    trait, by name and in its unit, where it has a gate. ``cells`` is how many cells share the
    level, where they are more than a run has: those of all shards of a suite. ``joint`` names the
    tasks of joint PB, which nothing is decided on; empty for the usual ones. ``strata`` are tasks
    whose clusters are all there are to speak of: their items count as drawn one by one. ``cues``
    are those that are decided on, empty for all: cells of others are findings.
    """

    margin: Mapping[str, float] = field(default_factory=lambda: _per_axis(DEFAULT_MARGIN))
    task_margin: Mapping[str, float] = field(default_factory=dict)
    pb_tolerance: Mapping[str, float] = field(default_factory=lambda: _per_axis(DEFAULT_TOLERANCE))
    alpha: float = 0.05
    mode: Mode = "detect"
    cell_margin: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reference: str = "baseline"
    cells: int = 0
    joint: tuple[str, ...] = ()
    trait_margin: Mapping[str, float] = field(default_factory=dict)
    strata: tuple[str, ...] = ()
    cues: tuple[str, ...] = ()

    def decides_on(self, cue: str) -> bool:
        """Whether cells of a cue are decided on, and share the level; else they are findings."""
        return not self.cues or cue in self.cues

    def has_gate(self, identity: Identity) -> bool:
        """Whether PB and traits are decided over this one among others: no baseline or control."""
        return identity.kind == "identity" and self.decides_on(identity.cue)

    def sharing(self, n_cells: int) -> int:
        """How many cells share the level, where ``n_cells`` are decided here: at least one."""
        return max(1, n_cells, self.cells)

    def margin_for(self, task: str, axis: str, identity: str = "") -> float:
        """The margin of a cell: its own, else its task's, else its axis's."""
        own = self.cell_margin.get(task, {}).get(identity)
        return self.task_margin.get(task, self.margin[axis]) if own is None else own

    def margin_of(self, cell: Cell) -> float:
        """The margin of a planned cell: that of its persona file, else the policy's."""
        if cell.margin is not None:
            return cell.margin
        return self.margin_for(cell.task.name, cell.task.axis, cell.identity.name)

    def clusters_of(self, task: str, clusters: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
        """What stands or falls together among a task's items: nothing where they are strata."""
        return np.arange(len(clusters)).astype(np.str_) if task in self.strata else clusters

    def drawn(self, task: TaskOutcomes) -> TaskOutcomes:
        """The task with its items as :meth:`clusters_of` takes them to be drawn."""
        return replace(task, clusters=self.clusters_of(task.task, task.clusters))

    def strata_among(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Those of the tasks whose clusters are all that verdicts speak of, each once."""
        return tuple(dict.fromkeys(task for task in tasks if task in self.strata))

    def for_run(self, info: RunFacts) -> GatePolicy:
        """The policy with the margins of single cells that a run's table keeps beside it."""
        return replace(self, cell_margin={**self.cell_margin, **info.margins})

    def to_plain(self) -> dict[str, Any]:
        """Every field as JSON."""
        lists = {name: list(getattr(self, name)) for name in ("strata", "joint", "cues")}
        return asdict(self) | lists

    @classmethod
    def of_run(cls, info: RunFacts) -> GatePolicy:
        """The policy that a run noted by :meth:`to_plain`; what it does not say is the default.

        Raises:
            DataError: what it says is no policy.
        """
        where = info.shown_source
        found = read_facts(cls, info.policy, where, ("policy",))
        numbers = [("alpha", found.alpha, 1.0)]
        numbers += [
            (f"trait_margin.{name}", value, MOST_OF_A_TRAIT)
            for name, value in found.trait_margin.items()
        ]
        for name in ("margin", "task_margin", "pb_tolerance"):
            points: Mapping[str, float] = getattr(found, name)
            numbers += [(f"{name}.{key}", value, 100.0) for key, value in points.items()]
        for name, value, most in numbers:
            if not 0 < value <= most:
                raise DataError(
                    f"{where}: policy.{name} must be above 0 and at most {most:g}, not {value!r}"
                )
        usual = cls()
        return replace(
            found,
            margin={**usual.margin, **found.margin},
            pb_tolerance={**usual.pb_tolerance, **found.pb_tolerance},
        )


def require_cues(wanted: Iterable[str], asked: Iterable[str]) -> None:
    """Refuse cues to decide on that nothing is asked by.

    Raises:
        ConfigurationError: one is not among those ``asked``.
    """
    known = list(dict.fromkeys(asked))
    for name in wanted:
        if name not in known:
            hint = near_matches(name, known)
            raise ConfigurationError(
                f"nothing is asked by the cue {quoted(name)}: {hint}", setting="gate-cues"
            )
