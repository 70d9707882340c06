"""Whole sessions at endpoints that do not take every field, or think before they answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from tests.fakes.modes import DATA
from tests.fakes.running import FakeServer

Fakes = Callable[..., FakeServer]

MMLU = """
import pytest

@pytest.mark.pbias(tasks=["mmlu"], identities=["a man", "a woman"])
def test_small(cell):
    cell.check()
"""


def _run(
    project: pytest.Pytester, server: FakeServer, *more: str, suite: str = MMLU
) -> tuple[pytest.RunResult, str]:
    project.makepyfile(test_suite=suite)
    result = project.runpytest_subprocess(
        *("-p", "no:cacheprovider", "--pbias-model=m", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={DATA}", "--pbias-table=t.parquet", "--pbias-limit=8"),
        *("--pbias-json=r.json", "--pbias-reference=baseline", *more),
    )
    return result, " ".join(result.stdout.str().split())


def _table(project: pytest.Pytester) -> OutcomeTable:
    return OutcomeTable.read(project.path / "t.parquet")


def _column(project: pytest.Pytester, name: str) -> set[Any]:
    return set(_table(project).arrow.column(name).to_pylist())


def _all_right(project: pytest.Pytester, result: pytest.RunResult) -> None:
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert _column(project, "score") == {1.0}
    assert len(_table(project)) == 24


def _notes(project: pytest.Pytester) -> str:
    report = json.loads((project.path / "r.json").read_text("utf-8"))
    return " ".join(report["run"]["notes"])


@pytest.mark.parametrize("mode", ["reasoning_parser", "reasoning_parser_empty", "think_inline"])
def test_a_model_that_thinks_is_seen_and_given_room(
    pytester: pytest.Pytester, fake_server: Fakes, mode: str
) -> None:
    server = fake_server(mode)
    result, _ = _run(pytester, server)
    _all_right(pytester, result)
    assert server.requests() == 25
    assert _column(pytester, "max_tokens") == {4096}
    kept = {"Okay, so I think."} if mode != "think_inline" else {None}
    assert _column(pytester, "reasoning") == kept


def test_the_limit_that_was_asked_for_is_kept(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("reasoning_parser")
    result, _ = _run(pytester, server, "--pbias-max-tokens=100")
    _all_right(pytester, result)
    assert {body["max_tokens"] for body in server.asked()} == {100}


def test_a_small_limit_that_thoughts_take_up_is_no_verdict_and_names_its_option(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("reasoning_parser")
    result, said = _run(pytester, server, "--pbias-max-tokens=40")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "passed" not in said
    assert "--pbias-max-tokens: 8 of 8 responses to mmlu under 'a man' were cut off" in said
    assert server.requests() == 25  # asking again would not help
    assert _column(pytester, "label") == {"cut off"}
    assert _column(pytester, "reasoning") == {"Okay, so"}
    again, _ = _run(pytester, server, "--pbias-max-tokens=40")
    assert again.ret == pytest.ExitCode.TESTS_FAILED
    assert server.requests() == 25


@pytest.mark.parametrize("mode", [pytest.param("empty_all", marks=pytest.mark.slow), "null_stop"])
def test_thoughts_without_an_answer_are_no_verdict(
    pytester: pytest.Pytester, fake_server: Fakes, mode: str
) -> None:
    suite = MMLU.replace("mmlu", "do_not_answer")
    result, said = _run(pytester, fake_server(mode), f"--pbias-data-dir={data_dir()}", suite=suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert " 3 errors in " in said
    assert "passed" not in said
    assert _column(pytester, "label") == {"cut off"}
    command = (sys.executable, "-m", "pytest_pbias.cli", "report", "t.parquet", "--json", "r.json")
    assert "cut off within" in " ".join(pytester.run(*command).stdout.str().split())
    (task,) = json.loads((pytester.path / "r.json").read_text())["statistics"]["tasks"]
    assert {cell["cut_off"] for cell in task["cells"]} == {1.0}


def test_a_refusal_because_nothing_was_left_to_answer_is_a_cut_off_answer(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("openai_reasoning")
    result, said = _run(pytester, server, "--pbias-max-tokens=10")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "--pbias-max-tokens: 8 of 8 responses to mmlu under 'a man' were cut off" in said
    assert _column(pytester, "label") == {"cut off"}


@pytest.mark.parametrize("placement", ["auto", "system"])
def test_newer_models_know_the_limit_by_its_new_name(
    pytester: pytest.Pytester, fake_server: Fakes, placement: str
) -> None:
    server = fake_server("openai_reasoning")
    result, _ = _run(pytester, server, f"--pbias-placement={placement}")
    _all_right(pytester, result)
    bodies = server.asked()
    assert sum("max_tokens" in body for body in bodies) == 1  # found out once


def test_the_papers_protocol_at_an_api_that_refuses_top_k(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    """Left out once it was refused, and said; no stop at a newline, as the paper's script has."""
    server = fake_server("no_top_k")
    result, said = _run(pytester, server, "--pbias-protocol=paper")
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert _column(pytester, "score") == {1.0}
    assert len(_table(pytester)) == 3 * 24  # three repeats
    bodies = server.asked()
    assert sum("top_k" in body for body in bodies) == 1  # found out once
    assert all("stop" not in body for body in bodies)
    kept = {(body["max_tokens"], body["temperature"]) for body in bodies}
    assert kept == {(300, 1.0)}
    assert "top_k" in _notes(pytester)
    assert "top_k" in said
    assert _column(pytester, "top_k") == {None}
    assert (
        json.loads((pytester.path / "r.json").read_text("utf-8"))["run"]["sampling"]["top_k"]
        is None
    )


