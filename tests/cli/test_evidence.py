"""``pbias evidence``: what is in the bundle, that it is sealed, and bad bundles in one line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_pbias.cli import main
from pytest_pbias.errors import DataError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting.evidence import verify_bundle
from tests.analysis.conftest import Maker

pytest.importorskip("cyclonedx", reason="needs pytest-pbias[evidence]")

HOSTILE = "<img src=x>\x1b[31m\n::error::|`x`"
MMLU = "c30699e8356da336a370243923dbaf21066bb9fe"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A biased run with answers and a tag; its model has a hostile name."""
    folder = tmp_path_factory.mktemp("store")
    table = Maker().table(
        {"do_not_answer/a man": 0.6},
        n_items=150,
        model=HOSTILE,
        response="the secret answer",
        reasoning="the secret thought",
        label="x",
        run_id="r",
        data_revision=MMLU,
        info={"created": "2026-11-01T10:00:00+00:00", "versions": {"pytest-pbias": "0.1.0"},
              "questions": {"mmlu": {"mmlu1": "the secret question"}}},
    )  # fmt: skip
    keep_run(table, folder, model=HOSTILE, tag="v1")
    return folder


@pytest.fixture(scope="module")
def bundle(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "out.zip"
    assert main(["evidence", "v1", str(path), "--store", str(store)]) == 0
    return path


def _files(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _sealed(files: Files) -> Files:
    """The files under a manifest of their own: as by somebody who forges all of it."""
    rest = {name: content for name, content in files.items() if name != "MANIFEST.sha256"}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in rest.items()]
    return rest | {"MANIFEST.sha256": "".join(lines).encode()}


def test_the_bundle_says_what_was_asked_and_found(bundle: Path) -> None:
    files = _files(bundle)
    facts = json.loads(files["evidence.json"])
    assert {one["identity"] for one in facts["asked"]["identities"]} == {
        "baseline", "a person", "a man", "a woman", "a nurse",
    }  # fmt: skip
    tasks = {one["task"]: one for one in facts["asked"]["tasks"]}
    assert tasks["do_not_answer"]["licence"] == "CC BY-NC-SA 4.0"
    assert tasks["mmlu"] | {"items": 150, "data_hash": "d", "different_chats": 750} == tasks["mmlu"]
    assert {one["axis"]: one["verdict"] for one in facts["verdicts"]}["safety"] == "fail"
    assert facts["levels"] == {"alpha": 0.05, "cells_that_share_it": 8, "mode": "detect"}
    assert facts["judge_audit"] is None
    assert facts["recorded_versions"] == {"pytest-pbias": "0.1.0"}
    ratios = {
        (row["task"], row["identity"]): row["impact_ratio"]
        for row in facts["impact_ratios"]["rows"]
    }
    assert ratios["do_not_answer", "a man"] < 0.8
    assert max(ratios.values()) == 1
    everything = b"\n".join(files.values())
    assert b"the secret" not in everything
    assert b"\x1b[31m" not in files["model-card.md"] + files["report.md"]
    assert b"<img" not in files["model-card.md"] + files["report.md"]
    table = OutcomeTable.read(_unzipped(bundle, "outcomes.parquet"))
    assert set(table.arrow["response"].to_pylist()) == {None}


def _unzipped(bundle: Path, name: str) -> Path:
    with zipfile.ZipFile(bundle) as archive:
        return Path(archive.extract(name, bundle.parent))


def test_cards_are_as_the_hub_reads_them(bundle: Path) -> None:
    from huggingface_hub import ModelCard, parse_eval_result_entries

    files = _files(bundle)
    card = ModelCard(
        f"---\n{files['model-index.yaml'].decode()}---\n{files['model-card.md'].decode()}"
    )
    found = {(one.dataset_type, one.metric_type): one for one in vars(card.data)["eval_results"]}
    assert found["do_not_answer", "personalization_bias"].metric_value > 5
    assert found["do_not_answer", "personalization_bias"].metric_args["low"] > 0
    assert ("mmlu", "mean_rate") in found
    entries = parse_eval_result_entries(json.loads(files["eval-results.yaml"]))
    assert [one.dataset_id for one in entries] == ["cais/mmlu"], "other data is no result of it"
    assert entries[0].dataset_revision == MMLU


def test_the_sbom_fits_the_schema_and_has_what_is_installed(bundle: Path) -> None:
    sbom = json.loads(_files(bundle)["sbom.cdx.json"])
    assert sbom["specVersion"] == "1.6"
    assert sbom["metadata"]["component"]["name"] == "pytest-pbias"
    names = {one["name"]: one["version"] for one in sbom["components"]}
    assert names["numpy"]
    assert names["pytest"] == pytest.__version__
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.schema._res import BOM_JSON_STRICT, JSF, SPDX_JSON  # its own, without network

    assert SchemaVersion.V1_6 in BOM_JSON_STRICT
    from cyclonedx.validation.json import JsonStrictValidator

    with contextlib.suppress(MissingOptionalDependencyException):  # jsonschema's extra "format"
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom)) is None
    import referencing

    schema, jsf, spdx = (
        json.loads(Path(str(path)).read_text())
        for path in (BOM_JSON_STRICT[SchemaVersion.V1_6], JSF, SPDX_JSON)
    )
    registry: Any = referencing.Registry().with_resources(
        [
            (f"{base}{name}.SNAPSHOT.schema.json", referencing.Resource.from_contents(one))
            for base in ("", "http://cyclonedx.org/schema/")
            for name, one in (("jsf-0.82", jsf), ("spdx", spdx))
        ]
    )
    jsonschema.Draft7Validator(schema, registry=registry).validate(sbom)


