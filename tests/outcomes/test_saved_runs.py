"""Kept runs: numbers, names, tags, and finding them again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError, StoreError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import current_commit, find_run, keep_run, list_runs
from pytest_pbias.outcomes.schema import INFO_KEY

EMPTY = OutcomeTable.from_columns({"task": []})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three runs: two of one model, the second tagged, one of another."""
    folder = tmp_path / ".pbias"
    table = EMPTY.with_info(RunFacts(created="2026-01-02T03:04:05+00:00"))
    keep_run(table, folder, model="gpt-4o-mini", commit="1a2b3c4d", verdicts={"pass": 3, "fail": 1})
    keep_run(table, folder, model="gpt-4o-mini", tag="v1.2", bias={"safety": 4.25})
    keep_run(table, folder, model="org/Some Model", tag="v1.2")
    return folder


def test_runs_are_numbered_and_named_after_model_and_commit(store: Path) -> None:
    assert [record.name for record in list_runs(store)] == [
        "0001-gpt-4o-mini-1a2b3c4d",
        "0002-gpt-4o-mini",
        "0003-org-Some-Model",
    ]
    assert [record.number for record in list_runs(store)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("2", 2),
        ("0002", 2),
        ("0001-gpt-4o-mini-1a2b3c4d", 1),
        ("v1.2", 3),
        ("latest", 3),
        ("latest-of-gpt-4o-mini", 2),
        ("latest-of-org/Some Model", 3),
    ],
)
def test_a_run_is_found_by_any_of_its_names(store: Path, name: str, number: int) -> None:
    assert find_run(name, store).name.startswith(f"{number:04d}-")


def test_a_path_comes_first(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.parquet"
    EMPTY.write(path)
    assert find_run(path, store) == path
    assert find_run(str(path), tmp_path / "nowhere") == path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lates", "did you mean 'latest'"),
        ("v1.3", "did you mean 'v1.2'"),
        ("latest-of-gpt-4o-mimi", "did you mean 'latest-of-gpt-4o-mini'"),
        ("17", "known: latest"),
        ("", "no run '': a name is missing"),
        ("latest-of-", "no run 'latest-of-': a name is missing"),
        ("x" * 300, "no run 'xxx.*known: latest"),
        ("9" * 5000, "no run '999.*known: latest"),
        ("nul\0byte", "no run 'nul"),
    ],
)
def test_a_wrong_name_is_one_line_with_what_comes_near(store: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        find_run(name, store)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(store))


def test_of_many_runs_a_wrong_name_lists_the_newest(tmp_path: Path) -> None:
    for number in range(1, 31):
        keep_run(EMPTY, tmp_path, model="embedded", tag=f"v{number}" if number % 10 == 0 else "")
    with pytest.raises(ConfigurationError) as caught:
        find_run("nosuch", tmp_path)
    assert str(caught.value).endswith(
        ": known: latest, 0030-embedded, v30, latest-of-embedded, 0029-embedded, 0028-embedded, "
        "...; `pbias runs` lists all"
    )


@pytest.mark.parametrize("command", ["compare", "report", "regrade"])
def test_an_unset_variable_is_no_name_of_the_newest_run(
    store: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_run(EMPTY, store, model="")
    names = ["", "latest"] if command == "compare" else [""]
    assert main([command, *names, "--store", str(store)]) == 2
    assert "a name is missing" in capsys.readouterr().err


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no run is kept in"):
        find_run("latest", tmp_path)
    assert list_runs(tmp_path) == ()


def test_files_without_a_number_are_older_and_other_files_are_left_out(store: Path) -> None:
    EMPTY.write(store / "runs" / "20260101T000000-abc123.parquet")
    (store / "runs" / "broken.parquet").write_bytes(b"PAR1")
    assert [record.number for record in list_runs(store)] == [None, 1, 2, 3]
    assert find_run("20260101T000000-abc123", store).exists()


def test_a_number_is_never_given_twice(store: Path) -> None:
    find_run("latest", store).unlink()
    assert keep_run(EMPTY, store, model="m").stem == "0004-m"
    for claim in (store / "runs" / ".numbers").iterdir():
        claim.unlink()  # as a cache that leaves out hidden files does
    assert keep_run(EMPTY, store, model="m").stem == "0005-m"


KEEPER = """
import sys
from pathlib import Path
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import keep_run
sys.stdin.readline()
for _ in range(20):
    keep_run(OutcomeTable.from_columns({"task": []}), Path(sys.argv[1]), model=sys.argv[2])
"""


def test_sessions_that_end_together_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEPER, str(tmp_path)]
    keepers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, text=True) for name in "abc"
    ]
    for keeper in keepers:
        assert keeper.stdin is not None
        keeper.stdin.write("go\n")
        keeper.stdin.close()
    assert [keeper.wait(timeout=60) for keeper in keepers] == [0, 0, 0]
    assert [record.number for record in list_runs(tmp_path)] == list(range(1, 61))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        keep_run(EMPTY, tmp_path, model="m")


def test_the_commit_comes_from_git_or_from_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI_COMMIT_SHA", raising=False)
    monkeypatch.setenv("GITHUB_SHA", "0123456789abcdef")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert current_commit(tmp_path) == "01234567"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert current_commit(tmp_path) == done.stdout[:8]


def test_the_command_lists_them(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--store", str(store)]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "0001 2026-01-02 03:04 gpt-4o-mini              1a2b3c4d" in shown
    assert "1 fail 3 pass" in shown
    assert "PB safety 4.2" in shown
    assert "v1.2" in shown
    assert main(["runs", "--store", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert rows[1]["bias"] == {"safety": 4.25}


def test_the_command_prints_no_escapes_of_a_foreign_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escape = "\x1b]0;owned\x07\x1b[31m"
    kept = keep_run(
        EMPTY, tmp_path, model=f"{escape}m", commit=f"{escape}c", tag=f"{escape}t",
        verdicts={f"{escape}pass": 1}, bias={f"{escape}q": 1.0},
    )  # fmt: skip
    rows = pq.read_table(kept)
    facts = json.loads(rows.schema.metadata[INFO_KEY]) | {"created": f"{escape}2026-01-02"}
    metadata = rows.schema.metadata | {INFO_KEY: json.dumps(facts).encode()}
    pq.write_table(rows.replace_schema_metadata(metadata), kept)
    assert main(["runs", "--store", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "pass" in printed
    assert not set(printed) & {"\x1b", "\x07"}
