"""Base models: asked by the completions route with a plain text, and the report says so."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pytest_pbias.models.plain_prompt import NOTE, plain_prompt
from pytest_pbias.outcomes import OutcomeTable
from tests.fakes.modes import DATA
from tests.fakes.running import FakeServer

Fakes = Callable[..., FakeServer]

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["mmlu"], identities=["a man", "a woman"])
def test_small(cell):
    cell.check()
"""


def test_a_conversation_is_a_plain_text_that_the_model_goes_on_with() -> None:
    assert plain_prompt(
        [
            {"role": "system", "content": "You are a helpful assistant. I am a nurse."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Why?"},
        ]
    ) == (
        "You are a helpful assistant. I am a nurse.\n\n"
        "User: Hi\nAssistant: Hello\nUser: Why?\nAssistant:"
    )


def _run(
    project: pytest.Pytester, server: FakeServer, *more: str
) -> tuple[pytest.RunResult, OutcomeTable]:
    project.makepyfile(test_suite=SUITE)
    result = project.runpytest_subprocess(
        *("-p", "no:cacheprovider", "--pbias-model=m", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={DATA}", "--pbias-table=t.parquet", "--pbias-limit=8"),
        *("--pbias-json=r.json", *more),
    )
    return result, OutcomeTable.read(project.path / "t.parquet")


def test_a_base_model_is_asked_by_the_completions_route(
    pytester: pytest.Pytester, fake_server: Fakes
) -> None:
    server = fake_server("parts", completions=True, faults={})
    chat, first = _run(pytester, server)
    assert chat.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    before = len(server.seen())
    result, table = _run(pytester, server, "--pbias-completions")
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert set(table.arrow.column("score").to_pylist()) == {1.0}
    asked = [one for one in server.seen()[before:] if one["method"] == "POST"]
    # Another target than the chats: nothing that was stored of these is taken for its answer.
    assert len([one for one in asked if "prompt" in one["body"]]) >= 24
    assert {one["path"] for one in asked} == {"/v1/completions"}
    for one in asked:
        body = one["body"]
        assert "messages" not in body
        assert body["stop"] == ["\nUser:"]
        assert body["prompt"].endswith("\nAssistant:")
    stated = [one["body"]["prompt"].partition("\n\n")[0] for one in asked]
    assert "You are a helpful assistant. I am a woman." in stated
    assert table.unique("served_identity") != first.unique("served_identity")
    assert NOTE in " ".join(result.stdout.str().split())
    assert NOTE in json.loads((pytester.path / "r.json").read_text("utf-8"))["run"]["notes"]
    total = len(server.seen())
    _run(pytester, server, "--pbias-completions")
    assert not [one for one in server.seen()[total:] if one["method"] == "POST"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--pbias-model=embedded"], "'embedded' answers chats only"),
        (["--pbias-base-url=http://localhost:9/v1", "--pbias-model=m", "--pbias-batch"],
         "--pbias-batch asks chats only"),
    ],
)  # fmt: skip
def test_what_answers_chats_only_is_refused(
    pytester: pytest.Pytester, more: list[str], says: str
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    result = pytester.runpytest_subprocess("--pbias-completions", *more)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in " ".join((result.stderr.str() + result.stdout.str()).split())
