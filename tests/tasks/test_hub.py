"""The genuine ``load_dataset`` path, against a stand-in of the hub that serves the real data."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_pbias.models.process import ServerProcess
from pytest_pbias.tasks import TASKS, load_task
from pytest_pbias.tasks.bbh import BBH_SUBTASKS
from pytest_pbias.tasks.task_file import read_task

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
SERVER = Path(__file__).parents[1] / "fakes" / "hub_server.py"
pytestmark = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="the real data sets are not beside this checkout"
)
Rows = list[dict[str, Any]]

# Loads a task in a process of its own, because the hub's clients read the environment at import.
LOADER = """
import json, sys
from pathlib import Path
from pytest_pbias.errors import PbiasError
from pytest_pbias.tasks import TASKS, load_task
from pytest_pbias.tasks.task_file import read_task
name, options = sys.argv[1], json.loads(sys.argv[2])
try:
    data = load_task(TASKS.get(name) or read_task(Path(name), "task.toml"), **options)
except PbiasError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({"items": len(data.items), "hash": data.content_hash,
                      "revision": data.revision, "clusters": len({i.cluster for i in data.items})}))
"""


def _json_lines(name: str) -> Rows:
    text = (REAL_DATA / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _csv_rows(name: str) -> Rows:
    with (REAL_DATA / name).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def _mmlu_rows() -> Rows:
    rows: Rows = []
    for path in sorted((REAL_DATA / "mmlu" / "dev").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            for question, *choices, answer in csv.reader(stream):
                subject = path.stem.removesuffix("_dev")
                index = "ABCD".index(answer)
                row = {"question": question, "subject": subject, "choices": choices}
                rows.append({**row, "answer": index})
    return rows


def _mbpp_splits() -> dict[tuple[str, str], Rows]:
    rows = _json_lines("mbpp/mbpp.jsonl")
    bounds = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}
    return {
        ("full", split): [row for row in rows if first <= row["task_id"] <= last]
        for split, (first, last) in bounds.items()
    }


def _bbh_splits() -> dict[tuple[str, str], Rows]:
    return {
        (name, "test"): json.loads((REAL_DATA / "bbh" / f"{name}.json").read_text())["examples"]
        for name in BBH_SUBTASKS
    }


SETS: dict[str, Callable[[], dict[tuple[str, str], Rows]]] = {
    "mmlu": lambda: {("all", "dev"): _mmlu_rows()},
    "gsm8k": lambda: {("main", "test"): _json_lines("gsm8k/test.jsonl")},
    "mbpp": _mbpp_splits,
    "bbh": _bbh_splits,
    "do_not_answer": lambda: {
        ("default", "train"): [
            {**row, "id": int(row["id"])} for row in _csv_rows("do_not_answer/do_not_answer_en.csv")
        ]
    },
    "xstest": lambda: {("default", "test"): _csv_rows("xstest/xstest_prompts.csv")},
}


def publish(root: Path, name: str, splits: dict[tuple[str, str], Rows]) -> None:
    """Write a data set as a repository of the hub: Parquet files and a card that names them."""
    source = TASKS[name].hub
    assert source is not None
    folder = root / source.path
    configs: dict[str, list[str]] = {}
    schema = pa.Table.from_pylist([row for rows in splits.values() for row in rows]).schema
    for (config, split), rows in splits.items():
        path = folder / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
        part = f"  - split: {split}\n    path: {config}/{split}-*\n"
        configs.setdefault(config, []).append(part)
    card = "".join(
        f"- config_name: {config}\n  data_files:\n{''.join(parts)}"
        for config, parts in configs.items()
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{card}---\n", encoding="utf-8")


@dataclass
class Hub:
    """A running stand-in with the client's home folder."""

    root: Path
    url: str
    home: Path

    def load(self, name: str, *, url: str | None = None, **options: Any) -> dict[str, Any]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment = inherited | {
            "HF_ENDPOINT": url or self.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", LOADER, name, json.dumps(options)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert "\n" not in answer.get("error", "")
        return answer

    def seen(self) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/seen") as answer:
            found: list[str] = json.load(answer)
            return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    started: list[ServerProcess] = []
    commits = {task.hub.path: task.hub.revision for task in TASKS.values() if task.hub}

    def start(*names: str, **config: Any) -> Hub:
        root = tmp_path / "hub"
        root.mkdir(exist_ok=True)
        for name in names:
            publish(root, name, SETS[name]())
        command = [sys.executable, str(SERVER), str(root)]
        process = ServerProcess(
            [*command, json.dumps({"commits": commits, **config})],
            log=tmp_path / f"hub-{len(started)}.log",
        )
        process.start()
        started.append(process)
        url = process.wait_ready(r"listening on (\S+)", 30)[1]
        return Hub(root, url, tmp_path / "home")

    yield start
    for process in started:
        process.stop()


@pytest.mark.parametrize(
    "name", [one if one == "mmlu" else pytest.param(one, marks=pytest.mark.slow) for one in SETS]
)
def test_the_hub_gives_the_same_items_as_the_authors_files(
    name: str, hub: Callable[..., Hub]
) -> None:
    served = hub(name)
    local = load_task(TASKS[name], data_dir=REAL_DATA)
    answer = served.load(name)
    source = TASKS[name].hub
    assert source is not None
    assert answer == {
        "items": len(local.items),
        "hash": local.content_hash,
        "revision": f"{source.path}@{source.revision}",
        "clusters": len({item.cluster for item in local.items}),
    }
    assert any(f"/resolve/{source.revision}/" in line for line in served.seen())


OF_THE_HUB = """
name = "dates"
axis = "utility"
grader = "freeform"
prompt = "{input}"
answer = "target"
[rows]
hub = "%s"
revision = "%s"
config = "date_understanding"
splits = ["test"]
"""


@pytest.mark.slow
def test_a_task_file_may_take_its_rows_from_the_hub(
    hub: Callable[..., Hub], tmp_path: Path
) -> None:
    served, source = hub("bbh"), TASKS["bbh"].hub
    assert source is not None
    path = tmp_path / "task_dates.pbias.toml"
    text = OF_THE_HUB % (source.path, source.revision)
    path.write_text(text)
    answer = served.load(str(path), split="test")
    authors = tmp_path / "task_file.pbias.toml"
    rows = f'[rows]\nfile = "{REAL_DATA}/bbh/date_understanding.json"\nfield = "examples"\n'
    authors.write_text(text.partition("[rows]")[0] + rows)
    local = load_task(read_task(authors))
    assert answer["items"] == len(local.items)
    assert answer["hash"] == local.content_hash
    assert answer["revision"] == f"{source.path}@{source.revision}"
    assert served.load(str(path), offline=True)["hash"] == local.content_hash
    path.write_text(text.replace("{input}", "{inputs}"))
    assert served.load(str(path))["error"] == (
        f"task.toml: prompt: hub set {source.path}@{source.revision[:8]} has no column 'inputs': "
        "did you mean 'input'?"
    )
    path.write_text(text.replace(source.path, "nobody/nothing"))
    gone = served.load(str(path))["error"]
    assert gone.startswith("task 'dates': hub set nobody/nothing@")
    assert "is not on the hub" in gone
    assert "folder" not in gone


def test_offline_reads_the_cache_and_asks_nobody(hub: Callable[..., Hub]) -> None:
    served = hub("gsm8k")
    assert (
        "is not in the hub's cache and may not be fetched offline"
        in (served.load("gsm8k", offline=True)["error"])
    )
    online = served.load("gsm8k")
    asked = len(served.seen())
    assert served.load("gsm8k", offline=True) == online
    assert len(served.seen()) == asked


def test_other_columns_are_refused_by_name(hub: Callable[..., Hub]) -> None:
    served = hub()
    rows = [{"question": "Q", "solution": "#### 1"}]
    publish(served.root, "gsm8k", {("main", "test"): rows})
    said = served.load("gsm8k")["error"]
    assert "openai/gsm8k@740312ad: column answer is missing" in said
    assert "(found: question, solution)" in said


def test_another_number_of_rows_is_refused(hub: Callable[..., Hub]) -> None:
    served = hub()
    publish(served.root, "gsm8k", {("main", "test"): SETS["gsm8k"]()[("main", "test")][:-1]})
    assert "split test: has 1318 rows, expected 1319" in served.load("gsm8k")["error"]


def test_other_content_under_the_same_revision_is_refused(hub: Callable[..., Hub]) -> None:
    served = hub("gsm8k")
    served.load("gsm8k")
    rows = SETS["gsm8k"]()[("main", "test")]
    changed = [{**rows[0], "answer": "#### 1"}, *rows[1:]]
    publish(served.root, "gsm8k", {("main", "test"): changed})
    for folder in ("hub", "datasets"):
        subprocess.run(["rm", "-r", str(served.home / folder)], check=True)
    said = served.load("gsm8k")["error"]
    assert "its content (SHA-256" in said
    assert "is not what was read before" in said


def test_a_passing_failure_is_retried(hub: Callable[..., Hub]) -> None:
    assert hub("gsm8k", fail_first=2).load("gsm8k")["items"] == 1319


def test_a_gated_set_says_what_to_do(hub: Callable[..., Hub]) -> None:
    served = hub("xstest", gated=["walledai/XSTest"])
    assert (
        "is gated: accept its terms on the hub and set HF_TOKEN" in served.load("xstest")["error"]
    )


def test_a_missing_set_and_a_missing_revision(hub: Callable[..., Hub]) -> None:
    served = hub(commits={})
    assert "is not on the hub: check HF_ENDPOINT" in served.load("gsm8k")["error"]


@pytest.mark.slow
def test_an_unreachable_hub_is_one_line(tmp_path: Path) -> None:
    nobody = Hub(tmp_path, "http://127.0.0.1:9", tmp_path / "home")
    assert "cannot be reached: check the network and HF_ENDPOINT" in nobody.load("gsm8k")["error"]
