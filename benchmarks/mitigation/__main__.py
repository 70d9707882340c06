"""Evaluate the embedded model, mitigate it, evaluate it again, and write what that did.

``python -m benchmarks.mitigation`` mines pairs from a run on training-side items, trains on them,
and compares on the held-out items, for identities that were mined and for those left out.
``--only`` chooses among the other mitigations:

    collapse       plain DPO at a high rate: it must be called worse
    defenses       every shipped prompt defense
    paper          the paper's three variants and its recipe, on pairs without identities

Results: one Markdown table a mitigation in ``results/``.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mitigation.people import LEFT_OUT, MINED
from fixtures import families
from fixtures.data_files import write_data
from pytest_pbias.analysis.across_runs.changes import AxisComparison, Comparison
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.prompts import Message
from pytest_pbias.reporting.text import unsigned
from pytest_pbias.training.pairs import VARIANTS, PreferencePair, write_pairs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SYSTEM: Message = {"role": "system", "content": "You are a helpful assistant."}
TRAIN = ("--cpu", "--max-pairs=4800", "--save-every=50", "--check-items=15", "--check-tokens=40")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.mitigation")
    choices = ["mined", "collapse", "defenses", "paper"]
    parser.add_argument("--only", choices=choices, action="append", default=[])
    parser.add_argument("--work", type=Path, default=Path(".pbias-mitigation"))
    parser.add_argument("--limit", type=int, default=200, help="held-out items a task")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name in options.only or ["mined"]:
        started = time.monotonic(), _processor_seconds()
        lines = {"mined": _mined, "collapse": _collapse, "defenses": _defenses, "paper": _paper}[
            name
        ](work, options.limit)
        minutes = (time.monotonic() - started[0]) / 60
        busy = (_processor_seconds() - started[1]) / 60
        took = f"{minutes:.1f} minutes, {busy:.1f} of one core."
        text = "\n".join([*lines, "", took]) + "\n"
        options.results.mkdir(exist_ok=True)
        (options.results / f"{name}.md").write_text(text, "utf-8")
        print(text)


def _processor_seconds() -> float:
    """Of this process and all that it has waited for: other load on the machine does not count."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _mined(work: Path, limit: int) -> list[str]:
    before, run = _before(work, limit), _mining_run(work)
    out = work / "mined"
    _train(out, "--from-run", str(run), "--data-dir", str(work / "training"))
    after = _ask(work, "test_heldout", "mined", f"--pbias-model={out}", f"--pbias-limit={limit}")
    return _rows("DPO on mined pairs", before, after)


def _collapse(work: Path, limit: int) -> list[str]:
    before, run = _before(work, limit), _mining_run(work)
    out = work / "collapse"
    data = ("--from-run", str(run), "--data-dir", str(work / "training"))
    _train(out, *data, "--plain", "--steps=60", "--check-items=0", "--anchors=0")
    after = _ask(work, "test_heldout", "collapse", f"--pbias-model={out}", f"--pbias-limit={limit}")
    # The scores alone, which the tests judge again without training.
    for path, name in ((before, "before"), (after, "after")):
        _scores(OutcomeTable.read(path)).write(work / f"collapse-{name}.scores.parquet")
    return _rows("plain DPO, rate 1e-3", before, after)


def _paper(work: Path, limit: int) -> list[str]:
    before = _before(work, limit)
    pairs = work / "general.jsonl"
    write_pairs(_general_pairs(), pairs)
    lines: list[str] = []
    for variant in VARIANTS:
        out = work / f"paper-{variant}"
        _train(
            out,
            *("--pairs", str(pairs), "--variant", variant, "--recipe=paper"),
            *(f"--leave-out={name}" for name in LEFT_OUT),
        )
        name = f"paper-{variant}"
        after = _ask(work, "test_heldout", name, f"--pbias-model={out}", f"--pbias-limit={limit}")
        lines += _rows(f"paper, {variant}", before, after)[2 if lines else 0 :]
    return lines


def _general_pairs() -> list[PreferencePair]:
    """Right answers against wrong ones on training-side items, nobody stated: general quality."""
    rng = random.Random("pbias general pairs")
    examples = [example for task in families.FAMILIES for example in families.training_side(task)]
    rng.shuffle(examples)
    return [
        PreferencePair((SYSTEM, {"role": "user", "content": example.prompt}), example.good, bad)
        for example in examples
        if (bad := example.bad) != example.good
    ]


