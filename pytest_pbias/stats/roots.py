"""Where a function of one variable crosses zero."""

from __future__ import annotations

from collections.abc import Callable

_ABSOLUTE = 1e-16  # roots may be squares of rates: 1e-12 would be 1e-4 percentage points
_RELATIVE = 4e-16
_MOST_STEPS = 200


def crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a continuous ``function`` whose signs at ``low`` and ``high`` differ.

    Chandrupatla's method (Advances in Engineering Software 28:145-149, 1997): inverse quadratic
    steps where they are safe, else halving. Agrees with ``scipy.optimize.brentq`` to rounding,
    without the 24 MB and the quarter of a second of importing that package.

    Raises:
        ValueError: the signs do not differ.
    """
    a, b = low, high
    fa, fb = function(a), function(b)
    if fa == 0.0 or fb == 0.0:
        return a if fa == 0.0 else b
    if (fa > 0.0) == (fb > 0.0):
        raise ValueError(f"no change of sign between {low:g} and {high:g}")
    share = 0.5
    for _ in range(_MOST_STEPS):
        x = a + share * (b - a)
        fx = function(x)
        # The new interval is x to b, and c is the point that it leaves out.
        if (fx > 0.0) == (fa > 0.0):
            c, fc = a, fa
        else:
            c, fc, b, fb = b, fb, a, fa
        a, fa = x, fx
        best, at_best = (a, fa) if abs(fa) < abs(fb) else (b, fb)
        tolerance = _ABSOLUTE + _RELATIVE * abs(best)
        width = abs(b - a)
        if at_best == 0.0 or width < 2.0 * tolerance:
            return best
        share = _next_share((a, fa), (b, fb), (c, fc))
        least = tolerance / width
        share = min(max(share, least), 1.0 - least)
    return best


def _next_share(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """How far from ``a`` to ``b`` to look next; the points are (x, value), ``c`` is the oldest."""
    (xa, fa), (xb, fb), (xc, fc) = a, b, c
    place, height = (xa - xb) / (xc - xb), (fa - fb) / (fc - fb)
    # Inverse quadratic interpolation stays within the interval only under these.
    if not (height**2 < place and (1.0 - height) ** 2 < 1.0 - place):
        return 0.5
    return fa / (fb - fa) * fc / (fb - fc) + (xc - xa) / (xb - xa) * fa / (fc - fa) * fb / (fc - fb)
