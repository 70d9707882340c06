"""The figures of the HTML report and of the command line."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pytest_pbias.analysis.cues import AxisCues
from pytest_pbias.analysis.defenses import DefenseSummary
from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.gate import CellVerdict, Verdict
from pytest_pbias.reporting.html.render import Drawing, render
from pytest_pbias.reporting.sections import compared_with
from pytest_pbias.reporting.tables import (
    CuePlot,
    DefensePlot,
    ForestPlot,
    HistoryPlot,
    Plot,
    TradeOffPlot,
)
from pytest_pbias.reporting.text import plain
from pytest_pbias.stats import (
    PersonalizationBiasResult,
    RateResult,
    confidence_ellipse,
    pareto_front,
)

_INK = "#010203"  # becomes currentColor

# Okabe & Ito's colours, told apart by readers with any colour vision; marks differ in form too.

_LOOKS = {
    Verdict.PASS: ("#0072B2", "o"),
    Verdict.FAIL: ("#D55E00", "s"),
    Verdict.INCONCLUSIVE: ("#B07AA1", "D"),
    Verdict.NO_SIGNAL: ("#888888", "x"),
    Verdict.FINDING: ("#888888", "^"),
}

_MARKS = {
    Verdict.PASS: "circle",
    Verdict.FAIL: "square",
    Verdict.INCONCLUSIVE: "diamond",
    Verdict.NO_SIGNAL: "cross",
    Verdict.FINDING: "triangle",
}

_NAMED = 8  # identities of the trade-off that have their name in the plot

_NORMAL = 1.959964


def load_matplotlib() -> Any:
    """Matplotlib, which only the HTML report needs.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise ConfigurationError(
            "the HTML report needs Matplotlib: pip install 'pytest-pbias[report]'"
        ) from None
    return mpl


@contextmanager
def _settings() -> Iterator[None]:
    """Matplotlib with its defaults and ours, giving the user's settings back afterwards.

    Names are text: a dollar sign in one does not begin a formula.
    """
    mpl = load_matplotlib()
    with mpl.rc_context(), warnings.catch_warnings():
        # The browser draws the text, in a font of its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams["svg.fonttype"] = "none"
        mpl.rcParams["svg.hashsalt"] = "pbias"
        mpl.rcParams["font.size"] = 9
        mpl.rcParams["text.parse_math"] = False
        yield


def _new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure of this size in inches, and its axes; without pyplot, which would keep state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def draw(plot: Plot) -> Drawing | None:
    """The figure of a plot; None where there is too little to plot.

    Raises:
        ConfigurationError: Matplotlib is not installed.
    """
    match plot:
        case ForestPlot(task, rows):
            return _forest_plot(task, rows)
        case TradeOffPlot(rows):
            return _trade_off_plot(rows)
        case CuePlot(title, found):
            return _cue_plot(title, found)
        case DefensePlot(defenses):
            return _defense_plot(defenses)
        case HistoryPlot():
            return _history_plot(plot)


@dataclass(frozen=True)
class _Words:
    """What a plot says in words."""

    title: str
    description: str
    caption: str


def _finish(figure: Any, panels: Sequence[Any], words: _Words) -> Drawing:
    """The figure as SVG, described, with its parts named after its content."""
    for axes in panels:
        for spine in axes.spines.values():
            spine.set_color(_INK)
        axes.tick_params(colors=_INK)
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set_color(_INK)
    out = io.StringIO()
    figure.tight_layout()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    name = _name(words.title + svg)
    svg = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{name}-", svg)
    start = re.match(r'<svg [^>]*viewBox="([^"]+)"[^>]*>', svg)
    assert start is not None
    # Matplotlib escapes the texts that it draws.
    content = Markup(svg[start.end() : svg.rindex("</svg>")])
    return Drawing(name, start[1], content, words.title, words.description, words.caption)


def _name(content: str) -> str:
    """A name for the parts of a figure that no other figure of the page has."""
    return f"f{hashlib.sha256(content.encode()).hexdigest()[:10]}"


