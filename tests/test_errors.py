"""Texts that errors and reports show: one line, and nothing in it that acts unseen."""

from __future__ import annotations

import unicodedata

from pytest_pbias.errors import without_controls


def test_what_is_not_seen_is_left_out_and_breaks_are_blanks() -> None:
    """Every character of Unicode, by the category that the standard gives it."""
    blank, nothing = {"Cc", "Zl", "Zp"}, {"Cf", "Cs", "Co", "Cn"}
    for start in range(0, 0x110000, 0x1000):
        text = "".join(map(chr, range(start, start + 0x1000)))
        categories = [unicodedata.category(one) for one in text]
        expected = "".join(
            " " if category in blank else "" if category in nothing else one
            for one, category in zip(text, categories, strict=True)
        )
        assert without_controls(text) == expected
    assert without_controls("a##[set-env]b") == "a## [set-env]b"
