"""Verdict -> pytest outcome: pass, failed, or skipped and shown as inconclusive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pytest
from _pytest.outcomes import Skipped

from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.text import paragraph


class Inconclusive(Skipped):
    """Neither pass nor fail: a skip to every other tool, so that no report counts it as passed."""


def report_verdict(
    item: pytest.Item,
    verdict: Verdict,
    message: str,
    *,
    mode: Literal["detect", "prove"],
    recorded: str | None = None,
    figures: Mapping[str, float] | None = None,
    subject: Mapping[str, str] | None = None,
    details: Sequence[str] = (),
) -> None:
    """Record a verdict on the item and end the test accordingly.

    The verdict (under ``recorded`` where that is given), its ``figures`` and what it is about, the
    ``subject``, become properties of the item, ``pbias_NAME`` in JUnit XML.
    ``details`` are lines for a failure, at most 80 columns wide as the rest of it.

    Raises:
        pytest.fail.Exception: the verdict is *fail*, or not a pass in ``prove`` mode.
        Inconclusive: the verdict is inconclusive in ``detect`` mode.
    """
    __tracebackhide__ = True
    properties = {"pbias_verdict": recorded or verdict.value}
    properties |= {f"pbias_{name}": text for name, text in (subject or {}).items()}
    properties |= {f"pbias_{name}": f"{value:.6g}" for name, value in (figures or {}).items()}
    others = [pair for pair in item.user_properties if pair[0] not in properties]
    item.user_properties[:] = [*others, *properties.items()]
    if verdict is Verdict.PASS:
        return
    if verdict is Verdict.FAIL:
        pytest.fail("\n".join([paragraph(message), *details]), pytrace=False)
    if mode == "prove":
        pytest.fail(paragraph(f"{verdict.value} (red in prove mode): {message}"), pytrace=False)
    raise Inconclusive(f"{verdict.value}: {message}")
