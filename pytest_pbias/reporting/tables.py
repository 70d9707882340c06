"""Reports as neutral sections: what is said, not how; one file a format renders them.

A finding is one function of ``analysis`` and one :class:`Section` (``findings.py``); the terminal,
Markdown and HTML show it without code of its own. Texts are kept as they came: each renderer makes
all of them inert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pytest_pbias.analysis.cues import AxisCues
from pytest_pbias.analysis.defenses import DefenseSummary
from pytest_pbias.gate import CellVerdict
from pytest_pbias.outcomes.arrays import under as under
from pytest_pbias.reporting.text import signed, unsigned
from pytest_pbias.stats import PersonalizationBiasResult, RateResult

Severity = Literal["", "good", "bad", "open", "strong"]
"""How a text is meant: settled well or badly, not settled, or the sentence to read first."""

_SEVERITIES: Mapping[str, Severity] = {
    "pass": "good",
    "better": "good",
    "fail": "bad",
    "worse": "bad",
    "error": "bad",
    "inconclusive": "open",
    "no signal": "open",
}


def severity(word: str) -> Severity:
    """The severity of a verdict or direction."""
    return _SEVERITIES.get(word, "")


@dataclass(frozen=True)
class Badge:
    """A verdict or direction in a cell, and the reason for it."""

    word: str
    reason: str = ""


@dataclass(frozen=True)
class Interval:
    """An estimate with its limits; ``difference`` shows the signs."""

    estimate: float
    low: float
    high: float
    difference: bool = False


@dataclass(frozen=True)
class Shift:
    """A figure before and after."""

    before: float
    after: float


@dataclass(frozen=True)
class Heat:
    """A difference that is seen before it is read, percentage points.

    One in another unit is written as ``shown``, and seen as so many points.
    """

    points: float
    shown: str = ""


@dataclass(frozen=True)
class Code:
    """A hash or another text for machines."""

    text: str


Cell = str | Badge | Interval | Shift | Heat | Code


def words(cell: Cell) -> str:
    """A cell as one text."""
    match cell:
        case str():
            return cell
        case Badge(word, reason):
            return f"{word}: {reason}" if reason else word
        case Interval(estimate, low, high, difference):
            return (signed if difference else unsigned)(estimate, low, high)
        case Shift(before, after):
            return f"{before:.1f} → {after:.1f}"
        case Heat(points, shown):
            return shown or f"{round(points, 1) + 0.0:+.1f}"  # no -0.0
        case Code(text):
            return text


class Estimated(Protocol):
    """What has an estimate and its limits: a rate, PB, a difference, a change."""

    @property
    def estimate(self) -> float:
        """The estimate itself."""

    @property
    def low(self) -> float:
        """The lower limit."""

    @property
    def high(self) -> float:
        """The upper limit."""


def interval(found: Estimated | None, *, difference: bool = False) -> Cell:
    """An estimate with its limits; an empty cell where there is none."""
    if found is None:
        return ""
    return Interval(found.estimate, found.low, found.high, difference=difference)


@dataclass(frozen=True)
class Column:
    """A column, and what becomes of it where there is little room.

    ``number`` aligns its figures; ``brief`` shows estimates without their intervals, ``sentence``
    gives each text a line of its own, and ``detail`` is left out.
    """

    title: str
    number: bool = False
    brief: bool = False
    sentence: bool = False
    detail: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names a row.

    Where it is ``grouped``, rows with the same first cell belong together. ``first`` rows are in
    sight before a click, all without it, none where it is ``folded``. ``detail``: only for formats
    with room for everything.
    """

    caption: str
    columns: tuple[Column | str, ...]
    rows: Sequence[tuple[Cell, ...]]
    grouped: bool = False
    first: int | None = None
    folded: str = ""
    detail: bool = False

    @property
    def heads(self) -> tuple[Column, ...]:
        """The columns, those given as a title with nothing special about them."""
        return tuple(Column(one) if isinstance(one, str) else one for one in self.columns)


@dataclass(frozen=True)
class Note:
    """A sentence; ``name`` is what it is, for those who look for it in a page."""

    text: str
    severity: Severity = ""
    name: str = ""
    detail: bool = False


@dataclass(frozen=True)
class Bullets:
    """Short texts of one kind."""

    texts: tuple[str, ...]
    detail: bool = False


@dataclass(frozen=True)
class Heading:
    """The title of a part of a section."""

    text: str
    detail: bool = False


@dataclass(frozen=True)
class ForestPlot:
    """Differences of a task's identities from what they are compared with, percentage points."""

    task: str
    rows: tuple[tuple[str, CellVerdict], ...]
    detail: bool = True


@dataclass(frozen=True)
class TradeOffPlot:
    """Identity, its utility and its safety; mean rates in percent."""

    rows: tuple[tuple[str, RateResult, RateResult], ...]
    detail: bool = True


@dataclass(frozen=True)
class CuePlot:
    """Differences of an axis's identities by each cue, percentage points."""

    title: str
    cues: AxisCues
    detail: bool = True


@dataclass(frozen=True)
class DefensePlot:
    """PB against mean rate under each prompt defense."""

    defenses: tuple[DefenseSummary, ...]
    detail: bool = True


@dataclass(frozen=True)
class HistoryPlot:
    """PB of each axis over ``runs``, oldest first; None where a run has too few identities.

    ``on`` says which questions it is on.
    """

    runs: tuple[str, ...]
    axes: tuple[tuple[str, tuple[PersonalizationBiasResult | None, ...]], ...]
    on: str = "the questions that all runs asked"
    detail: bool = True


@dataclass(frozen=True)
class Samples:
    """Answers side by side, as ``choose_samples`` gives them, where a reader can choose."""

    data: Mapping[str, Any]
    detail: bool = True


Plot = ForestPlot | TradeOffPlot | CuePlot | DefensePlot | HistoryPlot
Block = Note | Bullets | Heading | Table | Plot | Samples


@dataclass(frozen=True)
class Section:
    """A part of a report; ``lead`` says in a sentence without a full stop what it is about."""

    title: str
    blocks: tuple[Block, ...]
    lead: str = ""

    @property
    def opening(self) -> str:
        """The lead as a sentence of its own; empty without one."""
        return f"{self.lead[:1].upper()}{self.lead[1:]}." if self.lead else ""

    def brief(self) -> tuple[Block, ...]:
        """The blocks that are shown where there is little room; often none."""
        return tuple(block for block in self.blocks if not block.detail)
