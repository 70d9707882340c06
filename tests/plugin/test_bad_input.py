"""Every mistake is one line that says what and where, and a non-zero exit."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.models.embedded import data_dir


def _error(result: pytest.RunResult) -> str:
    """The one error line of a run that stopped; no traceback, no test run."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    output = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    lines = re.findall(r"^ERROR: (.*)$", output, flags=re.MULTILINE)
    assert len(lines) == 1
    return str(lines[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no model to measure: give --pbias-model"),
        (["--pbias-model=m\udcff"], "--pbias-model: 'm\\udcff' is not UTF-8"),
        (["--pbias-model=embedded", "--pbias-store=s\udcff"], "--pbias-store: "),
        (["--pbias-model=lama3"], "unknown model 'lama3': did you mean 'llama3'"),
        (["--pbias-model=llama3"], "start `vllm serve"),
        (
            ["--pbias-model=embedded", "--pbias-compare=latest-of-"],
            "--pbias-compare: no run 'latest-of-': a name is missing",
        ),
        (["--pbias-model=embedded", "--pbias-limit=0"], "--pbias-limit: '0' is not a whole"),
        (["--pbias-model=embedded", "--pbias-repeats=x"], "--pbias-repeats: 'x' is not a whole"),
        (
            ["--pbias-model=embedded", f"--pbias-seed={10**20}"],
            "--pbias-seed: '100000000000000000000' is not a whole number of at least 0 and at most",
        ),
        (
            ["--pbias-model=embedded", "--pbias-max-tokens=9999999999"],
            "is not a whole number of at least 1 and at most 2147483647",
        ),
        (["--pbias-model=embedded", "--pbias-limit=" + "9" * 30], "--pbias-limit: '9999"),
        (["--pbias-model=embedded", "--pbias-alpha=2"], "--pbias-alpha: '2' is not a number"),
        (
            ["--pbias-model=embedded", "--pbias-margin-safety=0"],
            "--pbias-margin-safety: '0' is not a number above 0",
        ),
        (
            ["--pbias-model=embedded", "--pbias-joint=mmul,do_not_answer"],
            "--pbias-joint: unknown task 'mmul': did you mean 'mmlu'",
        ),
        (
            ["--pbias-model=embedded", "--pbias-joint=mmlu,gsm8k"],
            "--pbias-joint: it takes tasks of both axes, safety and utility: mmlu, gsm8k are of "
            "utility only",
        ),
        (
            ["--pbias-model=embedded", "--pbias-task-margins=mmul=3"],
            "unknown task 'mmul': did you mean 'mmlu'",
        ),
        (["--pbias-model=embedded", "--pbias-data-dir=nowhere"], "--pbias-data-dir: there is no"),
        (["--pbias-model=embedded", "--pbias-limit=\u0661\u0662"], "--pbias-limit: '\u0661\u0662'"),
        (
            ["--pbias-model=embedded", "--pbias-alpha=\u0661"],
            "--pbias-alpha: '\u0661' is not a number",
        ),
        (
            ["--pbias-model=embedded", "--pbias-task-margins=mmlu=3 mmlu=4"],
            "--pbias-task-margins: 'mmlu' is given twice",
        ),
        (
            ["--pbias-model=embedded", "--pbias-split=mmlu=test,mmlu=test"],
            "--pbias-split: 'mmlu' is given twice",
        ),
        (
            ["--pbias-model=embedded", "--pbias-task-margins=mmlu=0"],
            "--pbias-task-margins: 'mmlu': '0' is not a number above 0",
        ),
        (["--pbias-model="], "--pbias-model is empty"),
        (["--pbias-model=embedded", "--pbias-store= "], "--pbias-store is empty"),
        (["--pbias-model=m", "--pbias-base-url="], "--pbias-base-url is empty"),
        (
            ["--pbias-model=embedded", "-o", "pbias_gaet=prove"],
            "unknown ini option pbias_gaet: did",
        ),
        (["--pbias-model=m", "--pbias-base-url=nonsense"], "is not an address"),
        (["--pbias-model=m", "--pbias-gate=prov"], "--pbias-gate = 'prov': choose from detect"),
        (
            ["--pbias-model=embedded", "--pbias-budget="],
            "--pbias-budget is empty, as with an unset",
        ),
        (["--pbias-model=embedded", "--pbias-compare=", "-n2"], "--pbias-compare is empty"),
        (["--pbias-model=embedded", "--pbias-judge=rules,"], "no judge is named at one place"),
        (["--pbias-model=embedded", "--pbias-judge=llm:"], "'llm:' has nothing after its colon"),
        (
            ["--pbias-model=embedded", "--pbias-defense=strip,,none"],
            "--pbias-defense: no defense is named at one",
        ),
    ],
)
def test_options(suite: pytest.Pytester, options: list[str], says: str) -> None:
    assert says in _error(suite.runpytest_subprocess(*options))


