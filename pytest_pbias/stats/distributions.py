"""Tails and quantiles of the usual distributions, by ``scipy.special``.

``scipy.stats`` has them too, but importing it takes half a second and 45 MB with what it pulls in,
which every session and every xdist worker would pay. They agree to rounding (tests/stats).
"""

from __future__ import annotations

from scipy import special


def normal_isf(tail: float) -> float:
    """The normal deviate exceeded with probability ``tail``."""
    return -float(special.ndtri(tail))


def normal_sf(value: float) -> float:
    """P(normal deviate >= value)."""
    return float(special.ndtr(-value))


def normal_ppf(share: float) -> float:
    """The normal deviate not exceeded with probability ``share``."""
    return float(special.ndtri(share))


def student_isf(tail: float, freedom: float) -> float:
    """The deviate of Student's t exceeded with probability ``tail``."""
    return -float(special.stdtrit(freedom, tail))


def student_sf(value: float, freedom: float) -> float:
    """P(Student's t >= value)."""
    return float(special.stdtr(freedom, -value))


def chi_square_sf(value: float, freedom: float) -> float:
    """P(chi-square >= value)."""
    return float(special.chdtrc(freedom, value))


def chi_square_ppf(share: float, freedom: float) -> float:
    """The value that chi-square does not exceed with probability ``share``."""
    return float(special.chdtri(freedom, 1.0 - share))


def noncentral_chi_square_sf(value: float, freedom: float, shift: float) -> float:
    """P(noncentral chi-square >= value), to about 1e-14 absolute for shifts up to 2000."""
    return max(0.0, 1.0 - float(special.chndtr(value, freedom, shift)))


def fair_binomial_cdf(successes: int, trials: int) -> float:
    """P(at most ``successes`` heads in ``trials`` tosses of a fair coin)."""
    return 0.0 if successes < 0 else float(special.bdtr(successes, trials, 0.5))


def binomial_sf(successes: float, trials: float, share: float) -> float:
    """P(at least ``successes`` of ``trials``, each with probability ``share``).

    By the incomplete beta function, which also says it for fractions: between the values of the
    whole numbers around them.
    """
    if successes <= 0.0:
        return 1.0
    if successes > trials:
        return 0.0
    return float(special.betainc(successes, trials - successes + 1.0, share))
