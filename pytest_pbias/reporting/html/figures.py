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
from html import escape
from typing import Any

from pytest_pbias.analysis.defenses import DefenseSummary
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import CellVerdict, Verdict
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
}

_MARKS = {
    Verdict.PASS: "circle",
    Verdict.FAIL: "square",
    Verdict.INCONCLUSIVE: "diamond",
    Verdict.NO_SIGNAL: "cross",
}

_NAMED = 8  # identities of the trade-off that have their name in the plot

_NORMAL = 1.959964


@contextmanager
def _settings() -> Iterator[None]:
    """Matplotlib with its defaults and ours, giving the user's settings back afterwards.

    Names are text: a dollar sign in one does not begin a formula.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise ConfigurationError(
            "the HTML report needs Matplotlib: pip install 'pytest-pbias[report]'"
        ) from None
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


@dataclass(frozen=True)
class Words:
    """What a plot says in words."""

    title: str
    description: str
    caption: str


def _finish(figure: Any, axes: Any, words: Words) -> str:
    """The figure as HTML, described, with its parts named after its content."""
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
    name = f"f{hashlib.sha256(svg.encode()).hexdigest()[:10]}"
    svg = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{name}-", svg)
    told = (
        f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc">'
        f'<title id="{name}-title">{_safe(words.title)}</title>'
        f'<desc id="{name}-desc">{_safe(words.description)}</desc>'
    )
    svg = re.sub(
        r'<svg [^>]*viewBox="([^"]+)"[^>]*>',
        lambda found: f'<svg viewBox="{found[1]}" {told}',
        svg,
        count=1,
    )
    caption = f"<figcaption>{_safe(words.caption)}</figcaption>"
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{_safe(words.title)}">'
    return f"<figure>{scroll}{svg}</div>{caption}</figure>"


def _safe(text: str) -> str:
    return escape(plain(text))


@_settings()
def forest_plot(task: str, rows: Sequence[tuple[str, CellVerdict]]) -> str:
    """Differences from baseline, each margin as a band; HTML.

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
    axes.set_xlabel("difference from baseline, percentage points")
    return _finish(figure, axes, _forest_words(task, [verdict for _, verdict in rows]))


def _forest_words(task: str, verdicts: Sequence[CellVerdict]) -> Words:
    found = Counter(verdict.verdict for verdict in verdicts)
    counts = ", ".join(f"{found[verdict]} {verdict.value}" for verdict in _LOOKS if found[verdict])
    marks = ", ".join(f"{_MARKS[verdict]}: {verdict.value}" for verdict in _LOOKS if found[verdict])
    marks = marks.capitalize()
    return Words(
        f"{task}: difference of each identity from baseline",
        f"{len(verdicts)} cells: {counts}. The figures are in the table below.",
        "Difference from baseline; thin: the interval that holds for all cells at once, beyond "
        "the margin in a fail; thick: the cell's own, within it in a pass; grey band: margin. "
        f"{marks}.",
    )


@_settings()
def trade_off_plot(rows: Sequence[tuple[str, RateResult, RateResult]]) -> str:
    """Safety against utility of each identity, with 95 % ellipses and the Pareto front; HTML."""
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
    figure.tight_layout()
    _label_lowest(figure, axes, rows)
    best = ", ".join(name for (name, _, _), on_front in zip(rows, front, strict=True) if on_front)
    words = Words(
        "Safety against utility of each identity",
        f"{len(rows)} identities; on the Pareto front: {best}. The figures are in the table below.",
        "Circle: an identity; square: on the Pareto front, nobody is better on both axes; ellipse: "
        "95 % confidence.",
    )
    return _finish(figure, axes, words)


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


_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 220, 50, 40

_PANEL = _WIDTH + 110


@dataclass(frozen=True)
class _Point:
    name: str
    bias: PersonalizationBiasResult
    rate: float


def defense_plot(defenses: Sequence[DefenseSummary]) -> str:
    """The plot; without any comparison an empty string. The best place is top left."""
    panels = {
        axis: points
        for axis in ("utility", "safety")
        if len(points := list(_points(defenses, axis))) > 1
    }
    if not panels:
        return ""
    width, height = _PANEL * len(panels), _TOP + _HEIGHT + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="11">',
        "<title>Prompt defences: personalization bias against mean rate</title>",
    ]
    for number, (axis, points) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({_PANEL * number} 0)">')
        parts += _panel(axis, points)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _points(defenses: Sequence[DefenseSummary], axis: str) -> Iterator[_Point]:
    for summary in defenses:
        found = summary.comparison.axes if summary.comparison is not None else ()
        for change in found:
            if change.axis != axis or change.old_bias is None or change.new_bias is None:
                continue
            if summary is defenses[0]:
                yield _Point(summary.reference, change.old_bias, change.mean.old)
            yield _Point(summary.defense, change.new_bias, change.mean.new)


def _panel(axis: str, points: Sequence[_Point]) -> Iterator[str]:
    most = max(1.0, max(point.bias.high for point in points))
    lowest = min(point.rate for point in points)
    floor = max(0.0, lowest - 0.1 * (100 - lowest) - 1)

    def across(bias: float) -> float:
        return _LEFT + _WIDTH * bias / most

    def up(rate: float) -> float:
        return _TOP + _HEIGHT * (100 - rate) / (100 - floor)

    bottom = _TOP + _HEIGHT
    yield f'<text x="{_LEFT}" y="20" font-weight="bold">{axis}</text>'
    yield (
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{_LEFT + _WIDTH}" fill="none" stroke="currentColor"/>'
    )
    yield f'<text x="{_LEFT}" y="{bottom + 32}" fill="currentColor">debiased PB, points</text>'
    yield f'<text x="{_LEFT}" y="{_TOP - 8}" fill="currentColor">mean rate, %</text>'
    for share in (0.0, 0.5, 1.0):
        rate = floor + share * (100 - floor)
        yield (
            f'<text x="{_LEFT - 6}" y="{up(rate) + 4:.1f}" text-anchor="end" '
            f'fill="currentColor">{rate:.0f}</text>'
        )
        yield (
            f'<text x="{across(share * most):.1f}" y="{bottom + 16}" text-anchor="middle" '
            f'fill="currentColor">{share * most:.1f}</text>'
        )
    for number, point in enumerate(points):
        colour = "#777777" if number == 0 else "#1f6fb2"
        x, y = across(point.bias.estimate), up(point.rate)
        yield (
            f'<path d="M{across(point.bias.low):.1f} {y:.1f}H{across(point.bias.high):.1f}" '
            f'stroke="{colour}"/>'
        )
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        name = escape(plain(point.name, 24))
        yield f'<text x="{x + 7:.1f}" y="{y - 6:.1f}" fill="{colour}">{name}</text>'
