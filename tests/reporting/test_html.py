"""The HTML report: self-contained, bounded, and inert whatever a model answered."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.reporting import summarize
from pytest_pbias.reporting.html import to_html

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
                "cluster": f"c{i // 2}", "identity": who, "group": kind, "kind": kind, "run": 0,
                "model": "tiny", "score": score, "label": "good" if score else "bad",
                "parsable": True, "response": f"{u} {i} {score} {response}",
                "placement": "system", "defense": "none", "data_hash": "d" * 64,
            }  # fmt: skip
            for key, value in row.items():
                columns.setdefault(key, []).append(value)
    return OutcomeTable.from_columns(columns)


def _page(table: OutcomeTable) -> str:
    return to_html(summarize(table, GatePolicy(), seed=0), table)


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


@pytest.mark.slow
def test_the_size_is_bounded() -> None:
    tables = [
        _table(f"task{n}", "utility" if n < 6 else "safety", 34, 60, "long answer " * 400)
        for n in range(8)
    ]
    assert len(_page(concatenate(tables)).encode()) <= 2_000_000


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
        assert page.evaluate("window.pwned") is None
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        assert said == []
        browser.close()
