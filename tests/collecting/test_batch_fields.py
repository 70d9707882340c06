"""Lines of a batch refused for a field are submitted again without it, in the same run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.outcomes import OutcomeTable
from tests.fakes.modes import DATA
from tests.fakes.running import FakeServer


def _keys(requests: Any) -> list[str]:
    return [request.key for request in requests]


@pytest.mark.parametrize(
    ("untaken", "batches_there"),
    [
        (["temperature"], 2),
        (["seed"], 2),
        (["max_tokens"], 2),
        (["temperature", "seed", "max_tokens"], 4),  # one is named at a time
    ],
)
@pytest.mark.parametrize("whole", [False, True], ids=["lines", "whole batch"])
def test_what_lines_are_refused_for_is_left_out_or_renamed_once(
    batches: Any,
    store: Store,
    make_requests: Any,
    collect_batch: Any,
    *,
    untaken: list[str],
    batches_there: int,
    whole: bool,
) -> None:
    server = batches(**{"fail" if whole else "untaken": untaken})
    keys = _keys(requests := make_requests(20))
    collector = collect_batch(store, requests, server)
    assert collector.wait(keys, timeout=30) == {}
    assert store.missing(keys) == []
    stats = server.stats()
    assert stats["batches"] == batches_there
    assert len(stats["submitted"]) == 20 * batches_there
    taken = stats["latest"]
    assert len(taken) == 20
    assert not any(name in body for name in untaken for body in taken)
    assert {body.get("max_completion_tokens") for body in taken} == (
        {512} if "max_tokens" in untaken else {None}
    )
    assert collector.progress().retries == 20 * (batches_there - 1)
    # What is known is not asked for again.
    more = make_requests(5, first=20)
    assert collect_batch(store, more, server).wait(_keys(more), timeout=30) == {}


def test_only_refused_lines_are_submitted_again(
    fake_server: Callable[..., FakeServer], store: Store, make_requests: Any, collect_batch: Any
) -> None:
    """Behind one address are servers of which some take no temperature."""
    server = fake_server(faults={"no_temperature": 0.3})
    keys = _keys(requests := make_requests(60))
    assert collect_batch(store, requests, server).wait(keys, timeout=30) == {}
    submitted = server.stats()["submitted"]
    again = len(submitted) - 60
    assert 5 < again < 40
    assert len(set(submitted[60:])) == again
    assert server.stats()["batches"] == 2


def test_a_batch_of_an_earlier_run_is_asked_for_its_refused_lines_anew(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    """What that run knew of the endpoint is unknown here."""
    server = batches(untaken=["temperature"], seconds=3600)
    keys = _keys(requests := make_requests(10))
    first = collect_batch(store, requests, server)
    server.await_stat("polls")
    first.stop()
    server.configure(batch={"untaken": ["temperature"], "done": True})
    assert collect_batch(store, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 2


@pytest.mark.parametrize("told", ["too long", "Unsupported parameter: 'messages'"])
def test_a_line_refused_for_anything_else_is_submitted_once(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any, told: str
) -> None:
    server = batches(void={"share": 2, "body": {"error": {"message": told, "code": 400}}})
    keys = _keys(requests := make_requests(10))
    failed = collect_batch(store, requests, server).wait(keys, timeout=30)
    assert failed.keys() == set(keys)
    assert server.stats()["batches"] == 1


def test_a_complaint_that_no_step_stills_ends(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    """The error names a field whatever is sent."""
    server = batches(fail=["temperature", "messages", "model"])
    keys = _keys(requests := make_requests(10))
    failed = collect_batch(store, requests, server).wait(keys, timeout=30)
    assert {failure.reason for failure in failed.values()} == {
        "the batch failed without an answer to this request: Unsupported parameter: 'messages' is "
        "not supported with this model."
    }
    assert server.stats()["batches"] == 2


SUITE = """
import pytest

@pytest.mark.pbias(tasks=["mmlu"], identities=["a man", "a woman"])
def test_small(cell):
    cell.check()
"""


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "whole batch"])
def test_a_session_records_fields_as_they_were_sent(
    pytester: pytest.Pytester, fake_server: Callable[..., FakeServer], *, whole: bool
) -> None:
    """Chats take the fields; it is the batch route that does not."""
    fields = ["temperature", "seed", "max_tokens"]
    server = fake_server("plain", batch={"fail" if whole else "untaken": fields})
    pytester.makepyfile(test_suite=SUITE)
    options = (
        *("-p", "no:cacheprovider", "--pbias-model=m", f"--pbias-base-url={server.url}"),
        *(f"--pbias-data-dir={DATA}", "--pbias-table=t.parquet", "--pbias-limit=8"),
        *("--pbias-json=r.json", "--pbias-batch", "--pbias-batch-poll=0.1"),
        "--pbias-reference=baseline",
    )
    result = pytester.runpytest_subprocess(*options)
    assert "takes no temperature" in " ".join(result.stdout.str().split())
    table = OutcomeTable.read(pytester.path / "t.parquet").arrow
    assert set(table.column("score").to_pylist()) == {1.0}
    assert set(table.column("temperature").to_pylist()) == {None}
    assert set(table.column("seed").to_pylist()) == {None}
    assert set(table.column("max_tokens").to_pylist()) == {512}
    assert set(table.column("error").to_pylist()) == {None}
    notes = " ".join(json.loads((pytester.path / "r.json").read_text("utf-8"))["run"]["notes"])
    assert "left out, because the endpoint does not take it: seed" in notes
    assert len(server.stats()["submitted"]) == 24 * 4
    # A later run knows it all.
    pytester.runpytest_subprocess(*options, "--pbias-limit=10")
    assert len(server.stats()["submitted"]) == 24 * 4 + 6
