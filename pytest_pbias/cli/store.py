"""Look after the store of responses: list, verify, clean up, export."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_pbias.cli.arguments import add_option
from pytest_pbias.collecting.store import Store
from pytest_pbias.collecting.waiting import owner_alive
from pytest_pbias.errors import ConfigurationError, StoreError
from pytest_pbias.files.writing import whole_file
from pytest_pbias.outcomes.saved_runs import list_runs

_CHUNK = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    shared = argparse.ArgumentParser(add_help=False)
    add_option(shared, "store", help="folder of the store")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=argparse.ArgumentParser
    )
    actions.add_parser("ls", parents=[shared], help="what is stored, and which runs use it")
    actions.add_parser("verify", parents=[shared], help="check the hash of every record")
    gc = actions.add_parser("gc", parents=[shared], help="delete responses that no kept run uses")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    export = actions.add_parser("export", parents=[shared], help="write every response to a file")
    export.add_argument("file", type=Path, help="FILE.jsonl or FILE.parquet")


def run(options: argparse.Namespace) -> int:
    """Run the action; ``verify`` ends with 1 where something was damaged.

    Raises:
        ConfigurationError: there is no store, or the file's ending is unknown.
        StoreError: the store cannot be read or written.
    """
    path = options.store / "responses.sqlite"
    if not path.is_file():
        raise ConfigurationError(f"there is no store at {path}; give its folder with --store")
    store = Store(path, read_only=options.action in ("ls", "export"))
    try:
        if options.action == "ls":
            return _list(store, options.store)
        if options.action == "verify":
            return _verify(store)
        if options.action == "gc":
            return _collect_garbage(store, options.store, dry_run=options.dry_run)
        return _export(store, options.file)
    finally:
        store.close()
        for notice in store.notices:
            print(notice, file=sys.stderr)


def _list(store: Store, folder: Path) -> int:
    counts = store.counts()
    size = store.path.stat().st_size / 1e6
    print(f"{store.path}: {counts['responses']:,} responses, {counts['grades']:,} grades, "
          f"{size:,.1f} MB")  # fmt: skip
    if counts["quarantine"]:
        print(f"{counts['quarantine']:,} damaged records set aside")
    replies = folder / "judgements.sqlite"
    if replies.is_file():
        print(f"{replies}: {_count(replies):,} replies of judging models, which gc leaves alone")
    used: set[str] = set()
    for name, keys in _keys_by_run(folder):
        if keys is None:
            print(f"  run {name}: cannot be read, so that it is not known what it uses")
            continue
        stored = len(keys) - len(store.missing(keys))
        used |= keys
        print(f"  run {name}: uses {len(keys):,} responses, {stored:,} of them here")
    stored_keys = store.keys()
    unused = sum(key not in used for key in stored_keys)
    print(f"{unused:,} responses are used by no kept run (pbias store gc deletes them)")
    return 0


def _count(path: Path) -> int:
    store = Store(path, read_only=True)
    try:
        return store.count()
    finally:
        store.close()


def _verify(store: Store) -> int:
    damaged = store.verify()
    left = store.count()
    if damaged or store.notices:
        print(f"{damaged:,} damaged records were set aside, {left:,} responses are intact; "
              "run again to ask for what is missing")  # fmt: skip
        return 1
    print(f"{left:,} responses, every record is intact")
    return 0


def _collect_garbage(store: Store, folder: Path, *, dry_run: bool) -> int:
    running = [owner for owner in store.get_collectors() if owner_alive(owner)]
    if running and not dry_run:
        raise StoreError(f"store {store.path}: a run is asking; wait for its end, then clean up")
    used: set[str] = set()
    runs = 0
    for name, keys in _keys_by_run(folder):
        if keys is None:
            raise StoreError(
                f"run {folder / 'runs' / name}.parquet cannot be read, so that the answers it uses "
                "would be deleted; nothing was: restore the file, or move it elsewhere"
            )
        used |= keys
        runs += 1
    stored_keys = store.keys()
    unused = [key for key in stored_keys if key not in used]
    verb = "would be deleted" if dry_run else "deleted"
    if unused and not dry_run:
        store.delete_many(unused)
    print(f"{len(unused):,} responses that none of {runs:,} kept runs uses {verb}")
    return 0


def _keys_by_run(folder: Path) -> Iterator[tuple[str, set[str] | None]]:
    """Each kept run with the keys of its answers; None where its file cannot be read."""
    paths = [record.path for record in list_runs(folder)]
    paths += sorted(set((folder / "runs").glob("*.parquet")).difference(paths))
    for path in paths:
        try:
            column = pq.read_table(path, columns=["request_key"]).column("request_key")
        except (OSError, KeyError, pa.ArrowException):
            yield path.stem, None
        else:
            yield path.stem, {key for key in column.to_pylist() if key is not None}


def _export(store: Store, file: Path) -> int:
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if file.suffix not in writers:
        raise ConfigurationError(f"{file}: name the file .jsonl or .parquet")
    try:
        with whole_file(file) as partial:
            count = writers[file.suffix](store, partial)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror or error}") from None
    print(f"{count:,} responses written to {file}")
    return 0


def _rows(store: Store) -> Iterator[list[dict[str, object]]]:
    """Every intact response as plain rows, in chunks."""
    keys = store.keys()
    while chunk := list(islice(keys, _CHUNK)):
        found = store.get_many(chunk)
        rows = [asdict(found[key]) for key in chunk if key in found]
        for row in rows:
            for name in ("text", "finish_reason"):
                row[name] = str(row[name]).encode("utf-8", "replace").decode()
        yield rows


def _write_jsonl(store: Store, file: Path) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as stream:
        for rows in _rows(store):
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += len(rows)
    return count


def _write_parquet(store: Store, file: Path) -> int:
    schema = pa.schema(
        [
            ("key", pa.string()),
            ("text", pa.string()),
            ("finish_reason", pa.string()),
            ("prompt_tokens", pa.int64()),
            ("completion_tokens", pa.int64()),
            ("latency", pa.float64()),
            ("reasoning", pa.string()),
            ("reasoning_tokens", pa.int64()),
        ]
    )
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _rows(store):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count
