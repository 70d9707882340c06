"""A sampling parameter is a field of `Sampling` and an option of that name, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_pbias.collecting import plan
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.plugin import options
from tests.fakes.running import FakeServer

# What an edit of `models/chat.py` and one of `plugin/options.py` would do, before anything else is
# imported: a field with its default, and an option of the same name.
WIDER = """
import sys
from dataclasses import make_dataclass
from pytest_pbias.models import chat

added = [("min_p", float, 0.0)]
chat.Sampling = make_dataclass("Sampling", added, bases=(chat.Sampling,), frozen=True, slots=True)

from pytest_pbias.plugin import options

option = options.Option("min-p", "least share of the likeliest token's probability", "number")
options.OPTIONS += (option,)
options._BY_NAME[option.name] = option

import pytest

sys.exit(pytest.main(sys.argv[1:]))
"""
SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer"], identities=["a man"])
def test_one(cell):
    cell.responses
"""


def test_repeats_of_a_second_asking_are_numbered_after_the_most_that_an_option_takes() -> None:
    assert options.MOST_REPEATS == plan.MOST_REPEATS
    assert options.find_option("repeats").most == plan.MOST_REPEATS


@pytest.mark.slow
def test_a_new_field_reaches_body_key_table_report_and_comparison(
    tmp_path: Path, fake_server: Callable[..., FakeServer]
) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "wider.py").write_text(WIDER)
    server = fake_server()

    def session(*command: str) -> str:
        shared = [f"--pbias-base-url={server.url}", "--pbias-model=tiny", "--pbias-limit=3"]
        shared += [f"--pbias-data-dir={data_dir()}", "--pbias-placement=user"]
        shared += ["-p", "no:cacheprovider", "--pbias-reference=baseline"]
        done = subprocess.run(
            [sys.executable, *command, *shared],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    session("-m", "pytest", "--pbias-table=before.parquet")
    assert len(server.asked()) == 6
    assert all("min_p" not in body for body in server.asked())
    # At its default the new parameter changes nothing: answers of older stores are found.
    session("wider.py", "--pbias-table=usual.parquet")
    assert len(server.asked()) == 6
    said = session(
        "wider.py",
        "--pbias-min-p=0.25",
        "--pbias-table=after.parquet",
        "--pbias-json=out.json",
        "--pbias-compare=1",
    )
    assert [body.get("min_p") for body in server.asked()] == [None] * 6 + [0.25] * 6
    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in ("before", "usual", "after")]
    keys = [set(table["request_key"].to_pylist()) for table in tables]
    assert len(keys[0]) == 6
    assert keys[0] == keys[1]
    assert keys[0].isdisjoint(keys[2])
    assert "min_p" not in tables[0].column_names
    assert [set(table["min_p"].to_pylist()) for table in tables[1:]] == [{0.0}, {0.25}]
    assert json.loads((tmp_path / "out.json").read_text())["run"]["sampling"]["min_p"] == 0.25
    # A table of before has the default: the comparison is with that, and says what differs.
    assert "top_k 0, min_p 0.0" in said
    assert "top_k 0, min_p 0.25" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pbias-app=app.py:answer", "--pbias-min-p=0.2"], "--pbias-min-p: it is about a model"),
        (
            ["--pbias-model=embedded", '--pbias-extra-body={"min_p": 0.2}'],
            "--pbias-extra-body: the field 'min_p' is set by the run",
        ),
    ],
)
def test_a_new_field_is_refused_wherever_the_others_are(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "wider.py").write_text(WIDER)
    (tmp_path / "app.py").write_text("def answer(question):\n    return 'No.'\n")
    done = subprocess.run(
        [sys.executable, "wider.py", "-p", "no:cacheprovider", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 4
    assert says in done.stdout + done.stderr
