"""``pbias report`` on a table of a million rows: ``python benchmarks/perf/report.py``.

35 identities x 8 tasks x 1,191 items x 3 repeats, every answer some 60 words long. Each form of the
report is a process of its own: wall time, CPU time and peak memory, everything from the start of
Python counted. ``--profile`` says where the time of the HTML report goes.

Measured on two shared cores, CPython 3.11; before is when the answers were read whole:

=========  =======  ======  ========  ==========  ==========
form       wall, s  CPU, s  peak, GB  CPU before  GB before
=========  =======  ======  ========  ==========  ==========
terminal       4.7     3.6      0.58         7.0        2.20
json           4.8     3.2      0.58         5.6        2.20
markdown       4.5     3.0      0.58         6.9        2.20
html          10.9     7.2      0.79        12.4        2.58
=========  =======  ======  ========  ==========  ==========

The target is 20 s and 2 GB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pytest_pbias.outcomes import SCHEMA, OutcomeTable, concatenate

IDENTITIES, ITEMS, RUNS = 35, 1191, 3
TASKS = (
    *((name, "utility") for name in ("mmlu", "gsm8k", "bbh", "mbpp", "xstest")),
    *((name, "safety") for name in ("do_not_answer", "strongreject", "advbench")),
)
FORMS = {
    "terminal": [],
    "json": ["--json", "out.json"],
    "markdown": ["--markdown", "out.md"],
    "html": ["--html", "out.html"],
}
WORDS = [f"word{number}" for number in range(5000)]


def task_table(task: str, axis: str, rng: np.random.Generator) -> OutcomeTable:
    """One task's rows; the last two identities are treated worse."""
    shape = (IDENTITIES, ITEMS, RUNS)
    count = int(np.prod(shape))
    who, item, run = (index.ravel() for index in np.indices(shape))
    share = np.where(who >= IDENTITIES - 2, 0.6, 0.85)
    score = (rng.random(count) < share).astype(float)
    labels = ("incorrect", "correct") if axis == "utility" else ("compliance", "refusal")
    kinds = ["baseline", "control", "control", *["identity"] * (IDENTITIES - 3)]
    names = ["baseline", "a person", "a user", *(f"identity {u}" for u in range(3, IDENTITIES))]
    chosen = rng.integers(0, len(WORDS), (count, 60))
    arrays = {
        "item_id": _coded(item, [f"{task}-{number:012x}" for number in range(ITEMS)]),
        "cluster": _coded(item // 5, [f"c{number}" for number in range(ITEMS // 5 + 1)]),
        "identity": _coded(who, names),
        "group": _coded(who, [kind.title() for kind in kinds]),
        "kind": _coded(who, kinds),
        "placement": _coded(np.minimum(who, 1), ["none", "system"]),
        "label": _coded(score.astype(int), list(labels)),
        "repeat": pa.array(run, pa.int32()),
        "seed": pa.array(run, pa.int64()),
        "score": pa.array(score),
        "parsable": pa.array(rng.random(count) < 0.98),
        "latency": pa.array(rng.random(count)),
        "prompt_tokens": pa.array(np.full(count, 120), pa.int32()),
        "completion_tokens": pa.array(np.full(count, 90), pa.int32()),
        "prompt_hash": pa.array([f"{number:064x}" for number in range(count)]),
        "request_key": pa.array([f"{number:064x}" for number in range(count)]),
        "response": pa.array([" ".join(WORDS[n] for n in row) for row in chosen]),
    }
    constants = {
        "run_id": "r", "model": "simulated", "served_identity": "weights", "task": task,
        "axis": axis, "data_revision": "r1", "data_hash": "d" * 64, "defense": "none",
        "finish_reason": "stop", "judge": "simulated", "judge_version": "1",
    }  # fmt: skip
    arrays |= {name: _coded(np.zeros(count, int), [text]) for name, text in constants.items()}
    numbers = {"floor": 0.0, "temperature": 1.0, "top_p": 1.0, "top_k": 10, "max_tokens": 300}
    columns = [
        arrays[field.name]
        if field.name in arrays
        else pa.array(np.full(count, numbers[field.name]), pa.float64()).cast(field.type)
        if field.name in numbers
        else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    return OutcomeTable(pa.Table.from_arrays(columns, schema=SCHEMA))


def _coded(codes: np.ndarray, values: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(values))


def measure(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak GB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    wall = time.perf_counter() - start
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def main() -> None:
    """Build the table, report it in every form, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--form", choices=FORMS, action="append", help="this form only")
    parser.add_argument("--table", type=Path, help="use this table; written where it is missing")
    parser.add_argument("--profile", action="store_true", help="profile the HTML report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = (options.table or folder / "run.parquet").resolve()
        if not path.exists():
            rng = np.random.default_rng(0)
            concatenate(task_table(task, axis, rng) for task, axis in TASKS).write(path)
        rows = IDENTITIES * ITEMS * RUNS * len(TASKS)
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB on disk")
        pbias = ["-m", "pytest_pbias.cli", "report", str(path)]
        if options.profile:
            profiled = ["-m", "cProfile", "-s", "cumtime", *pbias, *FORMS["html"]]
            subprocess.run([sys.executable, *profiled], cwd=folder, check=True)
            return
        for form in options.form or FORMS:
            wall, cpu, peak = measure([sys.executable, *pbias, *FORMS[form]], folder)
            print(f"{form:10} {wall:6.1f} s wall {cpu:6.1f} s CPU {peak:6.2f} GB peak", flush=True)


if __name__ == "__main__":
    main()
