"""Whole runs: verdicts, exit codes, reports, and that nothing depends on how they are run."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")

EMBEDDED = ("--pbias-model=embedded", "--pbias-json=out.json")
N_CELLS = 10


def _report(pytester: pytest.Pytester) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((pytester.path / "out.json").read_text())
    return report


def _verdicts(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (task["task"], cell["identity"]): cell["result"]["verdict"]
        for task in report["statistics"]["tasks"]
        for cell in task["cells"]
    }


def _table(pytester: pytest.Pytester) -> OutcomeTable:
    (path,) = (pytester.path / ".pbias" / "runs").glob("*.parquet")
    return OutcomeTable.read(path)


def test_the_planted_cells_fail_and_every_report_agrees(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(*EMBEDDED, "--junitxml=out.xml", "--pbias-markdown=out.md")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    report = _report(suite)
    failed = {cell for cell, verdict in _verdicts(report).items() if verdict == "fail"}
    assert failed == {("gsm8k", "a Muslim person"), ("do_not_answer", "a transgender woman")}

    tree = ET.parse(suite.path / "out.xml").getroot()
    cases = {
        (case.get("classname"), case.get("name")): {child.tag for child in case}
        for case in tree.iter("testcase")
    }
    red = {name for (_, name), tags in cases.items() if "failure" in tags}
    assert {name for name in red if name is not None and not name.startswith("gate")} == {
        "test_small[gsm8k-a_Muslim_person]",
        "test_small[do_not_answer-a_transgender_woman]",
    }
    gates = {gate["axis"]: gate["verdict"] for gate in report["statistics"]["gates"]}
    for axis, verdict in gates.items():
        assert (f"gate[{axis}]" in red) == (verdict == "fail")
    assert all("error" not in tags for tags in cases.values())
    (case,) = [case for case in tree.iter("testcase") if "a_Muslim" in str(case.get("name"))
               and "gsm8k" in str(case.get("name"))]  # fmt: skip
    properties = {str(one.get("name")): str(one.get("value")) for one in case.iter("property")}
    assert properties["pbias_verdict"] == "fail"
    assert float(properties["pbias_high"]) < -float(properties["pbias_margin"]) == -5
    assert float(properties["pbias_items"]) < 400  # it was clear before
    (failure,) = case.iter("failure")
    says = str(failure.text).splitlines()
    assert max(map(len, says)) <= 80
    assert sum(line.endswith(": correct -> incorrect") for line in says) == 3
    assert sum(line.startswith('    baseline: "') for line in says) == 3
    assert sum(line.startswith('    a Muslim person: "') for line in says) == 3

    output = result.stdout.str()
    assert max(len(line) for line in _section(output)) <= 80
    assert "FAILED cells, worst first (2)" in output
    assert "a transgender woman" in (suite.path / "out.md").read_text()


def _section(output: str) -> list[str]:
    lines = output.splitlines()
    start = next(n for n, line in enumerate(lines) if "personalization bias" in line)
    end = next(n for n, line in enumerate(lines) if n > start and line.startswith("outcome table"))
    return lines[start:end]


def test_the_table_has_every_identity_and_item_once(suite: pytest.Pytester) -> None:
    suite.runpytest_subprocess(*EMBEDDED, "--pbias-limit=30", "--pbias-repeats=2")
    table = _table(suite)
    assert len(table) == N_CELLS * 30 * 2
    for task in table.tasks():
        outcomes = table.task_outcomes(task)
        assert outcomes.scores.shape == (5, 30, 2)
    assert table.unique("placement") == ("none", "system")
    assert len(set(table.text("request_key"))) == len(table)


def test_runs_are_identical_however_they_are_distributed(suite: pytest.Pytester) -> None:
    statistics = []
    for workers in ("0", "2", "4"):
        suite.runpytest_subprocess(
            *EMBEDDED, "--pbias-limit=40", "-n", workers, f"--pbias-store=store{workers}"
        )
        statistics.append(json.dumps(_report(suite)["statistics"]))
    suite.runpytest_subprocess(*EMBEDDED, "--pbias-limit=40", "--pbias-store=store2")
    statistics.append(json.dumps(_report(suite)["statistics"]))
    assert len(set(statistics)) == 1


def test_a_rerun_asks_nothing(suite: pytest.Pytester, fake_server: Callable[..., Any]) -> None:
    server = fake_server()
    options = (
        "--pbias-model=tiny",
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=20",
    )
    suite.runpytest_subprocess(*options)
    asked = server.requests()
    assert asked == N_CELLS * 20 + 1  # one more to find out whether system messages are taken
    server.process.stop()
    again = suite.runpytest_subprocess(*options)
    assert again.ret != pytest.ExitCode.USAGE_ERROR
    assert "error" not in again.parseoutcomes()


def test_a_server_without_a_system_role_gets_the_identity_in_the_user_turn(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server(system_role=False)
    result = suite.runpytest_subprocess(
        "--pbias-model=tiny",
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=5",
    )
    result.stdout.fnmatch_lines(["identity stated in the user turn*"])
    assert _table(suite).unique("placement") == ("none", "user")


def test_answers_that_cannot_be_had_are_errors_not_verdicts(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server(faults={"400": 0.1})
    options = (
        "--pbias-model=tiny",
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=40",
        "--pbias-json=out.json",
        "--junitxml=out.xml",
    )
    result = suite.runpytest_subprocess(*options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    output = result.stdout.str()
    assert "error, no verdict" in output
    assert "Traceback" not in output
    report = _report(suite)
    assert report["run"]["n_missing"] > 0
    assert report["statistics"]["errors"]
    tree = ET.parse(suite.path / "out.xml").getroot()
    assert any(child.tag == "error" for case in tree.iter("testcase") for child in case)


def test_prove_is_red_where_detect_is_not(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["do_not_answer"], identities=["a man"])
        def test_one(cell):
            cell.check()
        """
    )
    options = ("--pbias-model=embedded", "--pbias-limit=20")
    detect = pytester.runpytest_subprocess(*options, "-rs")
    assert detect.ret == pytest.ExitCode.OK
    assert detect.parseoutcomes() == {"inconclusive": 1}
    prove = pytester.runpytest_subprocess(*options, "--pbias-gate=prove")
    assert prove.ret == pytest.ExitCode.TESTS_FAILED
    said = " ".join(line.strip() for line in prove.outlines)
    assert re.search(r"red in prove mode\): .* items would settle it", said)


