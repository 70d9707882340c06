"""``pbias site``: an index and reports that need no server, whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cli import main
from pytest_pbias.outcomes.saved_runs import keep_run
from tests.analysis.conftest import Maker

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<script>alert(1)</script>\"'>\x1b[31m{{7*7}}"
NAMED = "javascript:alert(1)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs: the third was asked otherwise, the second's names are hostile."""
    folder = tmp_path_factory.mktemp("store")
    for number in range(5):
        table = Maker().table(
            {"do_not_answer/a man": 0.9 - 0.1 * number},
            seed=number,
            n_items=120,
            model=HOSTILE if number == 1 else f"model-{number}",
            info={"created": f"2026-11-0{number + 1}T10:00:00"},
            temperature=1.0 if number == 2 else 0.0,
        )
        name = NAMED if number == 1 else f"model-{number}"
        keep_run(table, folder, model=name, tag=HOSTILE if number == 1 else f"v{number}")
    return folder


@pytest.fixture(scope="module")
def site(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    assert main(["site", str(out), "--store", str(store), "--title", HOSTILE]) == 0
    return out


def test_only_what_can_be_compared_is_side_by_side(site: Path) -> None:
    index = (site / "index.html").read_text()
    tables = index.split("<section")[1:]
    assert [len(re.findall(r'<th scope="row">', table)) for table in tables] == [4, 1]
    assert "temperature 1.0" in tables[1]
    links = re.findall(r'<a href="(runs/[^"]+)">([^<]*)', index)
    assert [name for _, name in links][:2] == ["0005-model-4", "0004-model-3"], "newest first"
    for page, _ in links:
        text = (site / page).read_text()
        assert 'href="../index.html"' in text
        assert "Identities by task" in text


def test_names_are_inert_and_nothing_comes_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert "<script>alert" not in text
        assert "\x1b" not in text
        assert ">49<" not in text
        assert not re.search(r'(?:href|src)="(?!#|runs/\d|\.\./index\.html)', text)
        assert "default-src 'none'" in text


def test_fifty_runs_of_the_whole_suite_are_under_three_megabytes(tmp_path: Path) -> None:
    """A page of 31 identities and five tasks, fifty times, with the index."""
    import numpy as np

    from pytest_pbias.outcomes import OutcomeTable
    from pytest_pbias.prompts import paper_identities

    rng = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {}
    names = ["baseline", "a person", *(one.name for one in paper_identities())]
    for task in ("mmlu", "gsm8k", "mbpp", "do_not_answer", "strongreject"):
        for name in names:
            kind = {"baseline": "baseline", "a person": "control"}.get(name, "identity")
            for item in range(30):
                row = {
                    "task": task, "axis": "safety" if "o" in task else "utility", "floor": 0.0,
                    "item_id": f"i{item}", "cluster": f"c{item}", "identity": name, "group": kind,
                    "kind": kind, "placement": "system", "repeat": 0, "model": "tiny",
                    "prompt_hash": f"{name}{item}", "score": float(rng.random() < 0.8),
                    "parsable": True, "judge": "rules", "data_hash": "d" * 64,
                }  # fmt: skip
                for key, value in row.items():
                    rows.setdefault(key, []).append(value)
    keep_run(OutcomeTable.from_columns(rows), tmp_path / "store", model="tiny")
    out = tmp_path / "site"
    assert main(["site", str(out), "--store", str(tmp_path / "store")]) == 0
    (page,) = out.glob("runs/*.html")
    entry = len((out / "index.html").read_text().split("<tr>")[-1])
    assert 50 * (page.stat().st_size + entry) + 20_000 < 3_000_000


def test_a_site_is_replaced_and_nothing_else_is(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "site"
    words = ["site", str(out), "--store", str(store)]
    assert main([*words, "--last", "2"]) == 0
    assert len(list(out.glob("runs/*"))) == 2
    assert main([*words, "--last", "1"]) == 0
    assert len(list(out.glob("runs/*"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["site"]

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(mine)
    for place, said in (
        (mine, "holds files that are no site of pbias"),
        (tmp_path / "file", "is no folder"),
        (tmp_path / "link", "is no folder"),
        (Path("/proc/no/site"), "cannot be written"),
    ):
        assert main(["site", str(place), "--store", str(store), "--last", "1"]) == 2
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
    assert main(["site", str(out), "nobody", "--store", str(store)]) == 2
    assert "no run has the model 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (".", "is where this runs"),
        ("", "is where this runs"),
        ("..", "is where this runs"),
        ("no/..", "is where this runs"),
        ("/", "is where this runs"),
        ("x" * 300, "cannot be written: File name too long"),
        ("x" * 300 + "/site", "cannot be written: File name too long"),
    ],
)
def test_a_place_that_is_none_is_one_line_and_leaves_nothing(
    place: str,
    said: str,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(["site", place, "--store", str(store), "--last", "1"]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert list(tmp_path.rglob("*")) == [here]


def test_a_run_that_cannot_be_read_leaves_the_old_site(store: Path, tmp_path: Path) -> None:
    copy, out = tmp_path / "store", tmp_path / "site"
    shutil.copytree(store, copy)
    words = ["site", str(out), "--store", str(copy)]
    assert main([*words, "--last", "1"]) == 0
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (newest,) = copy.glob("runs/0005-*")
    table = newest.read_bytes()
    newest.write_bytes(table[:40] + bytes(400) + table[440:])  # its footer is whole
    assert main(words) == 2
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "store"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, site: Path) -> Iterator[Open]:
    """Open the index; at the end nothing was logged and nothing but files of the site asked for."""
    pages, said, asked = [], [], []

    def start(**look: Any) -> Any:
        page = browser.new_page(**look)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        return page

    yield start
    for page in pages:
        page.close()
    assert said == []
    assert all(url.startswith(site.as_uri()) for url in asked)


in_browser = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def _marked(function: Any) -> Any:
    for mark in in_browser:
        function = mark(function)
    return function


@_marked
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_light_and_dark_wide_and_narrow(
    open_page: Open, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for _ in range(2):  # the index, then a report
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("link", name="0005-model-4").first.click() if "index" in page.url else None


@_marked
def test_it_is_searched_and_sorted_without_a_server(open_page: Open) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    page.get_by_role("searchbox").fill("MODEL-3 v3")
    assert page.locator("tbody tr:visible").count() == 1
    assert page.get_by_role("status").inner_text() == "1 of 5 runs"
    assert page.locator("section:visible").count() == 1
    page.get_by_role("searchbox").fill("")
    table = page.locator("table").first
    button = table.get_by_role("button", name="PB safety")
    for direction, sign in (("ascending", 1), ("descending", -1)):
        button.focus()
        page.keyboard.press("Enter")
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == direction
        cells = table.locator("tbody tr td:nth-child(5)")
        numbers = [float(one.split()[0]) for one in cells.all_inner_texts()]
        assert numbers == sorted(numbers, reverse=sign < 0)
    table.get_by_role("button", name="run", exact=True).click()
    assert table.locator("tbody th").first.inner_text().startswith("0001-")
    page.get_by_role("link", name="0001-model-0").click()
    assert "0001-model-0" in page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("link", name="All runs").click()
    assert page.locator("tbody tr").count() == 5
