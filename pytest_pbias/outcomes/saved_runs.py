"""Runs kept under ``.pbias/runs/``: numbered, named after model and commit, found again by name."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_pbias.errors import ConfigurationError, DataError, StoreError, near_matches
from pytest_pbias.outcomes.facts import SavedAs
from pytest_pbias.outcomes.table import OutcomeTable

DEFAULT_STORE = Path(".pbias")
LATEST = "latest"
LATEST_OF = "latest-of-"
_NUMBERED = re.compile(r"^(\d{4,})(?:-|$)")
_MOST_MODEL = 40
_MOST_NAMES = 6  # in an error


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A kept run, from its file name and metadata only.

    ``number`` is None for files that were put there under a name of their own. ``verdicts`` counts
    the cells by verdict; ``bias`` is the debiased PB by gate (``utility``, ``utility by profile``),
    percentage points.
    """

    path: Path
    number: int | None
    created: str = ""
    model: str = ""
    commit: str = ""
    tag: str = ""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    bias: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file name without its ending: ``0007-gpt-4o-mini-1a2b3c4d``."""
        return self.path.stem


def keep_run(
    table: OutcomeTable,
    store_dir: Path,
    *,
    model: str,
    commit: str = "",
    tag: str = "",
    verdicts: Mapping[str, int] | None = None,
    bias: Mapping[str, float] | None = None,
) -> Path:
    """Write a run's table under the next number and return its path.

    Sessions that end at the same time get different numbers.

    Raises:
        StoreError: the folder cannot be written.
    """
    folder = store_dir / "runs"
    kept = SavedAs(model, commit, tag, verdicts or {}, bias or {})
    try:
        number = _claim_number(folder)
        parts = [f"{number:04d}", _slug(model), _slug(commit)]
        path = folder / f"{'-'.join(part for part in parts if part)}.parquet"
        table.with_info(replace(table.info, kept=kept)).write(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"run folder {folder} cannot be written: {reason}") from None
    return path


def _claim_number(folder: Path) -> int:
    """The next free number, claimed by a file that only one process can create."""
    claims = folder / ".numbers"
    claims.mkdir(parents=True, exist_ok=True)
    taken = [number for number in map(_number_of, folder.glob("*.parquet")) if number is not None]
    taken += [int(claim.name) for claim in claims.iterdir() if claim.name.isdigit()]
    number = max(taken, default=0) + 1
    while True:
        try:
            os.close(os.open(claims / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            number += 1
        else:
            return number


def _number_of(path: Path) -> int | None:
    found = _NUMBERED.match(path.stem)
    return None if found is None else int(found[1])


def _slug(text: str) -> str:
    """The text as part of a file name on any system."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:_MOST_MODEL]


def current_commit(folder: Path) -> str:
    """The commit that is checked out in ``folder``, 8 digits; empty outside a repository."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=8", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("GITHUB_SHA", os.environ.get("CI_COMMIT_SHA", ""))[:8]
    return done.stdout.strip()


def list_runs(store_dir: Path = DEFAULT_STORE) -> tuple[RunRecord, ...]:
    """The kept runs, oldest first; files that are no outcome table are left out."""
    return tuple(sorted(_records(store_dir / "runs"), key=_age))


def _age(record: RunRecord) -> tuple[bool, int, str, str]:
    # Runs of versions that did not number theirs are older than any that has a number.
    return (record.number is not None, record.number or 0, record.created, record.name)


def _records(folder: Path) -> Iterator[RunRecord]:
    for path in folder.glob("*.parquet"):
        try:
            info = OutcomeTable.read_info(path)
        except DataError:
            continue
        kept = info.kept
        yield RunRecord(
            path=path,
            number=_number_of(path),
            created=info.created,
            model=kept.model,
            commit=kept.commit,
            tag=kept.tag,
            verdicts=kept.verdicts,
            bias=kept.bias,
        )


def find_run(name: str | Path, store_dir: Path = DEFAULT_STORE) -> Path:
    """The file of a run, by path, number, name, tag, ``latest`` or ``latest-of-MODEL``.

    A tag that several runs have, or a model, stands for the newest of them.

    Raises:
        ConfigurationError: nothing fits, and the message names what comes near; or the name, or
            the model's, is empty, as that of an unset variable.
    """
    text = str(name)
    if text in ("", LATEST_OF):
        raise ConfigurationError(
            f"no run {text!r}: a name is missing; give a number, a name, a tag, '{LATEST}', "
            f"'{LATEST_OF}MODEL' or a file"
        )
    path = Path(name)
    if _is_file(path):
        return path
    shown = repr(_shorten(text, 100))
    records = list_runs(store_dir)
    if not records:
        raise ConfigurationError(
            f"no run {shown}: there is no such file, and no run is kept in {store_dir / 'runs'}"
        )
    for record in reversed(records):
        if _fits(record, text):
            return record.path
    hint = near_matches(text, _names(records), most=_MOST_NAMES, rest="`pbias runs` lists all")
    raise ConfigurationError(f"no run {shown} in {store_dir / 'runs'}: {hint}")


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Every name that stands for a run, those of the newest first."""
    names = [LATEST]
    for record in reversed(records):
        names += [record.name]
        names += [record.tag] if record.tag else []
        names += [LATEST_OF + record.model] if record.model else []
    return list(dict.fromkeys(names))


def _is_file(path: Path) -> bool:
    """Whether there is such a file; no system has one of an impossible name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than file names may be, or with a null character
        return False


def _fits(record: RunRecord, text: str) -> bool:
    if text == LATEST or text in (record.name, record.tag):
        return True
    if text.isdecimal() and record.number is not None:
        # As text: Python refuses to read numbers of thousands of digits.
        return text.lstrip("0") == str(record.number).lstrip("0")
    return text.startswith(LATEST_OF) and text.removeprefix(LATEST_OF) == record.model


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