def test_it_is_verified_and_the_same_every_time(
    bundle: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "--verify", str(bundle)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "8 files are as the manifest says",
        "1,500 outcomes give the figures of report.json again",
    ]
    again = tmp_path / "again.zip"
    assert main(["evidence", "1", str(again), "--store", str(store)]) == 0
    assert again.read_bytes() == bundle.read_bytes()
    with_answers = tmp_path / "answers.zip"
    words = ["evidence", "1", str(with_answers), "--store", str(store), "--answers"]
    assert main([*words, "--reference", "control", "--seed", "7"]) == 0
    assert main(["evidence", "--verify", str(with_answers)]) == 0
    table = OutcomeTable.read(_unzipped(with_answers, "outcomes.parquet"))
    assert set(table.arrow["response"].to_pylist()) == {"the secret answer"}
    if shutil.which("sha256sum"):
        folder = tmp_path / "unpacked"
        zipfile.ZipFile(bundle).extractall(folder)
        subprocess.run(["sha256sum", "-c", "--quiet", "MANIFEST.sha256"], cwd=folder, check=True)


def test_the_audit_of_the_judge_is_in_it(store: Path, tmp_path: Path) -> None:
    sample, out = tmp_path / "sample.csv", tmp_path / "out.zip"
    common = ["--store", str(store)]
    assert main(["audit", "1", "--sample", "60", "--out", str(sample), "--no-questions",
                 *common]) == 0  # fmt: skip
    import csv

    rows = list(csv.DictReader(io.StringIO(sample.read_text())))
    for number, row in enumerate(rows):
        good = ("safe", "unsafe") if row["task"] == "do_not_answer" else ("correct", "incorrect")
        row["label"] = good[number % 7 == 0]
    with sample.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main(["evidence", "1", str(out), "--labels", str(sample), *common]) == 0
    (first, *_) = json.loads(_files(out)["evidence.json"])["judge_audit"]
    assert first["labels"]


def _changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    return lambda files: files | {name: change(files[name])}


def _says_pass(content: bytes) -> bytes:
    facts = json.loads(content)
    facts["verdicts"][1]["verdict"] = "pass"
    return json.dumps(facts).encode()


def _lie(content: bytes) -> bytes:
    report = json.loads(content)
    report["statistics"]["gates"][1]["verdict"] = "pass"
    return json.dumps(report).encode()


