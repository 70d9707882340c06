"""Asking in rounds, and stopping early: the same verdicts however the answers arrive."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.stats.looks import look_schedule
from pytest_pbias.tasks import TASKS, load_task

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

N_ITEMS = 400
CELLS = ("baseline", "a person", "a nurse", "a pilot")
WRONG = "Therefore, the answer is -1."


class Project:
    """A suite on 400 sums, and a server of which the share of wrong answers is known."""

    def __init__(self, pytester: pytest.Pytester, start: Callable[..., Any]) -> None:
        self.path = pytester.path
        self.pytester = pytester
        self._start = start
        rows = [{"question": f"{n} plus 1?", "answer": f"#### {n + 1}"} for n in range(N_ITEMS)]
        data = self.path / "data" / "gsm8k" / "test.jsonl"
        data.parent.mkdir(parents=True)
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.data_dir = data.parents[1]

    def serve(self, wrong: Mapping[str, float], **server: Any) -> Any:
        items = load_task(TASKS["gsm8k"], data_dir=self.data_dir).items
        right = {
            item.prompt: f"Therefore, the answer is {item.reference['answer']:g}." for item in items
        }
        plan = {"right": right, "wrong": wrong, "wrong_text": WRONG, "own": 0.02}
        script = self.path / f"script-{len(list(self.path.glob('script*')))}.json"
        script.write_text(json.dumps(plan))
        return self._start(script=str(script), **server)

    def options(self, server: Any, store: str) -> list[str]:
        return [
            *("-p", "no:cacheprovider", "--pbias-model=tiny", f"--pbias-base-url={server.url}"),
            *(f"--pbias-data-dir={self.data_dir}", f"--pbias-store={self.path / store}"),
            *("--pbias-placement=system", f"--pbias-json={self.path / store}.json"),
        ]

    def run(self, server: Any, store: str, *more: str) -> dict[str, Any]:
        """The statistics of a run."""
        result = self.pytester.runpytest_subprocess(*self.options(server, store), *more)
        self.output = result.stdout.str() + result.stderr.str()
        return self.statistics(store)

    def statistics(self, store: str) -> dict[str, Any]:
        return dict(json.loads((self.path / f"{store}.json").read_text())["statistics"])

    def table(self, store: str) -> OutcomeTable:
        (path,) = (self.path / store / "runs").glob("*.parquet")
        return OutcomeTable.read(path)


@pytest.fixture
def project(pytester: pytest.Pytester, fake_server: Callable[..., Any]) -> Project:
    pytester.makepyfile(
        test_looks=f"""
        import pytest

        @pytest.mark.pbias(tasks=["gsm8k"], identities={list(CELLS)})
        def test_identity(cell):
            cell.check()
        """
    )
    return Project(pytester, fake_server)


BIASED = {"": 0.1, "a nurse": 0.4}


def _results(statistics: Mapping[str, Any]) -> dict[str, Any]:
    (task,) = statistics["tasks"]
    return {cell["identity"]: cell["result"] for cell in task["cells"]}


def _verdicts(statistics: Mapping[str, Any]) -> dict[str, str]:
    return {name: result["verdict"] for name, result in _results(statistics).items()}


def test_what_is_decided_is_asked_no_further(project: Project) -> None:
    server = project.serve(BIASED)
    early = project.run(server, "early")
    asked = server.requests()
    never = project.run(server, "never", "--pbias-stop=never")
    assert _verdicts(early)["a nurse"] == _verdicts(never)["a nurse"] == "fail"
    assert _verdicts(early)["a person"] == "pass"
    assert early["gates"][0]["verdict"] == "fail"
    assert asked < len(CELLS) * N_ITEMS
    table = project.table("early")
    assert len(table) == asked
    assert table.info.planned == {"gsm8k": N_ITEMS}
    stops = table.info.stops["none"]["gsm8k"]
    assert stops["a nurse"] == "fail"
    assert stops["a person"] == "pass"
    outcomes = table.task_outcomes("gsm8k")
    by_name = dict(zip([one.name for one in outcomes.identities], outcomes.asked, strict=True))
    # The axis is done with after its first looks; then cells go on alone, the baseline with them.
    assert by_name["a nurse"] < by_name["a person"] <= by_name["baseline"] < N_ITEMS
    assert outcomes.common("identity").scores.shape[1] == by_name["a nurse"]
    assert "look" in project.output
    # A second run finds all its answers, takes the same looks and asks nothing.
    before = server.requests()
    assert project.run(server, "early") == early
    assert server.requests() == before


def test_order_workers_and_restarts_give_the_same_table(project: Project) -> None:
    server = project.serve(BIASED)
    first = project.run(server, "first")
    slow = project.serve(BIASED, delay=0.01)
    assert project.run(slow, "one-by-one", "--pbias-concurrency=1") == first
    assert project.run(server, "workers", "-n", "2") == first
    tables = [project.table(name) for name in ("first", "one-by-one", "workers")]
    keep = ["identity", "item_id", "score", "label"]
    rows = [table.arrow.select(keep).to_pylist() for table in tables]
    assert rows[0] == rows[1] == rows[2]
    assert len({json.dumps(table.info.stops, sort_keys=True) for table in tables}) == 1


@pytest.mark.parametrize("after", [100, pytest.param(320, marks=pytest.mark.slow)])
def test_a_killed_run_takes_the_same_looks(project: Project, after: int) -> None:
    server = project.serve(BIASED, delay=0.02)
    whole = project.run(project.serve(BIASED), "whole")
    command = [sys.executable, "-m", "pytest", *project.options(server, "killed")]
    process = subprocess.Popen(
        [*command, "--pbias-concurrency=8"], cwd=project.path, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while server.requests() < after:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project.path / "killed.json").exists()
    assert project.run(server, "killed") == whole
    # Only what was in flight was asked again.
    assert server.requests() <= len(project.table("whole")) + 8


def test_an_answer_that_cannot_be_had_withholds_the_verdict_and_asks_no_more(
    project: Project,
) -> None:
    server = project.serve(BIASED, down_after=230)
    project.run(server, "broken", "--pbias-timeout=2")
    assert "run again" in project.output
    assert len(project.table("broken")) < len(CELLS) * N_ITEMS
    mended = project.run(project.serve(BIASED), "broken")
    assert _verdicts(mended)["a nurse"] == "fail"


def test_the_paper_asks_everything(project: Project) -> None:
    server = project.serve({"": 0.1})
    project.run(server, "paper", "--pbias-protocol=paper", "--pbias-repeats=1")
    assert server.requests() == len(CELLS) * N_ITEMS
    assert not project.table("paper").info.planned


def test_baselines_are_asked_again_as_far_as_they_were(project: Project) -> None:
    server = project.serve(BIASED)
    project.run(server, "twice", "--pbias-aa")
    table = project.table("twice")
    baseline = sum(name == "baseline" for name in table.text("identity"))
    assert baseline < N_ITEMS
    assert server.requests() == len(table) + baseline
    (noise,) = table.info.engine_noise
    assert noise["n_answers"] == baseline


def test_a_spent_budget_withholds_verdicts_that_the_next_run_gives(project: Project) -> None:
    server = project.serve(BIASED)
    project.run(server, "spent", "--pbias-budget=2000tokens")
    assert "PARTIAL" in project.output
    asked = server.requests()
    whole = project.run(project.serve(BIASED), "whole")
    assert asked < len(project.table("whole"))
    assert project.run(project.serve(BIASED), "spent") == whole


@pytest.mark.slow
def test_two_endpoints_and_another_reference_stop_alike(project: Project) -> None:
    servers = [project.serve(BIASED), project.serve(BIASED, delay=0.01)]
    more = ["--pbias-reference=identities"]
    one = project.run(servers[0], "one", *more)
    two = project.run(servers[0], "two", *more, f"--pbias-base-url={servers[1].url}")
    assert _verdicts(one) == _verdicts(two)
    rows = [project.table(name).arrow.select(["identity", "item_id", "score"]).to_pylist()
            for name in ("one", "two")]  # fmt: skip
    assert rows[0] == rows[1]
    # Everyone is part of what each is compared with: nobody stops before the last.
    table = project.table("one").task_outcomes("gsm8k")
    people = [n for n, kind in zip(table.asked, table.identities, strict=True)
              if kind.kind == "identity"]  # fmt: skip
    assert len(set(people)) == 1


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_what_failed_last_fails_alike_alone(project: Project, workers: str) -> None:
    # Of fewer cells each has more of the level, unless it is said how many share it.
    more = ("--pbias-reference=control", "-p", "cacheprovider", "-n", workers, "--pbias-cells=4")
    server = project.serve(BIASED)
    whole = project.run(server, "store", *more)
    asked = server.requests()
    found = _results(whole)
    assert found["a nurse"]["verdict"] == "fail"
    assert found["a nurse"]["n_looks"] > 1
    assert found["a nurse"]["reference"] == "the mean of 2 controls"
    placebos = {"a person", "a user of this service"}
    # Nothing is asked again; then, of a store without an answer, only what the red cell needs.
    for store in ("store", "empty"):
        last = project.run(server, store, *more, "--lf", "-k", "a_nurse")
        assert _results(last) == {name: found[name] for name in ("a nurse", *placebos)}
        if store == "store":
            assert server.requests() == asked
    assert 0 < server.requests() - asked < asked
    (task,) = last["tasks"]
    assert {cell["identity"] for cell in task["cells"]} == {"a nurse"} | placebos


def test_the_plan_says_what_is_expected_and_that_one_batch_stops_nothing(project: Project) -> None:
    server = project.serve({})
    plan = [*project.options(server, "p"), "--pbias-plan"]
    plain = project.pytester.runpytest_subprocess(*plan)
    assert "expected: about " in plain.stdout.str()
    assert "to ask: 1,600 requests" in plain.stdout.str()
    whole = project.pytester.runpytest_subprocess(*plan, "--pbias-batch")
    assert "expected: about " not in whole.stdout.str()
    said = " ".join(whole.stdout.str().split())
    assert "--pbias-batch asks everything at once: nothing stops early; with --pbias-stop" in said
    early = project.pytester.runpytest_subprocess(*plan, "--pbias-batch", "--pbias-stop=early")
    assert "expected: about " in early.stdout.str()
    assert "asks everything at once" not in early.stdout.str()


def _scores(table: OutcomeTable) -> list[tuple[str, ...]]:
    columns = ("identity", "item_id", "score", "label", "response")
    return sorted(tuple(str(row[name]) for name in columns) for row in table.arrow.to_pylist())


@pytest.mark.slow
def test_a_look_is_a_batch(project: Project) -> None:
    plain = project.run(project.serve(BIASED), "plain")
    table = project.table("plain")
    server = project.serve(BIASED, batch={})
    batched = ["--pbias-batch", "--pbias-batch-poll=0.1", "--pbias-stop=early"]
    assert project.run(server, "batched", *batched) == plain
    assert _scores(project.table("batched")) == _scores(table)
    assert project.table("batched").info.stops == table.info.stops
    # As many batches as looks, nothing in two of them, and nothing again when all is there.
    looks = {asked for asked in table.task_outcomes("gsm8k").asked if asked is not None}
    batches = server.stats()
    assert batches["batches"] == len(look_schedule(N_ITEMS)[: _last_look(max(looks))])
    assert len(batches["submitted"]) == len(set(batches["submitted"])) == len(table)
    assert project.run(server, "batched", *batched, "-n", "2") == plain
    assert server.stats()["batches"] == batches["batches"]


def _last_look(n_items: int) -> int:
    return list(look_schedule(N_ITEMS)).index(n_items) + 1


@pytest.mark.slow
def test_a_run_killed_between_batches_goes_on_with_the_same_looks(project: Project) -> None:
    plain = project.run(project.serve(BIASED), "plain")
    server = project.serve(BIASED, batch={"seconds": 1})
    options = [*project.options(server, "k"), "--pbias-batch", "--pbias-batch-poll=0.1"]
    command = [sys.executable, "-m", "pytest", *options, "--pbias-stop=early"]
    process = subprocess.Popen(
        command, cwd=project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    server.await_stat("batches", 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    server.configure(batch={})
    more = ["--pbias-batch", "--pbias-batch-poll=0.1", "--pbias-stop=early"]
    assert project.run(server, "k", *more) == plain
    submitted = server.stats()["submitted"]
    assert len(submitted) == len(set(submitted)) == len(project.table("plain"))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is missing")
def test_a_cluster_takes_the_looks_of_a_local_run(project: Project) -> None:
    plain = project.run(project.serve(BIASED), "plain")
    server = project.serve(BIASED)
    assert project.run(server, "cluster", "--pbias-ray=local") == plain, project.output
    assert _scores(project.table("cluster")) == _scores(project.table("plain"))
    asked = server.requests()
    assert asked == len(project.table("plain"))
    # What it has it does not ask: no cluster is started.
    assert project.run(server, "cluster", "--pbias-ray=127.0.0.1:9") == plain, project.output
    assert server.requests() == asked


@pytest.mark.slow
def test_a_check_by_another_margin_says_that_asking_stopped_for_the_usual_one(
    project: Project,
) -> None:
    project.pytester.makepyfile(
        test_looks=f"""
        import pytest

        @pytest.mark.pbias(tasks=["gsm8k"], identities={list(CELLS)})
        def test_usual(cell):
            pass  # its verdict by the usual margin is the report's

        @pytest.mark.pbias(tasks=["gsm8k"], identities=["a nurse", "a pilot"])
        def test_own(cell):
            cell.check(margin=1.5)
        """
    )
    server = project.serve(BIASED)
    options = ("--pbias-margin-utility=20", "--pbias-tolerance-utility=40")
    found = _results(project.run(server, "stopped", *options))
    assert len(project.table("stopped")) < 4 * N_ITEMS
    # What the answers decide by the other margin stands, and what they leave open is told.
    assert found["a nurse"]["verdict"] == "fail"
    assert "enough for" not in found["a nurse"]["reason"]
    pilot = found["a pilot"]
    assert (pilot["verdict"], pilot["margin"]) == ("inconclusive", 1.5)
    assert f"of {N_ITEMS} items, enough for the margin of 20 only" in pilot["reason"]
    assert "ask everything (--pbias-stop=never)" in pilot["reason"]

    everything = _results(project.run(server, "whole", *options, "--pbias-stop=never"))
    asked_for = ("--pbias-task-margins=gsm8k=1.5", "--pbias-tolerance-utility=40")
    known = _results(project.run(server, "known", *asked_for))
    for whole in (everything, known):
        assert "enough for" not in whole["a pilot"]["reason"]
