"""Which harness wrote a file, and the logs in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_pbias.errors import DataError
from pytest_pbias.outcomes.importing.inspect_logs import read_inspect
from pytest_pbias.outcomes.importing.lm_eval_logs import read_lm_eval
from pytest_pbias.outcomes.importing.logged import AnswerLog, json_of_file, require_file
from pytest_pbias.outcomes.importing.long_tables import read_table
from pytest_pbias.outcomes.importing.mapping import Source
from pytest_pbias.outcomes.importing.promptfoo_logs import is_promptfoo, read_promptfoo

_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


def find_sources(texts: list[str]) -> list[Source]:
    """The logs that are meant: files, folders with logs, each perhaps after ``IDENTITY=``.

    Raises:
        DataError: there is no such file, or no log in a folder.
    """
    found: list[Source] = []
    for text in texts:
        identity, path = "", Path(text)
        if "=" in text and not _exists(path):
            identity, _, name = text.partition("=")
            path = Path(name)
        identity = " ".join(identity.split())
        if _exists(path) and path.is_dir():
            logs = sorted(path.rglob("samples_*.jsonl")) or sorted(path.rglob("*.eval"))
            logs = logs or sorted(path.glob("*.json"))
            if not logs:
                raise DataError(f"{path}: has no samples_*.jsonl, *.eval or *.json")
            found += [Source(log, identity) for log in logs]
        else:
            require_file(path)
            found.append(Source(path, identity))
    return found


def _exists(path: Path) -> bool:
    """Whether there is such a file; no system has one of an impossible name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_log(path: Path) -> AnswerLog:
    """The log in a file, of whichever harness wrote it.

    Raises:
        DataError: it is none, or damaged.
    """
    return _reader(path)(path)


def _reader(path: Path) -> Callable[[Path], AnswerLog]:
    if path.suffix == ".eval":
        return read_inspect
    if path.suffix in _TABLES:
        return read_lm_eval if path.name.startswith("samples_") else read_table
    if path.suffix != ".json":
        raise DataError(
            f"{path}: is none of .eval, .json, {', '.join(_TABLES)}, by its name: rename it"
        )
    document = json_of_file(path)
    if is_promptfoo(document):
        return read_promptfoo
    if "lm_eval_version" in document or "lm_eval" in document:
        raise DataError(f"{path}: has results only: give the samples_*.jsonl beside it")
    if "eval" in document and "version" in document:
        return read_inspect
    raise DataError(f"{path}: is no log of Inspect or promptfoo")
