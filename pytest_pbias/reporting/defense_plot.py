"""The trade-off of prompt defences as an SVG: PB across, mean rate up, one panel an axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pytest_pbias.reporting.defenses import DefenseSummary
from pytest_pbias.reporting.text import plain
from pytest_pbias.stats import PersonalizationBiasResult

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
