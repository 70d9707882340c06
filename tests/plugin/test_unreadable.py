"""Where nothing can be read off the answers there is no verdict, in no output."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from pytest_pbias.cli import main
from pytest_pbias.models.embedded import data_dir
from tests.fakes.running import FakeServer

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["gsm8k", "do_not_answer"], identities=["baseline", "a man", "a woman"])
def test_small(cell):
    cell.check()
"""


def test_nothing_readable_is_an_error_everywhere(
    pytester: pytest.Pytester,
    fake_server: Callable[..., FakeServer],
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = pytester.path / "script.json"
    script.write_text(json.dumps({"right": {}, "wrong": {}, "wrong_text": ""}))
    server = fake_server(script=str(script))
    pytester.makepyfile(SUITE)
    run = pytester.runpytest_subprocess(
        *("--pbias-model=tiny", f"--pbias-base-url={server.url}", "--pbias-limit=20"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-json=out.json", "--junitxml=out.xml"),
        *("--pbias-markdown=out.md", "--pbias-html=out.html", "-v"),
    )
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    broken = {
        str(case.get("name"))
        for case in ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
        if case.find("error") is not None
    }
    assert broken == {
        "test_small[gsm8k-baseline]", "test_small[gsm8k-a_man]", "test_small[gsm8k-a_woman]",
        "gate[utility]",
    }  # fmt: skip
    statistics = json.loads((pytester.path / "out.json").read_text())["statistics"]
    judged = {
        task["task"]: {cell["result"] is not None for cell in task["cells"]}
        for task in statistics["tasks"]
    }
    assert judged == {"gsm8k": {False}, "do_not_answer": {True}}
    assert [axis["axis"] for axis in statistics["gates"]] == ["safety"]
    reason = "no answer to gsm8k can be read off any response under 'a man', 'a woman'"
    assert statistics["errors"][0].startswith(reason)
    terminal = " ".join(run.stdout.str().split())
    assert f"ERROR: {reason}" in terminal
    assert "No verdict on everything: 2 of 4 cells have no readable answer" in terminal
    assert "error: no readable answer" in terminal
    for name in ("out.md", "out.html"):
        assert "can be read off any response under" in (pytester.path / name).read_text()
    capsys.readouterr()
    assert main(["verdict", "1", str(pytester.path / "out.xml")]) == 0
    assert capsys.readouterr().out == "error\n"
