"""Typed readers of single options; a bad value is one line that names the option."""

from __future__ import annotations

import math

import pytest

from pytest_pbias.errors import ConfigurationError, quoted
from pytest_pbias.plugin.options import read_option

LARGEST_WHOLE = 2**31 - 1
"""What the outcome table's columns of whole numbers hold."""


def read_whole(
    config: pytest.Config, name: str, *, least: int, most: int = LARGEST_WHOLE
) -> int | None:
    """A whole number in [least, most]; None where the option is not given."""
    value = read_option(config, name)
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise ConfigurationError(
            f"--pbias-{name}: {quoted(value)} is not a whole number of at least {least} "
            f"and at most {most}"
        )
    return number


def read_number(
    config: pytest.Config, name: str, *, least: float, most: float, above: bool = False
) -> float | None:
    """A number in [least, most]; ``above`` leaves out ``least`` itself."""
    value = read_option(config, name)
    return (
        None if value is None else parse_number(f"--pbias-{name}", value, least, most, above=above)
    )


def parse_number(where: str, value: str, least: float, most: float, *, above: bool) -> float:
    """Read ``value`` as a number in [least, most]; ``where`` names it in the error."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (least <= number <= most) or (above and number == least):
        bound = f"above {least:g}" if above else f"at least {least:g}"
        raise ConfigurationError(f"{where}: {value!r} is not a number {bound} and at most {most:g}")
    return number