def _less_biased(content: bytes) -> bytes:
    """The table with every score of a man made right."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pq.read_table(pa.BufferReader(content))
    index = rows.schema.get_field_index("score")
    better = pc.if_else(pc.equal(rows["identity"].cast(pa.string()), "a man"), 1.0, rows["score"])
    changed = rows.set_column(index, rows.schema.field("score"), better.cast(pa.float64()))
    out = pa.BufferOutputStream()
    pq.write_table(changed, out)
    return bytes(out.getvalue())


BAD: dict[str, tuple[Callable[[Files], Files], str]] = {
    "a figure": (_changed("report.json", _lie), "report.json is not what it was"),
    "a figure, sealed anew": (
        lambda files: _sealed(_changed("report.json", _lie)(files)),
        "the table gives other figures than report.json",
    ),
    "a fact, sealed anew": (
        lambda files: _sealed(_changed("evidence.json", _says_pass)(files)),
        "the table gives other figures than evidence.json",
    ),
    "facts of nothing, sealed anew": (
        lambda files: _sealed(files | {"evidence.json": b'{"seed": 0}'}),
        "the table gives other figures than evidence.json",
    ),
    "a card, sealed anew": (
        lambda files: _sealed(_changed("model-card.md", lambda text: text + b"Fair.")(files)),
        "the table gives another model-card.md",
    ),
    "a table of other answers, sealed anew": (
        lambda files: _sealed(_changed("outcomes.parquet", _less_biased)(files)),
        "the table gives other figures than report.json",
    ),
    "a hash in the manifest": (
        _changed("MANIFEST.sha256", lambda text: b"0" * 64 + text[64:]),
        "is not what it was: its SHA-256 differs",
    ),
    "a manifest that says two things of a file": (
        _changed("MANIFEST.sha256", lambda text: b"0" * 64 + b"  report.json\n" + text),
        "has the line",
    ),
    "a file less and its line": (
        lambda files: _sealed({name: one for name, one in files.items() if "report.j" not in name}),
        "report.json is missing",
    ),
    "an absolute way out": (lambda files: files | {"/tmp/x": b"x"}, "is no file of a bundle"),
    "a way out backwards": (lambda files: files | {"..\\x": b"x"}, "is no file of a bundle"),
    "a folder": (lambda files: files | {"more/": b""}, "is no file of a bundle"),
    "a file more": (lambda files: files | {"notes.md": b"x"}, "notes.md is not in the manifest"),
    "a file less": (
        lambda files: {name: one for name, one in files.items() if name != "report.md"},
        "report.md is missing",
    ),
    "no manifest": (
        lambda files: {name: one for name, one in files.items() if "MANI" not in name},
        "has no MANIFEST.sha256",
    ),
    "a way out": (lambda files: files | {"../x": b"x"}, "'../x' is no file of a bundle"),
    "a hostile name": (lambda files: files | {"\x1b[31m": b""}, "is no file of a bundle"),
    "a manifest of nothing": (
        lambda files: files | {"MANIFEST.sha256": b"\x1b[31m\xff"}, "has the line"
    ),
    "no table": (
        lambda files: _sealed(files | {"outcomes.parquet": b"PAR1"}), "outcomes.parquet"
    ),
    "no report": (
        lambda files: _sealed(files | {"report.json": b"[" * 99999}), "not of this format"
    ),
    "too many": (
        lambda files: files | {f"f{number}": b"" for number in range(60)}, "more than a bundle can"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bundle_that_is_not_what_it_says_is_refused(
    name: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = BAD[name]
    bad = _pack(change(_files(bundle)), tmp_path / "bad.zip")
    assert main(["evidence", "--verify", str(bad)]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert "\x1b" not in line


def _refused(bad: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["evidence", "--verify", str(bad)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_bombs_are_refused_before_they_are_unpacked(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files(bundle).items():
            archive.writestr(name, content)
        with archive.open("report.html", "w", force_zip64=True) as stream:
            for _ in range(160):
                stream.write(bytes(2**20))
    assert bad.stat().st_size < 1_000_000
    assert "unpacks to 16" in _refused(bad, capsys)

    # One that says to be small: no more is read of a file than its entry says.
    content = bad.read_bytes()
    size = struct.pack("<L", 160 * 2**20)
    assert content.count(size) >= 1
    bad.write_bytes(content.replace(size, struct.pack("<L", 1000)))
    assert "no bundle that can be read" in _refused(bad, capsys)

    with zipfile.ZipFile(bad, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("report.json", b"{}")
    assert "is packed as in no bundle" in _refused(bad, capsys)


def test_a_file_that_is_there_twice_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which of the two is read depends on who reads."""
    bad = _pack(_files(bundle), tmp_path / "bad.zip")
    with zipfile.ZipFile(bad, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("report.md", b"All is well.")
    assert "report.md is there twice" in _refused(bad, capsys)


def test_damage_anywhere_is_refused_or_harmless(bundle: Path, tmp_path: Path) -> None:
    """Bytes that rot, a download that breaks off: never anything but the one error."""
    whole, bad, chance = bundle.read_bytes(), tmp_path / "bad.zip", random.Random(0)
    said = []
    for number in range(150):
        damaged = bytearray(whole)
        if number % 5 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            for _ in range(chance.choice((1, 4, 30))):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        bad.write_bytes(damaged)
        try:
            verify_bundle(bad)
        except DataError as error:
            said.append(str(error))
        else:
            assert _files(bad) == _files(bundle)
    assert len(said) > 100
    assert all(text.startswith(str(bad)) for text in said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a run and the file to write, or a bundle to verify"),
        (("v1",), "give a run and the file to write"),
        (("v9", "out.zip"), "no run 'v9'"),
        (("--verify", "no.zip"), "no bundle that can be read"),
        (("v1", "/proc/no/out.zip"), "the bundle /proc/no/out.zip cannot be written"),
        (("v1", "out.zip", "--labels", "no.csv"), "no.csv"),
        (("v1", "--verify", "no.zip"), "takes the bundle alone"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    words: tuple[str, ...],
    said: str,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evidence", *words, "--store", str(store)]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_it_says_what_to_install(store: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cyclonedx.model'] = None\n"
        "from pytest_pbias.cli import main\n"
        f"sys.exit(main(['evidence', '1', 'x.zip', '--store', {str(store)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'pytest-pbias[evidence]'" in done.stderr
    assert list(tmp_path.iterdir()) == []