def test_the_options_reach_the_first_question(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("openai_temp")
    result, _ = _run(pytester, server, "--pbias-temperature=1")
    _all_right(pytester, result)
    assert {body["temperature"] for body in server.asked()} == {1.0}
    assert _column(pytester, "temperature") == {1.0}
    assert _notes(pytester) == ""


@pytest.mark.parametrize("mode", ["openai_temp", "no_temperature"])
@pytest.mark.parametrize("options", [(), ("--pbias-placement=system",)])
def test_a_temperature_that_is_not_taken_is_left_out_recorded_and_said(
    pytester: pytest.Pytester, fake_server: Fakes, mode: str, options: tuple[str, ...]
) -> None:
    server = fake_server(mode)
    result, said = _run(pytester, server, *options)
    _all_right(pytester, result)
    assert sum("temperature" in body for body in server.asked()) <= 2
    assert _column(pytester, "temperature") == {None}
    assert "warning: the endpoint takes no temperature" in said
    assert "greedy" in _notes(pytester)


def test_what_was_found_out_holds_for_runs_that_resume(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("no_temperature")
    _run(pytester, server, "--pbias-temperature=1")
    before = server.requests()
    result, said = _run(pytester, server, "--pbias-temperature=1")
    assert server.requests() == before
    assert "takes no temperature" in said
    _run(pytester, server, "--pbias-temperature=1", "--pbias-limit=12")
    new = server.asked()[before:]
    assert new
    assert not any("temperature" in body for body in new)
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


@pytest.mark.parametrize("mode", ["max_completion_tokens", "openai_temp"])
def test_a_batch_is_submitted_as_the_endpoint_takes_it(
    pytester: pytest.Pytester, fake_server: Fakes, mode: str
) -> None:
    server = fake_server(mode)
    result, _ = _run(pytester, server, "--pbias-batch", "--pbias-batch-poll=0.1")
    _all_right(pytester, result)


@pytest.mark.parametrize("mode", ["system_400", "system_422", "system_500"])
def test_a_system_message_that_is_not_taken_is_joined_with_the_question(
    pytester: pytest.Pytester, fake_server: Fakes, mode: str
) -> None:
    server = fake_server(mode, retry_after="0.01")
    result, said = _run(pytester, server, "--pbias-placement=system")
    _all_right(pytester, result)
    taken = [body["messages"] for body in server.asked() if len(body["messages"]) == 1]
    joined = [one[0]["content"] for one in taken if "I am a man" in one[0]["content"]]
    assert len(joined) == 8
    assert joined[0].startswith("You are a helpful assistant. I am a man.\n\n")
    assert "takes no system message" in said


def test_workers_have_the_same_table(pytester: pytest.Pytester, fake_server: Fakes) -> None:
    server = fake_server("reasoning_parser")
    result, _ = _run(pytester, server, "-n", "2")
    _all_right(pytester, result)
    assert _column(pytester, "max_tokens") == {4096}
    assert Path(pytester.path / "t.parquet").exists()


def test_further_fields_are_sent_recorded_and_part_of_the_key(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("plain")
    shared = ("--pbias-placement=user", "--pbias-reasoning-effort=low")
    result, _ = _run(pytester, server, *shared, '--pbias-extra-body={"min_p": 0.1, "a": [1]}')
    _all_right(pytester, result)
    assert server.requests() == 24
    assert {body["reasoning_effort"] for body in server.asked()} == {"low"}
    assert {body["min_p"] for body in server.asked()} == {0.1}
    assert _column(pytester, "reasoning_effort") == {"low"}
    assert _column(pytester, "extra_body") == {'{"a":[1],"min_p":0.1}'}
    report = json.loads((pytester.path / "r.json").read_text("utf-8"))
    assert report["run"]["sampling"]["reasoning_effort"] == "low"
    _run(pytester, server, *shared, '--pbias-extra-body={"a":[1],"min_p":0.1}')
    assert server.requests() == 24
    _run(pytester, server, *shared, '--pbias-extra-body={"a":[2],"min_p":0.1}')
    assert server.requests() == 48


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
        ('{"a": NaN}', "not a JSON object"),
        ("[" * 9000, "not a JSON object"),
        ('{"temperature": 1}', "'temperature' is set by the run"),
        ('{"max_completion_tokens": 1}', "'max_completion_tokens' is set by the run"),
        ('{"messages": []}', "'messages' is set by the run"),
        ('{"stream": true}', "'stream' is set by the run"),
    ],
)
def test_further_fields_are_checked(pytester: pytest.Pytester, given: str, why: str) -> None:
    pytester.makepyfile(test_suite=MMLU)
    result = pytester.runpytest_subprocess(
        *("-p", "no:cacheprovider", "--pbias-model=m", "--pbias-base-url=http://127.0.0.1:1/v1"),
        f"--pbias-extra-body={given}",
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = " ".join((result.stderr.str() + result.stdout.str()).split())
    assert "--pbias-extra-body" in said
    assert why in said
    assert "Traceback" not in said


def test_a_judge_that_thinks_is_given_more_tokens_or_says_so(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("judge_reasoning")
    judge = ("--pbias-judge=llm", "--pbias-judge-model=j", f"--pbias-judge-base-url={server.url}")
    options = (f"--pbias-data-dir={data_dir()}", *judge)
    suite = MMLU.replace("mmlu", "do_not_answer")
    result, said = _run(pytester, server, *options, suite=suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "was all thought: allow the judge more tokens" in said
    result, said = _run(pytester, server, *options, "--pbias-judge-max-tokens=2000", suite=suite)
    assert _column(pytester, "label") == {"harmful"}
    assert {body["max_tokens"] for body in server.asked()} == {512, 2000}


@pytest.mark.parametrize("mode", ["system_400", "no_temperature", "max_completion_tokens"])
def test_judges_negotiate_as_well(pytester: pytest.Pytester, fake_server: Fakes, mode: str) -> None:
    """The judge answers what is no verdict; that it is asked at all is what this is about."""
    server, judge = fake_server("plain"), fake_server(mode)
    options = ("--pbias-judge=llm", "--pbias-judge-model=j", f"--pbias-judge-base-url={judge.url}")
    suite = MMLU.replace("mmlu", "do_not_answer")
    _, said = _run(pytester, server, f"--pbias-data-dir={data_dir()}", *options, suite=suite)
    assert "no verdict of the judge llm:strongreject can be read" in said
    assert _column(pytester, "label") == {"unparsable"}
