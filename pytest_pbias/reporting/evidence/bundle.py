"""The bundle: a zip of everything, with the SHA-256 of each file, and what checks one."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_pbias.analysis.audit import TaskAudit
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.errors import DataError, PbiasError, inert, quoted
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.evidence.facts import LIMITS, evidence_facts
from pytest_pbias.reporting.evidence.model_card import card_section, eval_results, model_index
from pytest_pbias.reporting.evidence.sbom import environment_sbom
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.markdown import to_markdown

MANIFEST = "MANIFEST.sha256"
TABLE = "outcomes.parquet"
_REPORT, _FACTS = "report.json", "evidence.json"
_COMPUTED = ("verdicts", "levels", "impact_ratios")  # of the facts, from the table alone
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,60}")
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_MOST_FILES = 50
_MOST_BYTES = 4 * 2**30  # unpacked
_MOST_TIMES = 100  # of the bundle's size, where it unpacks to more than
_FEW_BYTES = 64 * 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the library raises of bytes that are no zip, or are one that was damaged.
_UNREADABLE = (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zlib.error)
_TEXTS = ("response", "reasoning")
_FIRST_YEAR = 1980  # that a zip can name


def make_bundle(
    table: OutcomeTable,
    summary: RunSummary,
    *,
    seed: int,
    audits: Sequence[TaskAudit] | None = None,
    answers: bool = False,
) -> bytes:
    """The bundle of a run; the same run in the same environment gives the same bytes.

    The outcome table has the answers only with ``answers``; everything that is computed from it
    needs none.

    Raises:
        ConfigurationError: the CycloneDX library is not installed.
    """
    created = _moment(table.info.created)
    kept = table if answers else _without_answers(table)
    facts = evidence_facts(summary, table, audits, seed=seed, answers=answers)
    files = {
        _FACTS: _json(facts),
        _REPORT: _json(to_json(summary)),
        **_words(summary, table),
        "sbom.cdx.json": environment_sbom(created).encode(),
        TABLE: _parquet(kept),
    }
    return _packed(files, created)


def _words(summary: RunSummary, table: OutcomeTable) -> dict[str, bytes]:
    """The files that say for people and cards what the report says in figures."""
    return {
        "report.md": to_markdown(summary).encode(),
        "model-card.md": card_section(summary, LIMITS).encode(),
        "model-index.yaml": model_index(summary).encode(),
        "eval-results.yaml": eval_results(summary, table.info.created).encode(),
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _moment(created: str) -> datetime.datetime:
    """When the run was made; the earliest that a zip can name where that is not noted."""
    try:
        found = datetime.datetime.fromisoformat(created)
    except ValueError:
        found = datetime.datetime(_FIRST_YEAR, 1, 1)
    if found.year < _FIRST_YEAR:
        found = found.replace(year=_FIRST_YEAR)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _without_answers(table: OutcomeTable) -> OutcomeTable:
    """The table without what the model wrote, and without the questions kept beside it."""
    import pyarrow as pa

    rows = table.arrow
    for name in _TEXTS:
        index = rows.schema.get_field_index(name)
        if index >= 0:
            rows = rows.set_column(index, name, pa.nulls(len(rows), pa.string()))
    return OutcomeTable(rows).with_info(replace(table.info, questions={}))


def _parquet(table: OutcomeTable) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TABLE
        table.write(path)
        return path.read_bytes()


def _packed(files: Mapping[str, bytes], created: datetime.datetime) -> bytes:
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    everything = {**files, MANIFEST: "".join(lines).encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(everything):
            entry = zipfile.ZipInfo(name, created.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, everything[name])
    return out.getvalue()


def verify_bundle(path: Path) -> tuple[str, ...]:
    """What was checked of a bundle, a line each: its files, and its figures computed again.

    Raises:
        DataError: it is no bundle, a file differs from the manifest, or the table gives other
            figures than the report.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = _unpacked(archive, path)
    except _UNREADABLE as error:
        raise DataError(f"{path}: no bundle that can be read: {inert(str(error))}") from None
    names = _check_manifest(files, path)
    return (f"{len(names)} files are as the manifest says", _check_figures(files, path))