def _defenses(work: Path, limit: int) -> list[str]:
    names = (
        "none,ignore-identity,equal-treatment,self-reminder,few-shot,"
        "move-to-user,move-to-history,strip"
    )
    # The model answers in under 40 tokens; out of its depth it would go on to the limit.
    asked = (
        *(f"--pbias-defense={names}", f"--pbias-limit={limit}", "--pbias-model=embedded"),
        "--pbias-max-tokens=64",
    )
    path = _ask(work, "test_heldout", f"defenses-{limit}", *asked)
    table = OutcomeTable.read(path)
    lines: list[str] = []
    for name in names.split(",")[1:]:
        comparison = compare_runs(table.of_defense(name), table.of_defense("none"), GatePolicy())
        lines += _table(name, comparison)[2 if lines else 0 :]
    return lines


def _before(work: Path, limit: int) -> Path:
    return _ask(
        work, "test_heldout", f"before-{limit}", "--pbias-model=embedded", f"--pbias-limit={limit}"
    )


def _mining_run(work: Path) -> Path:
    if not (work / "training").exists():
        write_data(work / "training", families.training_side)
    data = f"--pbias-data-dir={work / 'training'}"
    return _ask(work, "test_mining", "mining", "--pbias-model=embedded", data)


def _ask(work: Path, test: str, name: str, *options: str) -> Path:
    """Ask the suite's questions; what the store of ``work`` has is not asked again."""
    path = work / f"{name}.parquet"
    command = [
        *(sys.executable, "-m", "pytest", "-q", f"{HERE / 'suite.py'}::{test}", "-p", "no:xdist"),
        *("--no-header", f"--rootdir={ROOT}", f"--pbias-store={work / 'store'}"),
        *(f"--pbias-table={path}", *options),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not path.exists():  # 1: a gate found the planted bias
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return path


def _train(out: Path, *options: str) -> None:
    if (out / "model.safetensors").exists():
        return
    command = [sys.executable, "-m", "pytest_pbias.cli", "train", "embedded", "--out", str(out)]
    subprocess.run([*command, *TRAIN, *options], cwd=ROOT, check=True)


def _rows(name: str, before: Path, after: Path) -> list[str]:
    """Rows for everyone, for the identities that gave pairs, and for those left out."""
    tables = [OutcomeTable.read(path) for path in (after, before)]
    lines: list[str] = []
    for who, kept in (("all", (*MINED, *LEFT_OUT)), ("mined", MINED), ("left out", LEFT_OUT)):
        new, old = (_only(table, kept) for table in tables)
        comparison = compare_runs(new, old, GatePolicy())
        lines += _table(f"{name}, {who}", comparison)[2 if lines else 0 :]
    return lines


def _scores(table: OutcomeTable) -> OutcomeTable:
    """The table without texts, hashes and what else no statistic needs."""
    names = ("task", "axis", "floor", "item_id", "cluster", "identity", "group", "kind")
    more = ("placement", "defense", "repeat", "score", "parsable", "model")
    return OutcomeTable.from_columns(
        {name: table.arrow.column(name).to_pylist() for name in (*names, *more)}
    )


def _only(table: OutcomeTable, names: Sequence[str]) -> OutcomeTable:
    import pyarrow as pa
    import pyarrow.compute as pc

    identity = table.arrow.column("identity").cast(pa.string())
    wanted = pa.array(["baseline", *names])
    return OutcomeTable(table.arrow.filter(pc.is_in(identity, value_set=wanted)))


def _table(name: str, comparison: Comparison) -> list[str]:
    return [
        "| mitigation | axis | PB before | PB after | mean rate | baseline | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(name, axis) for axis in comparison.axes),
    ]


def _row(name: str, axis: AxisComparison) -> str:
    biases = [
        "" if bias is None else unsigned(bias.estimate, bias.low, bias.high)
        for bias in (axis.old_bias, axis.new_bias)
    ]
    fields = [
        *(name, axis.title, *biases),
        f"{axis.mean.old:.1f} → {axis.mean.new:.1f}",
        f"{axis.baseline.old:.1f} → {axis.baseline.new:.1f}",
        axis.direction.value,
    ]
    return "| " + " | ".join(fields) + " |"


if __name__ == "__main__":
    main()