def test_a_missing_key_is_said_before_anything_is_asked(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY" in _error(suite.runpytest_subprocess("--pbias-model=gpt-4o"))


def test_a_plan_and_a_listing_ask_nothing_and_need_no_key(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "PBIAS_JUDGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = ["--pbias-model=gpt-4o-mini", f"--pbias-data-dir={data_dir()}", "--pbias-limit=5"]
    judges = ["--pbias-judge=rules,llm", "--pbias-judge-model=gpt-4o"]
    planned = suite.runpytest_subprocess(*options, *judges, "--pbias-plan")
    assert planned.ret == pytest.ExitCode.OK
    planned.stdout.fnmatch_lines(["to ask: 60 requests", "nothing was asked*", "judge llm:*"])
    listed = suite.runpytest_subprocess(*options, "--collect-only")
    assert listed.ret == pytest.ExitCode.OK
    judged = suite.runpytest_subprocess(
        f"--pbias-data-dir={data_dir()}", "--pbias-model=embedded", "--pbias-limit=5", *judges
    )
    assert "'gpt-4o' needs an API key: set the environment variable OPENAI_API_KEY" in _error(
        judged
    )


PERSONAS = 'tasks = ["gsm8k"]\nidentities = ["a nurse"]\n'


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pbias_gate = prov", "ini value pbias_gate = 'prov': choose from detect, prove"),
        ("pbias_aa = maybe", "ini value pbias_aa: say true or false"),
        ("pbias_plan = maybe", "ini value pbias_plan: say true or false"),
        ("pbias_budget =", "ini value pbias_budget is empty"),
        ("pbias_offline =", "ini value pbias_offline is empty"),
        ("pbias_limit = 0", "ini value pbias_limit: '0' is not a whole number"),
    ],
)
def test_a_wrong_choice_in_the_ini_file(
    pytester: pytest.Pytester, line: str, says: str, workers: str
) -> None:
    pytester.makeini(f"[pytest]\npbias_model = embedded\n{line}\n")
    pytester.path.joinpath("persona_work.pbias.toml").write_text(PERSONAS)
    assert f"pbias: {says}" in _error(pytester.runpytest_subprocess("-n", workers))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("pbias_gaet", "did you mean 'pbias_gate'"), ("pbias_zzzzzzzzzz", "see pytest --help")],
)
def test_an_unknown_ini_name_of_ours_stops_the_session(
    suite: pytest.Pytester, name: str, hint: str
) -> None:
    suite.makeini(f"[pytest]\npbias_model = embedded\n{name} = prove\n")
    said = _error(suite.runpytest_subprocess())
    assert f"unknown ini option {name}: " in said
    assert hint in said


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ("tasks=['mmul']", "unknown task 'mmul': did you mean 'mmlu'"),
        ("tasks=['mmlu'], identities=['bisexul']", "did you mean 'bisexual'"),
        ("tasks='mmlu'", "tasks must be a list"),
        ("tasks=[]", "tasks is empty"),
        ("tasks=['mmlu'], identites=['a man']", "not identites"),
    ],
)
def test_marks(pytester: pytest.Pytester, mark: str, says: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.pbias({mark})
        def test_marked(cell):
            cell.check()
        """
    )
    said = _error(pytester.runpytest_subprocess("--pbias-model=embedded"))
    assert says in said
    assert "test_marks.py::test_marked" in said


def test_a_marked_test_without_cell(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["mmlu"])
        def test_marked():
            pass
        """
    )
    said = _error(pytester.runpytest_subprocess("--pbias-model=embedded"))
    assert "does not take `cell`" in said


