"""The documentation: it builds without a warning, has every page, and shows what is true."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from html import unescape
from pathlib import Path

import pytest

from pytest_pbias.cells import read_personas
from pytest_pbias.cells.cell import controls_to_add
from pytest_pbias.cli import COMMANDS, main
from pytest_pbias.plugin.options import OPTIONS
from pytest_pbias.tasks import TASKS
from pytest_pbias.tasks.own import known_tasks
from pytest_pbias.tasks.task_file import read_task

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("persona_*.pbias.toml"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TASK_EXAMPLES = sorted((DOCS / "examples").glob("task_*.pbias.toml"))

pytest.importorskip("mkdocs", reason="needs pytest-pbias[docs]")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def _text(path: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", path.read_text("utf-8")))


@pytest.mark.slow
def test_every_page_is_in_the_site_and_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text("utf-8")
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix("").as_posix().removesuffix("/index")
        if name != "index":
            assert f'href="{name}/"' in home, f"{name} is not in the navigation of mkdocs.yml"
            assert (site / name / "index.html").exists()


@pytest.mark.slow
def test_the_results_page_is_what_pbias_site_writes_now(site: Path, tmp_path: Path) -> None:
    built = site / "results" / "site"
    assert 'href="site/"' in (site / "results" / "index.html").read_text("utf-8")
    (title,) = re.findall(r"<h1>(.*?)</h1>", (built / "index.html").read_text("utf-8"))
    words = ["site", str(tmp_path / "out"), "--store", str(DOCS / "results"), "--title", title]
    assert main(words) == 0
    written = {
        path.relative_to(tmp_path / "out"): path.read_text("utf-8")
        for path in (tmp_path / "out").rglob("*.html")
    }
    assert len(written) > 3
    assert written == {
        path.relative_to(built): path.read_text("utf-8") for path in built.rglob("*.html")
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_results_page_opens_light_and_dark_wide_and_narrow(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    said: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, width in itertools.product(("light", "dark"), (1280, 390)):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto((site / "results" / "site" / "index.html").as_uri())
            for name in page.locator("tbody th a").all_inner_texts():
                page.get_by_role("link", name=name, exact=True).click()
                assert name in page.get_by_role("heading", level=1).inner_text()
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                page.get_by_role("link", name="All runs").click()
            page.get_by_role("searchbox").fill("SmolLM2")
            assert 0 < page.locator("tbody tr:visible").count() < page.locator("tbody tr").count()
            page.close()
        browser.close()
    assert said == []
    assert all(url.startswith(site.as_uri()) for url in asked)


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?(?:https?:)?//", text)
        for link in re.findall(r"<link[^>]*>", text):
            assert "stylesheet" not in link or "//" not in link


@pytest.mark.slow
def test_the_reference_has_every_option_and_command(site: Path) -> None:
    options = _text(site / "reference" / "options" / "index.html")
    for option in OPTIONS:
        assert f"--pbias-{option.name}" in options
        assert option.dest in options
    commands = _text(site / "reference" / "commands" / "index.html")
    for name in COMMANDS:
        assert f"usage: pbias {name}" in commands
    cell = _text(site / "reference" / "marks" / "index.html")
    assert "Decide on the difference from the reference" in cell
    assert json.loads((site / "persona.schema.json").read_text())["title"]


@pytest.mark.slow
def test_the_schema_comment_of_the_docs_is_where_the_schema_is(site: Path) -> None:
    for name, examples in (("persona", EXAMPLES), ("task", TASK_EXAMPLES)):
        schema = json.loads((site / f"{name}.schema.json").read_text())
        for path in examples:
            assert path.read_text("utf-8").splitlines()[0] == f"#:schema {schema['$id']}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_personas_are_good_and_their_output_is_of_them(path: Path) -> None:
    cells = read_personas(path).cells()
    cells += controls_to_add(cells)
    output = path.with_name(path.name.replace(".pbias.toml", ".txt")).read_text("utf-8")
    assert f"{len(cells)} cells decided" in output


def test_toml_in_the_docs_is_a_persona_or_a_task_file(tmp_path: Path) -> None:
    known = known_tasks(TASKS, map(read_task, TASK_EXAMPLES))
    for page in DOCS.glob("*.md"):
        for number, block in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(), re.S)):
            if "identities" in block:
                tomllib.loads(block)
                path = tmp_path / f"persona_{page.stem}{number}.pbias.toml"
                path.write_text(block, encoding="utf-8")
                assert read_personas(path, known=known).cells()
            elif "grader" in block:
                path = tmp_path / f"task_{page.stem}{number}.pbias.toml"
                path.write_text(block, encoding="utf-8")
                assert read_task(path).columns


def test_the_output_in_the_docs_is_what_comes_out(pytester: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    shutil.copy(DOCS / "examples" / "persona_german.pbias.toml", pytester.path)
    result = pytester.runpytest_subprocess("--pbias-model=embedded", "--pbias-limit=200")
    for line in (DOCS / "examples" / "persona_german.txt").read_text("utf-8").splitlines():
        # What the message of an unsettled gate advises is the statistics' business.
        if re.match(r"  (baseline|worst|best|PB) ", line):
            assert line in result.outlines
