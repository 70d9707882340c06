"""The table of docs/statistics.md that leads from a claim to its script, file, figure and test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CALIBRATION = ROOT / "benchmarks" / "calibration"


def _rows() -> list[list[str]]:
    text = (ROOT / "docs" / "statistics.md").read_text("utf-8")
    section = text.split("### Where each figure comes from")[1].split("\n#")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[part.strip() for part in line.split("|")[1:-1]] for line in table[2:]]


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_what_the_table_names_is_there() -> None:
    for claim, script, file, figure, tests in _rows():
        for name in _quoted(script):
            assert (CALIBRATION / f"{name.removeprefix('.')}.py").is_file(), claim
        for name in _quoted(file) + _quoted(figure):
            assert (CALIBRATION / "results" / name).is_file(), claim
        for name in _quoted(tests):
            assert (ROOT / name).is_file(), claim


def test_every_result_has_a_row() -> None:
    named = {name for row in _rows() for name in _quoted(row[2]) + _quoted(row[3])}
    assert named == {path.name for path in (CALIBRATION / "results").iterdir()}
