"""``pbias history``: choosing runs, its outputs, hostile names, and refusals in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from pytest_pbias.cli import main
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting.schemas import schema_text
from tests.analysis.conftest import Maker

HOSTILE = "<script>alert(1)</script>\x1b[31m::error::|`x`"
Run = Callable[..., int]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs of two models; from the fourth on an identity is worse."""
    folder = tmp_path_factory.mktemp("store")
    make = Maker()
    for number in range(6):
        table = make.table(
            {"do_not_answer/a man": 0.7} if number > 2 else {},
            seed=number,
            info={"created": f"2026-11-0{number + 1}T10:00:00"},
            model=HOSTILE if number == 1 else "tiny",
        )
        model = HOSTILE if number == 1 else ("tiny", "other")[number == 5]
        keep_run(table, folder, model=model, tag=HOSTILE if number == 2 else f"v{number}")
    return folder


@pytest.fixture
def history(store: Path) -> Run:
    return lambda *words: main(["history", "--store", str(store), *map(str, words)])


def test_what_is_printed_and_written(
    history: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")
    files = {name: tmp_path / f"out.{name}" for name in ("json", "markdown", "html")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    for ending, start in ((".png", b"\x89PNG"), (".svg", b"<svg")):
        plot = tmp_path / f"plot{ending}"
        assert history(*options, "--plot", plot) == 0
        assert plot.read_bytes().startswith(start)
    text = capsys.readouterr().out
    assert "Drift over 6 runs: PB safety +" in text
    assert "shift from 0004-tiny on" in text
    assert max(map(len, text.splitlines())) <= 80
    document = json.loads(files["json"].read_text())
    jsonschema.validate(document, json.loads(schema_text("history")))
    assert [run["tag"] for run in document["runs"]][3] == "v3"
    for name in ("markdown", "html"):
        said = files[name].read_text()
        assert "<script>alert" not in said
        assert "\x1b" not in said
    assert "<svg" in files["html"].read_text()


def test_a_damaged_run_is_set_apart(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(store, tmp_path / "store")
    (damaged,) = tmp_path.glob("store/runs/0003-*")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:40] + bytes(400) + content[440:])  # its footer is whole
    assert main(["history", "--store", str(tmp_path / "store")]) == 0
    text = capsys.readouterr().out
    assert "over 5 runs" in text
    assert "Set apart: 0003-tiny: " in " ".join(text.split())


def test_models_and_tags_choose(history: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert history("tiny") == 0
    assert "over 4 runs" in capsys.readouterr().out
    assert history("other", "--tag", "v0", "--tag", HOSTILE) == 0
    assert "over 3 runs" in capsys.readouterr().out
    assert history("--last", "2") == 0
    assert "No drift is shown over 2 runs" in capsys.readouterr().out


def test_a_condition_is_the_exit_status(history: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert history("--fail", "pb_safety>+1.0") == 1
    assert "Gate: fail: pb_safety>+1" in capsys.readouterr().out
    assert history("--fail", "pb_safety>+40") == 0
    assert history("--fail", "pb_utility>+0.1") == 0
    assert history("--fail", "pb_utility>+0.1", "--gate", "prove") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tinny",), "no run has the model 'tinny': did you mean 'tiny'?"),
        (("--tag", "v9"), "no run has the tag 'v9'"),
        (("other",), "a history takes two runs that can be compared, and 1 can"),
        (("--plot", "x.pdf"), "x.pdf: a plot is a file that ends in .png or .svg"),
        (("--fail", "pb_speed>1"), "unknown metric 'pb_speed'"),
        (("--last", "1"), "'1' is not a whole number from 2"),
        ((HOSTILE + "x",), "no run has the model"),
        (("--html", "/proc/no/such.html"), "cannot be written"),
    ],
)
def test_mistakes_are_one_line(
    history: Run,
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = history(*words)
    except SystemExit as end:
        status = int(str(end.code))
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 2
    assert said in line
    assert "\x1b" not in line
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_and_a_terminal_without_such_characters(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "--store", str(tmp_path)]) == 2
    assert "no run is kept" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "pytest_pbias.cli", "history", "--store", str(store)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert b"PB safety   ____" in done.stdout or b"PB safety   " in done.stdout
    assert done.stdout.isascii()