@_settings()
def _forest_plot(task: str, rows: Sequence[tuple[str, CellVerdict]]) -> Drawing:
    """Differences of cells, each margin as a band.

    The interval of a fail, at the level that all cells share, is thin; that of a pass is thick.
    """
    figure, axes = _new_figure(7, 0.9 + 0.2 * len(rows))
    margins = [verdict.margin for _, verdict in rows]
    edges = [height - 0.5 for height in range(len(rows) + 1)]
    axes.fill_betweenx(
        edges, [-margin for margin in (*margins, margins[-1])], [*margins, margins[-1]],
        step="post", color="#888888", alpha=0.2, linewidth=0,
    )  # fmt: skip
    axes.axvline(0, color=_INK, linewidth=0.6)
    for height, (_, verdict) in enumerate(rows):
        found = verdict.difference
        colour, mark = _LOOKS[verdict.verdict]
        axes.plot([found.low, found.high], [height, height], color=colour, linewidth=0.8)
        inner = [verdict.passing.low, verdict.passing.high]
        axes.plot(inner, [height, height], color=colour, linewidth=2.6, solid_capstyle="butt")
        axes.plot([found.estimate], [height], mark, color=colour, markersize=4)
    axes.set_yticks(range(len(rows)), [plain(name, 40) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.3, -0.7)
    whom = compared_with(verdict for _, verdict in rows)
    axes.set_xlabel(f"difference from {whom}, percentage points")
    return _finish(figure, [axes], _forest_words(task, [verdict for _, verdict in rows]))


def _forest_words(task: str, verdicts: Sequence[CellVerdict]) -> _Words:
    found = Counter(verdict.verdict for verdict in verdicts)
    counts = ", ".join(f"{found[verdict]} {verdict.value}" for verdict in _LOOKS if found[verdict])
    marks = ", ".join(f"{_MARKS[verdict]}: {verdict.value}" for verdict in _LOOKS if found[verdict])
    marks = marks.capitalize()
    return _Words(
        f"{task}: difference of each identity from {compared_with(verdicts)}",
        f"{len(verdicts)} cells: {counts}. The figures are in the table below.",
        f"Difference from {compared_with(verdicts)}; thin: the interval that holds for all cells "
        "at once, beyond the margin in a fail; thick: the cell's own, within it in a pass; grey "
        f"band: margin. {marks}.",
    )


_CUE_LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "D"), ("#B07AA1", "^"))


@_settings()
def _cue_plot(title: str, found: AxisCues) -> Drawing | None:
    """A dumbbell a line: an identity's difference by each cue, from the least to the greatest."""
    people = sorted(found.people, key=lambda one: min(e.estimate for e in one.effects.values()))
    if not people:
        return None
    figure, axes = _new_figure(7, 1.1 + 0.22 * len(people))
    axes.axvline(0, color=_INK, linewidth=0.6)
    for height, one in enumerate(people):
        ends = [effect.estimate for effect in one.effects.values()]
        axes.plot([min(ends), max(ends)], [height, height], color="#888888", linewidth=1.6)
    for number, cue in enumerate(found.cues):
        colour, mark = _CUE_LOOKS[number % len(_CUE_LOOKS)]
        shown = [(h, one.effects[cue]) for h, one in enumerate(people) if cue in one.effects]
        heights = [height for height, _ in shown]
        axes.plot([effect.estimate for _, effect in shown], heights, mark, color=colour,
                  markersize=4, label=plain(cue, 30))  # fmt: skip
    axes.set_yticks(range(len(people)), [plain(one.identity, 40) for one in people])
    axes.set_ylim(len(people) - 0.3, -0.7)
    axes.set_xlabel("difference from the reference, percentage points")
    # Above the first line: a page too narrow for the plot shows it first.
    legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2,
                         ncols=len(found.cues), frameon=False)  # fmt: skip
    for text in legend.get_texts():
        text.set_color(_INK)
    words = _Words(
        f"{title}: difference of each identity by cue",
        f"{len(people)} identities by {', '.join(found.cues)}. The figures are in the table below.",
        "A line joins what one identity gets by each cue: the longer, the more it hangs on how the "
        "identity is made known.",
    )
    return _finish(figure, [axes], words)


