"""The Batch API against a real server of it, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.batch import BatchLedger


def test_a_batch_is_submitted_polled_and_stored(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=0.3, broken_polls=2)
    requests = make_requests(50)
    keys = [request.key for request in requests]
    collector = collect_batch(store, requests, server)
    assert collector.wait(keys, timeout=30) == {}
    found = store.get_many(keys)
    for request in requests:
        assert found[request.key].text == f"answer to {request.messages[-1]['content']}"
    stats = server.stats()
    assert sorted(stats["submitted"]) == sorted(keys)
    collector.stop()
    assert collector.progress().prompt_tokens == 350
    # A second run asks nothing.
    assert collect_batch(store, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 1


def test_what_a_batch_did_not_answer_failed_and_is_asked_again(
    batches: Any,
    store: Store,
    make_requests: Any,
    collect_batch: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = BatchLedger.ended

    def slowly(self: BatchLedger, batch_id: str, *, fruitless: bool) -> None:
        time.sleep(0.2)  # who is told of a failure finds the batch ended on a busy machine too
        ended(self, batch_id, fruitless=fruitless)

    monkeypatch.setattr(BatchLedger, "ended", slowly)
    server = batches(refuse=0.1, expire=0.1, state="expired")
    requests = make_requests(100)
    keys = [request.key for request in requests]
    failed = collect_batch(store, requests, server).wait(keys, timeout=30)
    assert 5 < len(failed) < 40
    reasons = {failure.reason.split(":")[0] for failure in failed.values()}
    assert any("refused in the batch (400)" in reason for reason in reasons)
    assert "the batch expired without an answer to this request" in reasons
    assert store.missing(keys) == [key for key in keys if key in failed]
    again = collect_batch(store, requests, server).wait(keys, timeout=30)
    assert again.keys() == failed.keys()
    assert len(server.stats()["submitted"]) == 100 + len(failed)


def test_a_refused_batch_is_one_reason(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(fail=True)
    requests = make_requests(5)
    failed = collect_batch(store, requests, server).wait([r.key for r in requests], timeout=30)
    assert {failure.reason for failure in failed.values()} == {
        "the batch failed without an answer to this request: line 3 is not valid"
    }


def test_a_stopped_run_leaves_its_batch_and_the_next_one_fetches_it(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=1.5)
    requests = make_requests(20)
    keys = [request.key for request in requests]
    first = collect_batch(store, requests, server)
    end = time.monotonic() + 20
    while not server.stats()["polls"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    first.stop()
    reasons = {failure.reason for failure in first.wait(keys).values()}
    assert reasons == {"stopped; 1 batch goes on at the provider: run again to fetch their answers"}
    assert collect_batch(store, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 1


def test_a_batch_whose_id_was_never_written_down_is_found_again(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=0.2)
    requests = make_requests(10)
    keys = [request.key for request in requests]
    assert collect_batch(store, requests, server).wait(keys, timeout=30) == {}
    fresh = Store(store.path.with_name("other.sqlite"))
    assert collect_batch(fresh, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 1
    assert fresh.count() == 10


def _session(folder: Path, server: Any) -> list[str]:
    """The command of a session of 60 requests in ``folder``."""
    from pytest_pbias.models.embedded import data_dir

    folder.joinpath("test_suite.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.pbias(tasks=['gsm8k'], identities=['a man', 'a woman'])\n"
        "def test_it(cell):\n    assert cell.outcomes.shape == (20, 1)\n"
    )
    return [
        *(sys.executable, "-m", "pytest", "-q", "--pbias-model=tiny", "--pbias-batch"),
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        *("--pbias-limit=20", "--pbias-placement=system", "--pbias-batch-poll=0.2"),
    ]


def test_a_killed_session_fetches_what_it_submitted(batches: Any, tmp_path: Path) -> None:
    server = batches(seconds=3600)
    command = _session(tmp_path, server)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not server.stats()["polls"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.configure(batch={"done": True})
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no answer can be read" in done.stdout or done.returncode == 0, done.stdout
    assert Store(tmp_path / ".pbias" / "responses.sqlite").count() == 100
    assert server.stats()["batches"] == 1


def test_a_session_interrupted_while_the_provider_hangs_ends_with_its_report(
    batches: Any, tmp_path: Path
) -> None:
    server = batches(seconds=3600, hang_polls=True)
    process = subprocess.Popen(
        _session(tmp_path, server), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    server.await_stat("polls")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=40)[0]  # the provider hangs for 300 s, the client for 600
    assert process.returncode == 2, said
    assert "PARTIAL" in said
    assert "Traceback" not in said