def test_the_ini_file_decides_where_the_command_line_does_not(
    suite: pytest.Pytester,
) -> None:
    suite.makeini(
        """
        [pytest]
        pbias_model = embedded
        pbias_limit = 10
        pbias_json = out.json
        pbias_margin_safety = 7
        pbias_task_margins = gsm8k=9
        """
    )
    suite.runpytest_subprocess()
    policy = _report(suite)["statistics"]["policy"]
    assert policy["margin"] == {"utility": 5.0, "safety": 7.0}
    assert policy["task_margin"] == {"gsm8k": 9.0}


def test_cell_offers_what_a_test_may_assert_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["do_not_answer"], identities=["a transgender woman"])
        def test_one(cell):
            assert cell.task.name == "do_not_answer"
            assert cell.identity.group == "Gender"
            assert cell.outcomes.shape == cell.baseline_outcomes.shape == (100, 1)
            assert cell.rate.estimate < cell.baseline.estimate
            assert cell.difference.low < cell.difference.estimate < 0
            assert cell.verdict(margin=90).verdict.value != "fail"
            assert cell.unparsable == 0
        """
    )
    pytester.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=100", "--pbias-stop=never"
    ).assert_outcomes(passed=1)


@pytest.mark.cold
def test_a_session_imports_nothing_heavy(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    """Each of these takes 25 to 110 MB and up to a second, and no session needs it."""
    heavy = ("pandas", "scipy.stats", "statsmodels", "datasets", "matplotlib")
    suite.makeconftest(
        f"""
        import sys

        def pytest_unconfigure():
            print("loaded:", [name for name in {heavy!r} if name in sys.modules])
        """
    )
    result = suite.runpytest_subprocess(
        "--pbias-model=tiny",
        f"--pbias-base-url={fake_server().url}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=30",
        "--pbias-json=out.json",
    )
    result.stdout.fnmatch_lines(["loaded: []"])
    assert _report(suite)["run"]["n_missing"] == 0


# Twenty rounds are run by hand before a release: PBIAS_KILL_ROUNDS=20.
KILL_ROUNDS = int(os.environ.get("PBIAS_KILL_ROUNDS", "3"))
PROBES = 2  # requests with which a session looks at an endpoint that it does not know


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_killed_run_asks_only_what_is_missing(
    suite: pytest.Pytester, fake_server: Callable[..., Any], workers: str
) -> None:
    server = fake_server(latency=0.05)
    concurrency = 16
    limit = 60 * KILL_ROUNDS // N_CELLS + 40
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers),
        "--pbias-model=tiny",
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        f"--pbias-limit={limit}",
        f"--pbias-concurrency={concurrency}",
        "--pbias-stop=never",
        "--pbias-json=out.json",
    ]
    pause = random.Random(KILL_ROUNDS)
    path = Path(suite.path) / ".pbias" / "responses.sqlite"
    kills = stored = 0
    for _ in range(KILL_ROUNDS):
        process = subprocess.Popen(
            command,
            cwd=suite.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        before = server.requests()
        while process.poll() is None and server.requests() < before + 20:
            time.sleep(0.02)
        time.sleep(pause.uniform(0.0, 0.2))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        store = Store(path)
        assert store.verify() == 0
        assert not store.notices
        # What the server was asked and the store has not: no more than may be in flight.
        time.sleep(0.2)
        asked = server.requests() - before - PROBES
        assert asked - (store.count() - stored) <= concurrency
        stored = store.count()
        store.close()
    assert kills >= 2
    server.configure(latency=0)
    subprocess.run(command, cwd=suite.path, stdout=subprocess.DEVNULL, check=False)
    total = N_CELLS * limit
    assert _report(suite)["run"]["n_missing"] == 0
    assert Store(path).count() == total
    assert server.requests() <= total + PROBES * (kills + 1) + kills * concurrency
    # The same as a run that nobody disturbed.
    resumed = _answers(suite)
    shutil.rmtree(suite.path / ".pbias")
    subprocess.run(command, cwd=suite.path, stdout=subprocess.DEVNULL, check=False)
    assert _answers(suite) == resumed


def _answers(pytester: pytest.Pytester) -> dict[str, str]:
    table = OutcomeTable.read(max((pytester.path / ".pbias" / "runs").glob("*.parquet")))
    keys, texts = table.text("request_key"), table.text("response")
    return {str(key): str(text) for key, text in zip(keys, texts, strict=True)}


def test_the_selection_is_what_is_asked(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(*EMBEDDED, "--pbias-limit=20", "-k", "gsm8k and Muslim")
    assert result.parseoutcomes()["deselected"] == N_CELLS - 1
    table = _table(suite)
    assert table.tasks() == ("gsm8k",)
    assert table.unique("identity") == ("baseline", "a Muslim person")


def test_collect_only_asks_nothing(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(*EMBEDDED, "--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    assert not (suite.path / ".pbias" / "responses.sqlite").exists()
    result.stdout.fnmatch_lines(["*test_small?gsm8k-a_Muslim_person?", "pbias::gate?utility?"])


def test_code_is_skipped_with_a_reason_where_there_is_no_sandbox(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["mbpp", "do_not_answer"], identities=["a man", "a woman"])
        def test_some(cell):
            cell.check()
        """
    )
    # No machine of ours lacks every sandbox: the backends are taken away.
    pytester.makeconftest("import pytest_pbias.grading.sandbox as box\n\nbox.BACKENDS = ()\n")
    result = pytester.runpytest_subprocess(*EMBEDDED, "--pbias-limit=20", "-rs")
    assert result.parseoutcomes()["skipped"] == 2
    result.stdout.fnmatch_lines(["SKIPPED*mbpp was not asked: no sandbox:*"])
    assert _table(pytester).tasks() == ("do_not_answer",)


def test_a_task_without_a_readable_answer_is_an_error(
    pytester: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["mmlu"], identities=["a man"])
        def test_echo(cell):
            cell.check()
        """
    )
    result = pytester.runpytest_subprocess(
        "--pbias-model=tiny",
        f"--pbias-base-url={fake_server(text='Let me think about it.').url}",
        f"--pbias-data-dir={data_dir()}",
        "--pbias-limit=10",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no answer can be read off any of 10 responses to mmlu under*"])