@_settings()
def _trade_off_plot(rows: Sequence[tuple[str, RateResult, RateResult]]) -> Drawing:
    """Safety against utility of each identity, with 95 % ellipses and the Pareto front."""
    from matplotlib.patches import Ellipse

    figure, axes = _new_figure(7, 5)
    front = pareto_front([u.estimate for _, u, _ in rows], [s.estimate for _, _, s in rows])
    for (_, utility, safety), best in zip(rows, front, strict=True):
        errors = [(rate.high - rate.low) / (2 * _NORMAL) for rate in (utility, safety)]
        region = confidence_ellipse(utility.estimate, errors[0], safety.estimate, errors[1])
        shape = Ellipse(
            (region.utility, region.safety), 2 * region.half_utility, 2 * region.half_safety,
            facecolor="none", alpha=0.8, edgecolor="#3A8FC4", linewidth=0.7,
        )  # fmt: skip
        axes.add_patch(shape)
        colour, mark = ("#D55E00", "s") if best else ("#0072B2", "o")
        axes.plot(
            [utility.estimate], [safety.estimate], mark, color=colour, markersize=4,
            zorder=4 if best else 3,
        )  # fmt: skip
    axes.set_xlabel("utility, mean rate over its tasks, percent")
    axes.set_ylabel("safety, mean rate over its tasks, percent")
    axes.set_xlim(*_within_rates(axes.get_xlim()))
    axes.set_ylim(*_within_rates(axes.get_ylim()))
    figure.tight_layout()
    _label_lowest(figure, axes, rows)
    best = ", ".join(name for (name, _, _), on_front in zip(rows, front, strict=True) if on_front)
    words = _Words(
        "Safety against utility of each identity",
        f"{len(rows)} identities; on the Pareto front: {best}. The figures are in the table below.",
        "Circle: an identity; square: on the Pareto front, nobody is better on both axes; ellipse: "
        "95 % confidence.",
    )
    return _finish(figure, [axes], words)


def _within_rates(limits: tuple[float, float]) -> tuple[float, float]:
    """The ends of an axis, no further than rates can lie: an ellipse of few items goes beyond."""
    low, high = limits
    return max(low, -3.0), min(high, 103.0)


# Where a name may stand beside its point: offsets in points, and the side it starts from.

_PLACES = ((5, 4, "left"), (5, -10, "left"), (-5, 4, "right"), (-5, -10, "right"))


def _label_lowest(
    figure: Any, axes: Any, rows: Sequence[tuple[str, RateResult, RateResult]]
) -> None:
    """Name the identities that are treated worst, each where there is room, or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    taken: list[Any] = []
    worst = sorted(rows, key=lambda row: row[1].estimate + row[2].estimate)
    for name, utility, safety in worst[:_NAMED]:
        for across, up, side in _PLACES:
            label = axes.annotate(
                plain(name, 30), (utility.estimate, safety.estimate), fontsize=8, ha=side,
                xytext=(across, up), textcoords="offset points",
            )  # fmt: skip
            box = label.get_window_extent(renderer).padded(2)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0
            if inside and box.y1 <= frame.y1 and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()


_MOST_NAMED_RUNS = 20  # names of runs under the plot of a history


def history_image(plot: HistoryPlot, ending: str) -> bytes:
    """The plot of a history as a file, ``png`` or ``svg``.

    Raises:
        ConfigurationError: Matplotlib is not installed.
        DataError: no run has a PB.
    """
    drawn = _history_plot(plot)
    if drawn is None:
        raise DataError("the runs have no personalization bias to plot: two identities are needed")
    if ending == "svg":
        return render("figure.svg.j2", drawn=drawn).encode()
    with _settings():
        figure, _ = _history_figure(plot)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


@_settings()
def _history_plot(plot: HistoryPlot) -> Drawing | None:
    """PB over the runs, an axis below the other; None where no run has one."""
    if not any(found is not None for _, every in plot.axes for found in every):
        return None
    figure, panels = _history_figure(plot)
    ends = [
        f"{axis}: PB {found[0].estimate:.1f} in {names[0]}, {found[-1].estimate:.1f} in {names[-1]}"
        for axis, every in plot.axes
        if (found := [one for one in every if one is not None])
        and (names := [n for n, one in zip(plot.runs, every, strict=True) if one is not None])
    ]
    words = _Words(
        f"Personalization bias over {len(plot.runs)} runs",
        f"{'; '.join(ends)}. The figures are in the tables below.",
        f"Debiased PB of each run with its 95 % interval, on {plot.on}.",
    )
    return _finish(figure, panels, words)


def _history_figure(plot: HistoryPlot) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.8 + 1.7 * len(plot.axes)))
    panels = list(figure.subplots(len(plot.axes), sharex=True, squeeze=False)[:, 0])
    for panel, (axis, every) in zip(panels, plot.axes, strict=True):
        found = [(n, bias) for n, bias in enumerate(every) if bias is not None]
        for number, bias in found:
            panel.plot([number, number], [bias.low, bias.high], color="#0072B2", linewidth=1)
        estimates = [bias.estimate for _, bias in found]
        panel.plot([number for number, _ in found], estimates, "o-", color="#0072B2", markersize=4)
        panel.set_ylim(bottom=0)
        panel.set_ylabel(f"PB {axis}, points")
    step = -(-len(plot.runs) // _MOST_NAMED_RUNS)
    shown = range(0, len(plot.runs), step)
    panels[-1].set_xticks(
        shown, [plain(plot.runs[n], 24) for n in shown], rotation=35, ha="right"
    )  # fmt: skip
    figure.tight_layout()
    return figure, panels


_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 220, 50, 40

_PANEL = _WIDTH + 110


@dataclass(frozen=True)
class _Point:
    """A defense in a panel; all but its name in the panel's units."""

    name: str
    x: float
    low: float
    high: float
    y: float


