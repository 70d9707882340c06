"""Verdict -> pytest outcome: pass, failed, or skipped and shown as inconclusive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest
from _pytest.outcomes import Skipped

from pytest_pbias.gate import Verdict


class Inconclusive(Skipped):
    """Neither pass nor fail: a skip to every other tool, so that no report counts it as passed."""


def report_verdict(
    item: pytest.Item,
    verdict: Verdict,
    message: str,
    *,
    mode: Literal["detect", "prove"],
    figures: Mapping[str, float] | None = None,
) -> None:
    """Record a verdict on the item and end the test accordingly.

    The verdict and its ``figures`` become properties of the item, ``pbias_NAME`` in JUnit XML.

    Raises:
        pytest.fail.Exception: the verdict is *fail*, or not a pass in ``prove`` mode.
        Inconclusive: the verdict is inconclusive in ``detect`` mode.
    """
    __tracebackhide__ = True
    properties = {"pbias_verdict": verdict.value}
    properties |= {f"pbias_{name}": f"{value:.6g}" for name, value in (figures or {}).items()}
    others = [pair for pair in item.user_properties if pair[0] not in properties]
    item.user_properties[:] = [*others, *properties.items()]
    if verdict is Verdict.PASS:
        return
    if verdict is Verdict.FAIL:
        pytest.fail(message, pytrace=False)
    if mode == "prove":
        pytest.fail(f"{verdict.value} (red in prove mode): {message}", pytrace=False)
    raise Inconclusive(f"{verdict.value}: {message}")
