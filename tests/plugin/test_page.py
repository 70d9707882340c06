"""The HTML report of real runs in a real browser: read, operated, checked for accessibility."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_pbias.cli import main
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.text import signed, unsigned
from pytest_pbias.stats import contributions
from pytest_pbias.tasks import TASKS, load_task
from tests.fakes.running import FakeServers

pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

DOCS = Path(__file__).parents[2] / "docs" / "reading-a-report.md"
REFUSED = "I am sorry, but I cannot help with that."
WRONG = "Sure! Here is how to do it. Therefore, the answer is -1."
SUITE = """
import pytest

@pytest.mark.pbias(tasks=["gsm8k", "do_not_answer"], identities=[
    "baseline", "a person", "a man", "a nurse", "a pilot", "a senior citizen"])
def test_identity(cell):
    cell.check()
"""
RELEASES = ({"": 0.1}, {"": 0.1, "a nurse": 0.45, "a pilot": 0.2})


class Release:
    """A run that was compared with the release before it: its reports, and its table."""

    def __init__(self, folder: Path) -> None:
        self.page = folder / "report.html"
        self.json: dict[str, Any] = json.loads((folder / "report.json").read_text())
        self.table = OutcomeTable.read(folder / "report.parquet")

    def task(self, name: str) -> dict[str, Any]:
        (found,) = (task for task in self.json["statistics"]["tasks"] if task["task"] == name)
        return dict(found)

    def cells(self, axis: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """Task and cell."""
        return [
            (task["task"], cell)
            for task in self.json["statistics"]["tasks"]
            if axis in (None, task["axis"])
            for cell in task["cells"]
        ]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, fake_servers: FakeServers) -> Release:
    """Two releases of a model with known answers, served over HTTP; the second is worse."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_release.py").write_text(SUITE)
    right = {
        item.prompt: f"Therefore, the answer is {item.reference['answer']:g}."
        for item in load_task(TASKS["gsm8k"], data_dir=data_dir()).items
    }
    right |= dict.fromkeys(
        (item.prompt for item in load_task(TASKS["do_not_answer"], data_dir=data_dir()).items),
        REFUSED,
    )
    servers = []  # given back together: at one address the second would be taken for the first
    for number, wrong in enumerate(RELEASES):
        plan = {"right": right, "wrong": wrong, "wrong_text": WRONG, "own": 0.03}
        (folder / "script.json").write_text(json.dumps(plan))
        script = str(folder / "script.json")
        server = fake_servers.take(folder / f"asked{number}.jsonl", script=script)
        servers.append(server)
        options = [
            f"--pbias-base-url={server.url}",
            f"--pbias-data-dir={data_dir()}",
            *("--pbias-limit=120", "--pbias-reference=baseline", "--pbias-stop=never"),
        ]
        options += ["--pbias-tag=v1"] if number == 0 else [
            "--pbias-compare=v1", "--pbias-html=report.html", "--pbias-json=report.json",
            "--pbias-table=report.parquet",
        ]  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-q", "--pbias-model=tiny", *options]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == number, done.stdout + done.stderr
    for server in servers:
        fake_servers.give_back(server)
    return Release(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"],
        )  # fmt: skip
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, release: Release) -> Iterator[Callable[..., Any]]:
    """Open the report; at the end, it has logged nothing and asked for nothing."""
    pages, said, asked = [], [], []

    def start(**look: Any) -> Any:
        page = browser.new_page(**look)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(release.page.as_uri())
        return page

    yield start
    for page in pages:
        page.close()
    assert said == []
    assert set(asked) == {release.page.as_uri()}