@dataclass(frozen=True)
class _Panel:
    """An axis; ``ticks`` are rate and its height, PB and how far right it is."""

    axis: str
    offset: int
    ticks: tuple[tuple[float, float, float, float], ...]
    points: tuple[_Point, ...]


def defense_svg(defenses: Sequence[DefenseSummary]) -> str:
    """The trade-off of prompt defenses as a file; empty where there is nothing to plot."""
    drawn = _defense_plot(defenses)
    return render("figure.svg.j2", drawn=drawn) if drawn is not None else ""


def _defense_plot(defenses: Sequence[DefenseSummary]) -> Drawing | None:
    """PB against mean rate of each axis; None without any comparison."""
    axes = [axis for one in defenses if one.comparison for axis in one.comparison.axes]
    found = {axis.title: list(_results(defenses, axis.title)) for axis in axes}
    found = {axis: results for axis, results in found.items() if len(results) > 1}
    if not found:
        return None
    panels = [
        _panel(axis, _PANEL * number, results)
        for number, (axis, results) in enumerate(found.items())
    ]
    bottom = _TOP + _HEIGHT
    content = render(
        "defenses.svg.j2",
        panels=panels, left=_LEFT, top=_TOP, bottom=bottom, right=_LEFT + _WIDTH,
    )  # fmt: skip
    return Drawing(
        _name(content),
        f"0 0 {_PANEL * len(panels)} {bottom + 50}",
        content,
        "Prompt defenses: personalization bias against mean rate",
        "; ".join(
            f"{axis}: {', '.join(f'{name} PB {bias.estimate:.1f}' for name, bias, _ in results)}"
            for axis, results in found.items()
        ),
        "Debiased PB with its interval against the identities' mean rate; grey: what the others "
        "are compared with. The best place is top left.",
    )


def _results(
    defenses: Sequence[DefenseSummary], title: str
) -> Iterator[tuple[str, PersonalizationBiasResult, float]]:
    """Defense, PB and mean rate on an axis (by a cue), of the reference first."""
    for summary in defenses:
        found = summary.comparison.axes if summary.comparison is not None else ()
        for change in found:
            if change.title != title or change.old_bias is None or change.new_bias is None:
                continue
            if summary is defenses[0]:
                yield summary.reference, change.old_bias, change.mean.old
            yield summary.defense, change.new_bias, change.mean.new


def _panel(
    axis: str, offset: int, results: Sequence[tuple[str, PersonalizationBiasResult, float]]
) -> _Panel:
    most = max(1.0, max(bias.high for _, bias, _ in results))
    lowest = min(rate for _, _, rate in results)
    floor = max(0.0, lowest - 0.1 * (100 - lowest) - 1)

    def across(bias: float) -> float:
        return _LEFT + _WIDTH * bias / most

    def up(rate: float) -> float:
        return _TOP + _HEIGHT * (100 - rate) / (100 - floor)

    marks = [(floor + share * (100 - floor), share * most) for share in (0.0, 0.5, 1.0)]
    return _Panel(
        axis,
        offset,
        tuple((rate, up(rate), bias, across(bias)) for rate, bias in marks),
        tuple(
            _Point(
                name=plain(name, 24),
                x=across(bias.estimate),
                low=across(bias.low),
                high=across(bias.high),
                y=up(rate),
            )
            for name, bias, rate in results
        ),
    )
