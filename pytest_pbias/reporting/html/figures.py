"""The plots, drawn by Matplotlib as SVG that takes the page's own text colour."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import CellVerdict, Verdict
from pytest_pbias.reporting.text import plain
from pytest_pbias.stats import RateResult, confidence_ellipse, pareto_front

_INK = "#010203"  # becomes currentColor
# Okabe & Ito's colours, told apart by readers with any colour vision; marks differ in form too.
_LOOKS = {
    Verdict.PASS: ("#0072B2", "o"),
    Verdict.FAIL: ("#D55E00", "s"),
    Verdict.INCONCLUSIVE: ("#B07AA1", "D"),
    Verdict.NO_SIGNAL: ("#888888", "x"),
}
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


def _finish(figure: Any, axes: Any, title: str) -> str:
    """The figure as an SVG element with a title for those who do not see it."""
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
    svg = re.sub(r'<svg [^>]*viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" role="img">', svg)
    return svg.replace('role="img">', f'role="img"><title>{escape(plain(title))}</title>', 1)


@_settings()
def forest_plot(task: str, rows: Sequence[tuple[str, CellVerdict]]) -> str:
    """Differences from baseline with their simultaneous intervals, each margin as a band."""
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
        axes.plot([found.low, found.high], [height, height], color=colour, linewidth=1.2)
        axes.plot([found.estimate], [height], mark, color=colour, markersize=4)
    axes.set_yticks(range(len(rows)), [plain(name, 40) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.3, -0.7)
    axes.set_xlabel("difference from baseline, percentage points (band: margin)")
    return _finish(figure, axes, f"{task}: difference of each identity from baseline")


@_settings()
def trade_off_plot(rows: Sequence[tuple[str, RateResult, RateResult]]) -> str:
    """Safety against utility of each identity, with 95 % ellipses and the Pareto front."""
    from matplotlib.patches import Ellipse

    figure, axes = _new_figure(7, 5)
    front = pareto_front([u.estimate for _, u, _ in rows], [s.estimate for _, _, s in rows])
    for (_, utility, safety), best in zip(rows, front, strict=True):
        errors = [(rate.high - rate.low) / (2 * _NORMAL) for rate in (utility, safety)]
        region = confidence_ellipse(utility.estimate, errors[0], safety.estimate, errors[1])
        shape = Ellipse(
            (region.utility, region.safety), 2 * region.half_utility, 2 * region.half_safety,
            facecolor="none", alpha=0.5, edgecolor="#0072B2", linewidth=0.6,
        )  # fmt: skip
        axes.add_patch(shape)
        colour, mark = ("#D55E00", "s") if best else ("#0072B2", "o")
        axes.plot([utility.estimate], [safety.estimate], mark, color=colour, markersize=4)
    lowest = np.argsort([u.estimate + s.estimate for _, u, s in rows])[:5]
    for number in lowest:
        name, utility, safety = rows[int(number)]
        axes.annotate(
            plain(name, 30), (utility.estimate, safety.estimate), fontsize=7,
            xytext=(4, 4), textcoords="offset points",
        )  # fmt: skip
    axes.set_xlabel("utility, mean rate over its tasks, percent")
    axes.set_ylabel("safety, mean rate over its tasks, percent")
    return _finish(figure, axes, "Safety against utility of each identity; squares: Pareto front")