class Reader:
    """Someone who looks for an answer, and how often they clicked."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.clicks = 0

    def section(self, title: str) -> Any:
        """Follow the link to a section."""
        self.clicks += 1
        self.page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        heading = self.page.get_by_role("heading", name=title, exact=True)
        assert heading.evaluate("it => it.getBoundingClientRect().top < innerHeight")
        return self.page.locator("section", has=heading)

    def rows(self, where: Any, caption: str) -> list[dict[str, str]]:
        """The visible rows of a table, by the names of its columns."""
        table = where.locator("table", has_text=caption).first
        assert table.is_visible()
        head = [cell.strip() for cell in table.locator("thead th").all_inner_texts()]
        return [
            dict(zip(head, (text.strip() for text in row.locator("th, td").all_inner_texts()),
                     strict=True))
            for row in table.locator("tbody tr").all()
        ]  # fmt: skip


OPEN = "Cells that do not pass"


def _fit_for_release(reader: Reader, release: Release) -> None:
    says = reader.page.locator(".verdict").inner_text()
    failed = sum(cell["result"]["verdict"] == "fail" for _, cell in release.cells())
    assert says.startswith(f"Biased beyond the margins: {failed} of ")
    gates = {gate["axis"]: gate["verdict"] for gate in release.json["statistics"]["gates"]}
    shown = reader.rows(reader.page, "Gates")
    assert {row["axis"]: row["verdict"] for row in shown} == gates


def _worst(release: Release) -> tuple[str, dict[str, Any]]:
    return min(release.cells("safety"), key=lambda one: one[1]["result"]["difference"]["estimate"])


def _worst_on_safety(reader: Reader, release: Release) -> None:
    first = next(row for row in reader.rows(reader.page, OPEN) if row["axis"] == "safety")
    task, cell = _worst(release)
    assert (first["identity"], first["task"]) == (cell["identity"], task) == ("a nurse", task)


def _beyond_the_margin(reader: Reader, release: Release) -> None:
    first = next(row for row in reader.rows(reader.page, OPEN) if row["axis"] == "safety")
    result = _worst(release)[1]["result"]
    found = result["difference"]
    assert first["verdict"] == result["verdict"] == "fail"
    assert first["difference (interval)"] == signed(
        *(found[n] for n in ("estimate", "low", "high"))
    )
    assert found["high"] <= -float(first["margin"]) == -result["margin"]
    assert "hold for all cells at once" in reader.page.locator("section").first.inner_text()


def _items_to_settle(reader: Reader, release: Release) -> None:
    wanted = {
        (cell["identity"], task): cell["result"]["needed_items"]
        for task, cell in release.cells()
        if cell["result"]["verdict"] == "inconclusive"
    }
    shown = {
        (row["identity"], row["task"]): int(row["items to settle"].replace(",", ""))
        for row in reader.rows(reader.page, OPEN)
        if row["verdict"] == "inconclusive"
    }
    assert shown == wanted
    assert shown


def _what_changed(reader: Reader, release: Release) -> None:
    section = reader.section("Since the earlier run")
    comparison = release.json["comparison"]
    assert comparison["direction"] == "worse"
    assert section.locator(".direction").inner_text() == "Worse than the earlier run."
    first = reader.rows(section, "Cells, the surest change first")[0]
    changes = [(task["task"], cell) for task in comparison["tasks"] for cell in task["cells"]]
    task, cell = min(changes, key=lambda one: (one[1]["qvalue"], one[1]["change"]["estimate"]))
    assert (first["task"], first["identity"]) == (task, cell["identity"]["name"])
    assert first["now"] == f"{cell['new_difference']:+.1f}"


def _more_than_noise(reader: Reader, release: Release) -> None:
    for row, gate in zip(
        reader.rows(reader.page, "Gates"), release.json["statistics"]["gates"], strict=True
    ):
        bias = gate["bias"]
        interval = unsigned(*(bias[name] for name in ("estimate", "low", "high")))
        assert row["PB debiased (interval)"] == interval
        assert row["PB raw"] == f"{bias['raw']:.1f}"
        assert row["noise floor"] == f"{bias['noise_floor']:.1f}"


def _where_it_comes_from(reader: Reader, release: Release) -> None:
    section = reader.section("Where PB comes from")
    identities, scores = release.table.task_outcomes("do_not_answer").of_kind("identity")
    shares = contributions(scores)
    top = int(np.argmax(shares))
    first = reader.rows(section, "do_not_answer: share of PB squared")[0]
    assert first["identity"] == identities[top].name
    assert first["share"] == f"{round(100 * shares[top] / shares.sum())} %"


def _refused_or_unreadable(reader: Reader, release: Release) -> None:
    refused = {row["identity"]: row for row in reader.rows(reader.section("Refusals"), "refuse")}
    section = reader.section("Unreadable answers")
    unread = {row["identity"]: row for row in reader.rows(section, "read off")}
    for cell in release.task("do_not_answer")["cells"]:
        # What the safety score counts is that the model refused.
        assert refused[cell["identity"]]["do_not_answer"] == f"{cell['rate']['estimate']:.1f}"
        assert float(unread[cell["identity"]]["do_not_answer"]) == cell["n_unparsable"] == 0


def _what_it_said(reader: Reader, release: Release) -> None:
    reader.clicks += 1
    reader.page.locator('[data-filter="identity"]').select_option(_worst(release)[1]["identity"])
    sample = reader.page.locator(".sample", has_text="do_not_answer").first
    assert not sample.locator(".pair").is_visible()
    reader.clicks += 1
    sample.locator("summary").click()
    before, after = sample.locator(".pair pre").all_inner_texts()
    assert (before, after) == (REFUSED, WRONG)
    item = re.search(r"do_not_answer, (\S+):", sample.locator("h4").inner_text())
    assert item is not None
    (question,) = (
        one.prompt
        for one in load_task(TASKS["do_not_answer"], data_dir=data_dir()).items
        if one.id == item[1]
    )
    assert sample.locator(".question pre").inner_text() == question


def _what_was_measured(reader: Reader, release: Release) -> None:
    section = reader.section("Provenance")
    facts = {row["what"]: row["value"] for row in reader.rows(section, "Provenance")}
    run = release.json["run"]
    assert facts["model"] == run["model"] == "tiny"
    assert facts["served identity"] == run["served_identity"]
    assert facts["judges"] == ", ".join(run["judges"])
    assert f"max_tokens: {run['sampling']['max_tokens']}" in facts["sampling"]
    assert f"numpy: {np.__version__}" in facts["versions"]
    data = {row["task"]: row["hash of the items"] for row in reader.rows(section, "Data")}
    assert data == release.json["statistics"]["data"]


QUESTIONS: Mapping[str, Callable[[Reader, Release], None]] = {
    "Can this model be released?": _fit_for_release,
    "Which identity is treated worst on safety?": _worst_on_safety,
    "Is that beyond the margin, and how sure is it?": _beyond_the_margin,
    "How many questions would settle what is inconclusive?": _items_to_settle,
    "What changed since the last run?": _what_changed,
    "Is the bias more than noise?": _more_than_noise,
    "Which identities does it come from?": _where_it_comes_from,
    "Who is refused, and whose answers cannot be read?": _refused_or_unreadable,
    "What did the model say?": _what_it_said,
    "What was measured, and with what?": _what_was_measured,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_reader_finds_the_answer_within_two_clicks(
    question: str, open_page: Callable[..., Any], release: Release
) -> None:
    reader = Reader(open_page(viewport={"width": 1280, "height": 900}))
    QUESTIONS[question](reader, release)
    assert reader.clicks <= 2


def test_the_docs_have_these_ten_questions() -> None:
    asked = re.findall(r"^## \d+\. (.*)$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert asked == list(QUESTIONS)
    assert len(asked) == 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(scheme: str, open_page: Callable[..., Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = open_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    text = page.evaluate("getComputedStyle(document.body).color")
    assert text == ("rgb(0, 0, 0)" if scheme == "light" else "rgb(255, 255, 255)")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found] == []


def test_a_comparison_on_a_page_of_its_own(browser: Any, release: Release) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    path = release.page.with_name("comparison.html")
    store = str(release.page.with_name(".pbias"))
    assert main(["compare", "v1", "latest", "--store", store, "--html", str(path)]) == 0
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.goto(path.as_uri())
    assert page.get_by_role("heading", level=1).inner_text().endswith("worse")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [one["id"] for one in axe.Axe().run(page).response["violations"]] == []
    page.close()


def test_the_page_can_be_used_with_the_keyboard(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.textContent") == "Skip to the verdict"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "content"

    page.locator('[data-filter="task"]').focus()
    page.keyboard.press("d")  # do_not_answer
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.dataset.filter") == "identity"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.dataset.filter") == "verdict"
    page.keyboard.press("f")
    titles = page.locator("#samples .sample h4").all_inner_texts()
    assert titles
    assert all("do_not_answer" in title and "(fail)" in title for title in titles)
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.tagName") == "SUMMARY"
    answers = page.locator("#samples .sample .pair").first
    assert not answers.is_visible()
    page.keyboard.press("Enter")
    assert answers.is_visible()


def test_any_two_identities_on_one_question(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    for name, value in (("left", "a man"), ("right", "a nurse")):
        page.locator(f'[data-pick="{name}"]').select_option(value)
    sides = page.locator("#picked .pair strong").all_inner_texts()
    assert [side.split(":")[0] for side in sides] == ["a man", "a nurse"]
    questions = page.locator('[data-pick="question"]')
    differ = 0
    for number in range(questions.locator("option").count()):
        questions.select_option(index=number)
        left, right = page.locator("#picked .pair strong").all_text_contents()
        assert [left.split(": ")[0], right.split(": ")[0]] == ["a man", "a nurse"]
        differ += left.split(": ")[1] != right.split(": ")[1]
        assert page.locator("#picked .question pre").text_content()
    assert differ


def test_plots_are_described_and_their_words_do_not_overlap(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    assert page.locator("figure svg").count() == 3
    for figure in page.locator("figure").all():
        assert figure.locator("svg > title").text_content()
        assert figure.locator("svg > desc").text_content()
        assert figure.locator("figcaption").inner_text()
        boxes = figure.locator("svg text").evaluate_all(
            "all => all.map(one => [one.textContent, one.getBoundingClientRect().toJSON()])"
        )
        for place, (name, one) in enumerate(boxes):
            for other_name, other in boxes[:place]:
                apart = (
                    one["left"] >= other["right"] - 1 or other["left"] >= one["right"] - 1
                    or one["top"] >= other["bottom"] - 1 or other["top"] >= one["bottom"] - 1
                )  # fmt: skip
                assert apart, (name, other_name)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    missing = page.evaluate(
        """[...document.querySelectorAll('use')].map(one => one.getAttribute('xlink:href'))
           .filter(name => !document.getElementById(name.slice(1)))"""
    )
    assert missing == []


def test_on_paper_and_on_a_phone(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tall = page.locator("tbody tr").evaluate_all(
        "rows => Math.max(...rows.map(one => one.getBoundingClientRect().height))"
    )
    assert tall < 200  # no cell is squeezed into a column of words
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation").is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.locator(".verdict").is_visible()
    assert len(page.pdf()) > 20_000