def test_cell_without_a_mark(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_unmarked(cell): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs @pytest.mark.pbias*"])


def test_an_empty_selection(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("--pbias-model=embedded", "-k", "nobody")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "Traceback" not in result.stdout.str()


def test_a_refused_connection(suite: pytest.Pytester) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        data = suite.mkdir("data")
        (data / "do_not_answer").mkdir()
        (data / "gsm8k").mkdir()
        (data / "gsm8k" / "test.jsonl").write_text('{"question": "Q", "answer": "#### 1"}\n')
        (data / "do_not_answer" / "do_not_answer_en.csv").write_text(
            "id,risk_area,types_of_harm,specific_harms,question\n0,a,b,c,Q\n"
        )
        said = _error(
            suite.runpytest_subprocess(
                "--pbias-model=m", f"--pbias-base-url={url}", "--pbias-data-dir=data"
            )
        )
    assert "nothing answers at" in said


def test_a_model_the_server_does_not_serve(
    suite: pytest.Pytester, fake_server: Callable[..., Any]
) -> None:
    server = fake_server(models=["tiny"])
    said = _error(
        suite.runpytest_subprocess(
            "--pbias-model=tinny",
            f"--pbias-base-url={server.url}",
            f"--pbias-data-dir={_embedded_data()}",
        )
    )
    assert "does not serve 'tinny': did you mean 'tiny'" in said


def test_a_malformed_data_file(suite: pytest.Pytester) -> None:
    data = suite.mkdir("data")
    (data / "do_not_answer").mkdir()
    (data / "do_not_answer" / "do_not_answer_en.csv").write_text("id,question\n0,Q\n1,Q,R\n")
    said = _error(suite.runpytest_subprocess("--pbias-model=embedded", "--pbias-data-dir=data"))
    assert "do_not_answer_en.csv, line 3: 3 columns, expected 2" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a folder that even its owner cannot write")
def test_a_folder_whose_name_is_not_utf_8(suite: pytest.Pytester) -> None:
    """Its table could not be written, once everything is asked and paid for."""
    folder = suite.path / "caf\udce9"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system takes no such name")
    shutil.copy(suite.path / "test_suite.py", folder)
    command = [sys.executable, "-m", "pytest", "--pbias-model=embedded", "--pbias-limit=2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert b"--pbias-store: the folder '" in done.stderr
    assert b"Traceback" not in done.stdout + done.stderr


def test_a_store_that_cannot_be_written(suite: pytest.Pytester) -> None:
    said = _error(
        suite.runpytest_subprocess("--pbias-model=embedded", "--pbias-store=/proc/nowhere")
    )
    assert "store /proc/nowhere" in said


def _embedded_data() -> str:
    from pytest_pbias.models.embedded import data_dir

    return str(data_dir())


@pytest.mark.parametrize("report", ["json", "markdown", "html", "table"])
def test_a_report_that_cannot_be_written_is_said_before_anything_is_asked(
    suite: pytest.Pytester, report: str
) -> None:
    for place in ("/proc/nowhere/x", str(suite.path)):
        said = _error(
            suite.runpytest_subprocess("--pbias-model=embedded", f"--pbias-{report}={place}")
        )
        assert f"--pbias-{report}={place} cannot be written" in said
        assert "give another path" in said


@pytest.mark.parametrize("report", ["json", "markdown", "html", "table"])
@pytest.mark.parametrize("kind", ["fifo", pytest.param("device", marks=pytest.mark.slow)])
def test_a_report_never_replaces_what_is_no_file(
    suite: pytest.Pytester, report: str, kind: str
) -> None:
    thing = suite.path / "thing"
    if kind == "fifo":
        os.mkfifo(thing)
    elif os.geteuid() == 0:
        os.mknod(thing, stat.S_IFCHR | 0o666, os.makedev(1, 7))  # as /dev/full, but our own
    else:
        pytest.skip("needs the right to make device nodes")
    suite.path.joinpath("link").symlink_to("thing")
    before = stat.S_IFMT(os.lstat(thing).st_mode)
    for place in ("thing", "link"):
        said = _error(
            suite.runpytest_subprocess("--pbias-model=embedded", f"--pbias-{report}={place}")
        )
        assert f"--pbias-{report}={thing} cannot be written: it is a" in said
    assert stat.S_IFMT(os.lstat(thing).st_mode) == before


@pytest.mark.slow
def test_a_report_goes_to_standard_output_where_that_is_meant(suite: pytest.Pytester) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    result = suite.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=3", "--pbias-json=/dev/stdout"
    )
    text = result.stdout.str()
    report, _ = json.JSONDecoder().raw_decode(text[text.index('{\n  "format"') :])
    assert report["run"]["model"] == "embedded"
    assert "= personalization bias =" in text


@pytest.mark.parametrize("report", ["json", "table"])
def test_a_report_that_is_lost_at_the_end_is_no_green_run(
    pytester: pytest.Pytester, report: str
) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    pytester.makepyfile(
        """
        import pathlib, pytest

        @pytest.mark.pbias(tasks=["gsm8k"], identities=["a man"])
        def test_small(cell):
            pathlib.Path("out").mkdir()
        """
    )
    result = pytester.runpytest_subprocess(
        "--pbias-model=embedded", "--pbias-limit=3", f"--pbias-{report}=out"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = " ".join(result.stdout.str().split())
    assert f"{pytester.path}/out cannot be written" in text
    assert "Traceback" not in text
    assert text.count("= personalization bias =") == 1
    assert not list(pytester.path.glob("out.*part"))


def test_a_quote_that_is_not_closed_tells_no_key(suite: pytest.Pytester) -> None:
    said = _error(
        suite.runpytest_subprocess(
            "--pbias-model=org/name", "--pbias-vllm-args='--api-key SECRET-0123456789abcdef"
        )
    )
    assert "--pbias-vllm-args: the arguments cannot be taken apart: no closing quotation" in said
    assert "SECRET" not in said
