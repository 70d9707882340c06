"""Whether two outcome tables say the same: ``python outcomes_alike.py BEFORE AFTER``.

For a change that must not change figures: run the suite with the old and the new version, each with
an empty store, and compare the tables. Rows are paired by what was asked of whom; what differs is
counted by column, with an example. Exit code 0 where nothing does, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

KEY = ("model", "task", "item_id", "identity", "placement", "defense", "repeat")
COMPARED = ("response", "score", "label", "parsable", "cluster", "group", "prompt_hash", "seed",
            "finish_reason", "judge", "error")  # fmt: skip
# Names of a column in older schemas.
ELDER = {"repeat": "run"}


def rows(path: str) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """The rows of a table by their key.

    Raises:
        SystemExit: two rows have one key.
    """
    table = pq.read_table(path)
    named = {new: old for new, old in ELDER.items() if new not in table.column_names}
    key = [named.get(name, name) for name in KEY]
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in table.to_pylist():
        of_row = tuple(row.get(name) for name in key)
        if of_row in found:
            raise SystemExit(f"{path}: two rows for {of_row}")
        found[of_row] = row
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("before")
    parser.add_argument("after")
    options = parser.parse_args(arguments)
    before, after = rows(options.before), rows(options.after)
    if not before or not after:
        raise SystemExit("a table without rows is like no other")
    both = before.keys() & after.keys()
    columns = [
        name
        for name in COMPARED
        if any(name in next(iter(side.values())) for side in (before, after))
    ]
    differing: Counter[str] = Counter()
    for key in sorted(both, key=str):
        for name in columns:
            old, new = before[key].get(name), after[key].get(name)
            if old != new:
                if not differing[name]:
                    print(f"{name}: {' / '.join(map(str, key))}: {old!r} before, {new!r} after")
                differing[name] += 1
    lost, won = len(before.keys() - both), len(after.keys() - both)
    print(f"{len(both):,} rows in both, {lost:,} only before, {won:,} only after")
    print("compared: " + ", ".join(columns))
    print("differ: " + (", ".join(f"{n} {c}" for n, c in differing.items()) or "none"))
    return int(bool(differing or lost or won))


if __name__ == "__main__":
    sys.exit(main())
