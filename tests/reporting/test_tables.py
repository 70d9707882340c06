"""A section made of nothing but neutral blocks, as each format shows it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from pytest_pbias.reporting.html.page import sections_page
from pytest_pbias.reporting.markdown import section_lines as markdown_lines
from pytest_pbias.reporting.tables import (
    Badge,
    Bullets,
    Cell,
    Code,
    Column,
    Heading,
    Heat,
    Interval,
    Note,
    Section,
    Shift,
    Table,
)
from pytest_pbias.reporting.terminal import section_lines
from pytest_pbias.reporting.text import columns

HOSTILE = (
    '<img src=x onerror="alert(1)">',
    "{{ 7 * 7 }}{% raw %}",
    "</td></table><script>alert(1)</script>",
    "| cell | `code` [a](javascript:x) **b**",
    "::error::x\x1b[31m\u202e\x07 ##[error]y",
    "\u5e74\u914d\u306e\u4eba" * 30,
    "x" * 200,
)
ROW: tuple[Cell, ...] = (
    "mmlu", "a man", Badge("fail"), Interval(-8.0, -9.0, -7.0, difference=True),
    Interval(96.0, 93.6, 97.5), Shift(1.0, 2.0), Heat(-0.01), Code("d0"), Badge("worse", "it fell"),
)  # fmt: skip
HEAD = ("task", "identity", "verdict", "difference", Column("rate", brief=True), "moved", "heat",
        "hash", Column("why", sentence=True))  # fmt: skip


def finding(text: str = "says") -> Section:
    """Every kind of block with the text in each place, the hidden ones too."""
    rows: list[tuple[Cell, ...]] = [
        ROW,
        (text, text, Badge(text), "", "", text, "", Code(text), Badge("pass", text)),
    ]
    return Section(
        f"A finding {text}",
        (
            Note(text, "open"),
            Note(f"hidden {text}", detail=True),
            Bullets((text, "second")),
            Heading(text),
            Table(text, HEAD, rows, grouped=True),
            Table(f"hidden {text}", ("a",), [(text,)], detail=True),
        ),
        lead=f"what {text} is",
    )


def test_the_terminal_shows_every_cell_and_no_detail() -> None:
    lines = section_lines(finding())
    assert [line for line, _ in lines[:6]] == [
        "", "what says is", "  says", "  - says", "  - second", "  says",
    ]  # fmt: skip
    text = [line for line, _ in lines]
    row = next(line for line in text if line.startswith("    a man"))
    assert re.split(" {2,}", row.strip()) == [
        "a man", "fail", "-8.0 (-9.0 to -7.0)", "96.0", "1.0 -> 2.0", "+0.0", "d0",
    ]  # fmt: skip
    assert ("      WORSE: it fell", "red") in lines
    assert ("      PASS: says", "") in lines  # the row's first badge gives its colour
    assert not any("hidden" in line for line in text)


def test_markdown_shows_every_cell_and_no_detail() -> None:
    lines = list(markdown_lines(finding()))
    assert lines[:3] == ["### A finding says", "", "What says is."]
    row = next(line for line in lines if "a man" in line).replace("\\", "")
    assert row == (
        "| mmlu | a man | **FAIL** | -8.0 (-9.0 to -7.0) | 96.0 (93.6 to 97.5) | 1.0 → 2.0 | +0.0 "
        "| `d0` | worse: it fell |"
    )
    assert not any("hidden" in line for line in lines)


class Page(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, its words."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [] if tag in self.VOID else [tag]
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split() if self.open[-1:] != ["style"] else []


def test_a_page_shows_every_cell_and_the_details() -> None:
    page = Page(sections_page("A page", [finding(), Section("Nothing", ())]))
    words = " ".join(page.words)
    assert "What says is. says hidden says says second says says task identity" in words
    assert (
        "mmlu a man fail -8.0 (-9.0 to -7.0) 96.0 (93.6 to 97.5) 1.0 → 2.0 +0.0 d0 worse it fell"
    ) in words
    assert "</span> it fell</td>" in sections_page("A page", [finding()])
    assert "Nothing" not in words
    assert page.elements.count("table") == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_no_markup_in_a_page(text: str) -> None:
    quiet, hostile = (
        sections_page(f"A page {one}", [finding(one), finding()]) for one in ("says", text)
    )
    before, after = Page(quiet), Page(hostile)
    assert after.elements == before.elements
    assert after.attributes == before.attributes
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", hostile)
    assert "49" not in after.words  # no template in a template


def test_rows_that_are_not_in_sight_open_on_a_click() -> None:
    rows: list[tuple[Cell, ...]] = [(f"row {n}",) for n in range(9)]
    for first, more in ((None, ""), (4, "5 more"), (9, "")):
        section = Section("Rows", (Table("All", ("name",), rows, first=first),))
        text = sections_page("A page", [section])
        assert text.count('<th scope="row">row') == 9
        opened = text.split("<details>")
        assert ("".join(Page(text).elements).count("summary") == 1) == bool(more)
        assert opened[0].count('<th scope="row">row') == (first or 9)
        if more:
            assert f"<summary>{more}</summary>" in text
            assert "<caption>All: the others</caption>" in text
    folded = Table("All", ("name",), rows, folded="The <figures>")
    text = sections_page("A page", [Section("Rows", (folded,))])
    assert '<th scope="row">' not in text.split("<details><summary>The &lt;figures&gt;<")[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_inert_in_every_block(text: str) -> None:
    lines = [line for line, _ in section_lines(finding(text))]
    assert all(columns(line) <= 80 for line in lines)
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in lines)
    shown = "\n".join(markdown_lines(finding(text)))
    assert "<" not in shown
    assert "](" not in shown.replace("\\](", "").replace("\\]\\(", "")
    for found in ("\n".join(lines), shown):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", found)
    assert all(
        len(re.findall(r"(?<!\\)\|", line)) == len(HEAD) + 1
        for line in shown.splitlines()
        if line.startswith("|")
    )


def test_a_section_of_details_alone_is_not_shown() -> None:
    section = Section("Details", (Note("x", detail=True),), lead="nothing to see")
    assert section_lines(section) == []
    assert list(markdown_lines(section)) == []


def test_a_table_that_is_too_wide_cuts_its_longest_names_only() -> None:
    rows: list[tuple[Cell, ...]] = [("n" * 90, "m" * 40, Interval(1.0, 0.5, 1.5))]
    lines = [line for line, _ in section_lines(Section("", (Table("", ("a", "b", "c"), rows),)))]
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("1.0 (0.5 to 1.5)")


def test_a_table_that_does_not_fit_at_all_is_told_row_by_row() -> None:
    rows: list[tuple[Cell, ...]] = [("a man", *(f"{n} of 1,000 answers" for n in range(5)))]
    head = ("who", *(f"kind {n}" for n in range(5)))
    lines = [line for line, _ in section_lines(Section("", (Table("", head, rows),)))]
    assert max(map(len, lines)) <= 80
    told = ", ".join(f"kind {n} {n} of 1,000 answers" for n in range(5))
    assert " ".join(" ".join(lines).split()) == f"a man: {told}"