def _unpacked(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_FILES or size > _MOST_BYTES:
        raise DataError(f"{path}: holds more than a bundle can")
    if size > max(_FEW_BYTES, _MOST_TIMES * path.stat().st_size):
        raise DataError(f"{path}: unpacks to {size:,} bytes, many times what a bundle does")
    files = {}
    for entry in entries:
        if _NAME.fullmatch(entry.filename.lower()) is None:
            raise DataError(f"{path}: {quoted(entry.filename)} is no file of a bundle")
        if entry.filename in files:
            raise DataError(f"{path}: {entry.filename} is there twice")
        if entry.compress_type not in _METHODS:
            raise DataError(f"{path}: {entry.filename} is packed as in no bundle")
        with archive.open(entry) as stream:
            files[entry.filename] = stream.read(entry.file_size + 1)
    return files


def _check_manifest(files: Mapping[str, bytes], path: Path) -> list[str]:
    if MANIFEST not in files:
        raise DataError(f"{path}: has no {MANIFEST}")
    listed = {}
    for line in files[MANIFEST].decode("ascii", "replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found[2] in listed:
            raise DataError(f"{path}: {MANIFEST} has the line {quoted(line)}")
        listed[found[2]] = found[1]
    missing = sorted({*listed, _FACTS, _REPORT, TABLE} - files.keys())
    if missing:
        raise DataError(f"{path}: {missing[0]} is missing")
    for name in sorted(files.keys() - {MANIFEST}):
        if name not in listed:
            raise DataError(f"{path}: {name} is not in the manifest")
        if hashlib.sha256(files[name]).hexdigest() != listed[name]:
            raise DataError(f"{path}: {name} is not what it was: its SHA-256 differs")
    return sorted(listed)


def _check_figures(files: Mapping[str, bytes], path: Path) -> str:
    """Compute the report's statistics from the table again."""
    try:
        facts, report = (json.loads(files[name]) for name in (_FACTS, _REPORT))
        seed, said = int(facts["seed"]), report["statistics"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f"{path}: {_FACTS} or {_REPORT} is not of this format") from None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / TABLE
        copy.write_bytes(files[TABLE])
        try:
            table = OutcomeTable.read(copy)
            policy = replace(GatePolicy.of_run(table.info), **_given(said))
            summary = summarize(table, policy, seed=seed)
        except PbiasError as error:
            raise DataError(f"{path}: {str(error).replace(folder, '')}") from None
    made_by = inert(str(facts.get("made_by", "")))[:60]
    found = evidence_facts(summary, table, None, seed=seed, answers=False)
    for name, told, computed in (
        (_REPORT, said, to_json(summary)["statistics"]),
        *((_FACTS, facts.get(part), found[part]) for part in _COMPUTED),
    ):
        if json.loads(json.dumps(computed)) != told:
            raise DataError(
                f"{path}: the table gives other figures than {name} (made by {made_by or 'nobody'})"
            )
    if made_by == found["made_by"]:  # another version may say the same in other words
        for name, text in _words(summary, table).items():
            if name in files and files[name] != text:
                raise DataError(f"{path}: the table gives another {name}")
    return f"{len(table):,} outcomes give the figures of {_REPORT} again"


def _given(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """What of the report's policy may be another than the run's own."""
    policy = statistics.get("policy")
    if not isinstance(policy, Mapping):
        return {}
    reference, joint = policy.get("reference"), policy.get("joint")
    found: dict[str, Any] = {"reference": reference} if isinstance(reference, str) else {}
    if isinstance(joint, list) and all(isinstance(name, str) for name in joint):
        found["joint"] = tuple(joint)
    return found
