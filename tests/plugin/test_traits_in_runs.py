"""Whole sessions: traits of a suite's own, gates on traits, and ``cell.traits``."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer"], identities=["a man", "a woman"])
def test_it(cell):
    found = cell.traits
    assert found["words"].mean > 0
    assert found["words"].difference == found["words"].mean - found["words"].baseline
    assert found["shouts"].unit == "share"
    assert 0 <= found["shouts"].mean <= 100
"""
OWN = """
from pytest_pbias.grading.traits import Trait

def pytest_pbias_traits(config):
    return [Trait("shouts", "has an exclamation mark", lambda answer: "!" in answer.text)]
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_traits_of_a_suite_are_measured_and_gated(pytester: pytest.Pytester, workers: str) -> None:
    pytester.makeconftest(OWN)
    pytester.makepyfile(SUITE)
    done = pytester.runpytest_subprocess(
        *("--pbias-model=embedded", "--pbias-limit=12", "--pbias-json=out.json", "-v"),
        *("--pbias-trait-margin=shouts=99 words=5000", "--pbias-html=out.html", "-n", workers),
    )
    assert done.ret == 0
    done.stdout.fnmatch_lines_random(
        ["*gate?trait-shouts? PASSED*", "*gate?trait-words? PASSED*"]
        if workers == "0"
        else ["*PASSED*gate?trait-shouts?*", "*PASSED*gate?trait-words?*"]
    )
    report = json.loads((pytester.path / "out.json").read_text())
    traits = report["statistics"]["traits"]
    assert "shouts" in [one["name"] for one in traits["measured"]]
    assert [one["verdict"] for one in traits["verdicts"]] == ["pass", "pass"]
    assert report["statistics"]["policy"]["trait_margin"] == {"shouts": 99, "words": 5000}
    page = (pytester.path / "out.html").read_text()
    assert "Traits by identity" in page
    assert "shouts (points)" in page


@pytest.mark.parametrize(
    ("own", "option", "says"),
    [
        (OWN, "colour=5", "no trait is called 'colour'"),
        ("def pytest_pbias_traits(config):\n    raise ValueError('x')", "words=5", "broke: Value"),
        ("def pytest_pbias_traits(config):\n    return ['words']", "words=5", "is no Trait"),
        (OWN, "words=0", "not a number above 0"),
    ],
)
def test_mistakes_are_one_line(pytester: pytest.Pytester, own: str, option: str, says: str) -> None:
    pytester.makeconftest(own)
    pytester.makepyfile(SUITE)
    done = pytester.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=2", f"--pbias-trait-margin={option}"
    )
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    said = done.stdout.str() + done.stderr.str()
    assert says in said
    assert "Traceback" not in said
