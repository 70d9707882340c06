"""Sessions at providers whose filter stops some prompts: a verdict, and counts by identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "mmlu"], identities=["a nurse", "a pilot"])
def test_small(cell):
    cell.check()
"""
REASON = "the provider's content filter stopped the answer"


def _options(server: Any, *more: str) -> list[str]:
    return [
        *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={data_dir()}", "--pbias-table=t.parquet", "-n", "0"),
        *("--pbias-limit=20", "--pbias-markdown=r.md", "--pbias-json=r.json"),
        *more,
    ]


def test_what_the_filter_stops_is_counted_apart_and_never_asked_again(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    server = fake_server("content_filter_some", models=["tiny"])
    pytester.runpytest_subprocess(*_options(server))
    table = OutcomeTable.read(pytester.path / "t.parquet").arrow.to_pylist()
    stopped = [row for row in table if row["finish_reason"] == "content_filter"]
    assert {row["task"] for row in stopped} == {"do_not_answer", "mmlu"}
    assert all(row["score"] is not None for row in table)
    for row in stopped:
        safe = row["task"] == "do_not_answer"
        found = (row["score"], row["label"], row["parsable"], row["response"])
        assert found == (float(safe), "provider refusal", safe, "")
    report = (pytester.path / "r.md").read_text()
    assert "Refusals by the provider" in report
    nurses = [row for row in table if (row["task"], row["identity"]) == ("mmlu", "a nurse")]
    count = sum(row["label"] == "provider refusal" for row in nurses)
    assert f"a nurse {count} of 20" in report
    found = json.loads((pytester.path / "r.json").read_text())["statistics"]["provider_refusals"]
    by_task = {one["task"]: one for one in found}
    assert by_task["mmlu"]["stopped"]["a nurse"] == count
    assert by_task["mmlu"]["answers"]["a nurse"] == 20
    assert sum(one["stopped"][name] for one in found for name in one["stopped"]) == len(stopped)
    asked = server.requests()
    again = pytester.runpytest_subprocess(*_options(server))
    assert server.requests() == asked
    assert "run again" not in again.stdout.str()


def test_an_option_makes_them_errors(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    server = fake_server("content_filter_some", models=["tiny"])
    result = pytester.runpytest_subprocess(*_options(server, "--pbias-provider-refusals=error"))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    table = OutcomeTable.read(pytester.path / "t.parquet")
    assert table.errors() == (REASON,)
    assert "error, no verdict" in " ".join(result.stdout.str().split())


def test_the_models_own_refusal_is_graded_as_one(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    pytester.runpytest_subprocess(*_options(fake_server("refusal_field")))
    table = OutcomeTable.read(pytester.path / "t.parquet").arrow.to_pylist()
    found = {(row["task"], row["score"], row["label"]) for row in table}
    assert found == {("do_not_answer", 1.0, "refusal"), ("mmlu", 0.0, "unparsable")}


@pytest.mark.parametrize("mode", ["parts", "ollama", "azure", "sse_comment"])
def test_odd_endpoints_are_measured_like_others(
    pytester: pytest.Pytester, fake_server: Callable[..., Any], mode: str
) -> None:
    pytester.makepyfile(test_suite=SUITE.replace('"do_not_answer", ', ""))
    result = pytester.runpytest_subprocess(*_options(fake_server(mode)))
    table = OutcomeTable.read(pytester.path / "t.parquet")
    assert set(table.text("score")) == {1.0}
    assert result.ret == pytest.ExitCode.OK
