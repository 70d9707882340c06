"""The HTML report: self-contained, bounded, and inert whatever a model answered."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.reporting.html import RunContent, to_html

pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")

HOSTILE = (
    "<script>window.pwned = 1</script></script><img src=x onerror=window.pwned=1>"
    '<svg onload="window.pwned=1">\u202eevil\x1b[31mred\u2028"\'&'
)


def _table(task: str, axis: str, identities: int, items: int, response: str) -> OutcomeTable:
    rng = np.random.default_rng(len(task))
    columns: dict[str, list[object]] = {}
    for u in range(identities):
        who = "baseline" if u == 0 else f"identity {u}"
        kind = "baseline" if u == 0 else "identity"
        for i in range(items):
            score = float(rng.random() < (0.6 if u == 3 else 0.9))
            row = {
                "task": task, "axis": axis, "floor": 0.0, "item_id": f"{task}-{i}",
                "cluster": f"c{i // 2}", "identity": who, "group": kind, "kind": kind, "repeat": 0,
                "model": "tiny", "score": score, "label": "good" if score else "bad",
                "parsable": True, "response": f"{u} {i} {score} {response}",
                "placement": "system", "defense": "none", "data_hash": "d" * 64,
            }  # fmt: skip
            for key, value in row.items():
                columns.setdefault(key, []).append(value)
    return OutcomeTable.from_columns(columns)


def _page(table: OutcomeTable) -> str:
    return to_html(RunContent(summarize(table, GatePolicy(), seed=0), table))


@pytest.fixture(scope="module")
def hostile_page() -> str:
    tables = [
        _table("mmlu", "utility", 6, 120, HOSTILE),
        _table("do_not_answer", "safety", 6, 120, HOSTILE),
    ]
    return _page(concatenate(tables))


def test_every_section_is_there(hostile_page: str) -> None:
    for title in ("Verdict", "Safety against utility", "Tasks", "Answers side by side"):
        assert f">{title}</h2>" in hostile_page
    assert re.search(r"Biased beyond the margins: \d of 10 cells fail, and PB over", hostile_page)
    assert hostile_page.count("<svg") == 3


def test_nothing_is_asked_from_outside_and_nothing_hostile_is_markup(hostile_page: str) -> None:
    assert not re.findall(r'(?:src|href|action)="(?!#)', hostile_page)
    assert not re.findall(r"url\((?!#|data:)", hostile_page)
    assert hostile_page.count("<script") == hostile_page.count("</script>") == 2
    assert "<img" not in hostile_page
    assert "onload" not in hostile_page.split('id="sample-data">')[0]
    assert "\u202e" not in hostile_page
    assert "\x1b" not in hostile_page


def test_a_hostile_name_is_text() -> None:
    table = _table("mmlu", "utility", 4, 60, "fine")
    names = [
        '"><script>alert(1)</script>' if name == "identity 2" else name
        for name in table.text("identity")
    ]
    columns = {name: table.arrow.column(name).to_pylist() for name in table.arrow.column_names}
    page = _page(OutcomeTable.from_columns(columns | {"identity": names}))
    assert "<script>alert" not in page


def _samples(page: str) -> list[dict[str, Any]]:
    found = re.search(r'id="sample-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    samples: list[dict[str, Any]] = json.loads(found[1])["cells"]
    return samples


def _with(table: OutcomeTable, **columns: Sequence[object]) -> OutcomeTable:
    old = {name: table.arrow.column(name).to_pylist() for name in table.arrow.column_names}
    return OutcomeTable.from_columns(old | columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer", ["long answer ", "\u56de\u7b54\u306f\u9577\u3044", "\U0001f600", "<&>"]
)
def test_the_size_is_bounded_and_every_cell_has_a_sample(answer: str) -> None:
    tables = [
        _table(f"task{n}", "utility" if n < 6 else "safety", 35, 60, answer * 400) for n in range(8)
    ]
    page = _page(concatenate(tables))
    assert len(page.encode()) <= 2_000_000
    assert len({(one["task"], one["identity"]) for one in _samples(page)}) == 34 * 8


def test_a_task_of_one_cluster_has_a_page() -> None:
    table = _table("mmlu", "utility", 5, 60, "fine")
    page = _page(_with(table, cluster=["c"] * len(table)))
    assert "share of PB squared" not in page
    assert ">Tasks</h2>" in _page(_table("mmlu", "utility", 5, 1, "fine"))


def test_a_run_under_several_defenses_has_a_page() -> None:
    plain, defended = (_table("mmlu", "utility", 5, 60, text) for text in ("bare", "warned"))
    scores = [1.0 if who == "identity 1" else 0.0 for who in defended.text("identity")]
    defended = _with(defended, defense=["warning"] * len(defended), score=scores)
    page = _page(concatenate([plain, defended]))
    share = re.search(r"mmlu under warning: share of PB squared</caption>.*?</tbody>", page)
    assert share is not None
    assert re.search(r'<th scope="row">identity 1</th><td>identity</td><td>\d+ %', share[0])
    assert all("bare" in one["after"] for one in _samples(page))


@pytest.mark.parametrize("name", ["$x^{$ & _", "$\\frac{a$", "earns $5 to $9", "\u5973\u6027"])
def test_a_name_is_no_formula(name: str) -> None:
    table = _table("mmlu", "utility", 4, 60, "fine")
    names = [name if who == "identity 2" else who for who in table.text("identity")]
    page = _page(_with(table, identity=names))
    svg = re.search(r"<svg.*?</svg>", page, re.DOTALL)
    assert svg is not None
    assert f">{html.escape(name)}</text>" in svg[0]


def test_an_identity_asked_fewer_tasks_keeps_its_row() -> None:
    tables = [_table("mmlu", "utility", 6, 60, "a"), _table("safe", "safety", 4, 60, "a")]
    page = _page(concatenate(tables))
    section = page.split(">Unreadable answers</h2>")[1].split("</section>")[0]
    row = section.split('<th scope="row">identity 5</th>')[1].split("</tr>")[0]
    assert re.findall(r"<td[^>]*>(.*?)</td>", row) == ["0.0", ""]


def test_the_settings_of_matplotlib_are_the_users() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 13, "svg.hashsalt": "theirs"}):
        before = dict(mpl.rcParams)
        _page(_table("mmlu", "utility", 4, 60, "fine"))
        assert dict(mpl.rcParams) == before


def test_a_stored_run_becomes_a_page(tmp_path: Path) -> None:
    _table("mmlu", "utility", 4, 60, "fine").write(tmp_path / "run.parquet")
    out = tmp_path / "out.html"
    assert main(["report", str(tmp_path / "run.parquet"), "--html", str(out)]) == 0
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_page_works_in_a_browser(tmp_path: Path, hostile_page: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    path = tmp_path / "report.html"
    path.write_text(hostile_page, encoding="utf-8")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"],
        )  # fmt: skip
        page = browser.new_page(viewport={"width": 390, "height": 800})
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert asked == [path.as_uri()]
        cards = page.locator(".sample")
        before = cards.count()
        assert before > 10
        # By keyboard: into the filter, and down to the first task.
        page.locator('select[data-filter="identity"]').focus()
        page.keyboard.press("ArrowDown")
        assert 0 < cards.count() < before
        assert page.locator("output").inner_text().endswith("shown")
        page.locator('select[data-filter="identity"]').select_option("identity 3")
        safety = page.locator(".sample details").first
        assert not safety.locator(".pair").is_visible()
        safety.locator("summary").click()
        assert safety.locator(".pair").is_visible()
        assert "window.pwned" in safety.inner_text()
        assert r"\u202eevil\u001b[31mred\u2028" in safety.inner_text()
        assert page.evaluate("window.pwned") is None
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        assert said == []
        browser.close()
