"""Keep runs for the public results page, without a word that was asked or answered.

    python docs/results/keep.py .pbias/runs/0007-gpt-4o-mini-1a2b3c4d.parquet ...

The copies in ``docs/results/runs/`` have the scores and what the run says of itself. Questions,
answers, reasoning, reviews of other judges, errors and times are left out, hashes of prompts are
shortened: enough to tell prompts apart, and a tenth of the size.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.spool import LONG

RUNS = Path(__file__).parent / "runs"
LEFT_OUT = (*LONG, "reasoning", "other_grades", "error", "latency")
_DIGITS = 8  # of a hash: 32 bits tell the prompts of a run apart


def without_texts(path: Path) -> OutcomeTable:
    """The run's table with its scores, and what the run says of itself.

    Raises:
        DataError: it cannot be read.
    """
    table = OutcomeTable.read(path, leave_out=LONG)
    rows = table.arrow
    for name in LEFT_OUT:
        rows = _changed(rows, name, pa.nulls(len(rows), rows.schema.field(name).type))
    rows = _changed(rows, "prompt_hash", pc.utf8_slice_codeunits(rows["prompt_hash"], 0, _DIGITS))
    return OutcomeTable(rows).with_info(replace(table.info, questions={}))


def _changed(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)


def main(paths: Sequence[str]) -> None:
    """Write the copies."""
    for path in map(Path, paths):
        without_texts(path).write(RUNS / path.name)
        print(f"{RUNS / path.name}: {(RUNS / path.name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
