"""Say in one word how a run ended, from pytest's exit code and JUnit file."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.etree.ElementTree import Element

_OPEN = frozenset({"inconclusive", "no signal"})
# Exit codes of pytest other than 0 (all passed) and 1 (some did not).
_CODES = {2: "interrupted", 3: "error", 4: "usage", 5: "nothing"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("status", type=int, help="pytest's exit code")
    parser.add_argument("junit", type=Path, help="what --junitxml wrote")


def run(options: argparse.Namespace) -> int:
    """Print pass, fail, inconclusive, error, interrupted, usage or nothing (collected).

    *Error*: an answer could not be had, and there is no verdict. *Fail* comes before *inconclusive*
    where a run has both.
    """
    print(verdict(options.status, options.junit))
    return 0


def verdict(status: int, junit: Path) -> str:
    """The word for a run that ended with ``status``; its exit code alone where there is no file."""
    if status in _CODES:
        return _CODES[status]
    if status not in (0, 1):
        return "error"
    try:
        cases = list(ET.parse(junit).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return "error"
    if any(case.find("error") is not None for case in cases):
        return "error"
    red = [_property(case) for case in cases if case.find("failure") is not None]
    if status == 1:
        if not red:
            return "error"
        return "inconclusive" if _OPEN.issuperset(red) else "fail"
    # A baseline that gives a signal, and cells that the gate is not asked of, decide nothing.
    said = {_property(case) for case in cases} - {None, "signal", "finding"}
    return "inconclusive" if said and said <= _OPEN else "pass"


def _property(case: Element) -> str | None:
    """The verdict that the plugin recorded with the test."""
    for entry in case.iter("property"):
        if entry.get("name") == "pbias_verdict":
            return entry.get("value")
    return None
