"""Reading pairs, the paper's variants, and every way a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.prompts import BASELINE, Identity
from pytest_pbias.training.pairs import VARIANTS, apply_variant, read_pairs, write_pairs

ROW = {"system": "Be brief.", "question": "Why?", "chosen": "Because.", "rejected": "No."}
NURSE = Identity("a nurse", "Custom")


def _write(path: Path, rows: list[dict[str, object]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        pc.write_csv(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_every_format_gives_the_same_pairs(tmp_path: Path, suffix: str) -> None:
    (pair,) = read_pairs(_write(tmp_path / f"pairs{suffix}", [dict(ROW)]))
    assert [(turn["role"], turn["content"]) for turn in pair.messages] == [
        ("system", "Be brief."),
        ("user", "Why?"),
    ]
    assert (pair.chosen, pair.rejected) == ("Because.", "No.")


ORCA = [
    {"system": "", "question": "Is a whale a fish?", "chosen": "No, a mammal.", "rejected": "Yes."},
    {"system": "Be brief.", "question": "Name a colour.", "chosen": "Red.", "rejected": "I can't."},
    {"system": "Be brief.", "question": "Say hi.", "chosen": "Hi.", "rejected": "Hi."},
    {"system": "", "question": "Go on.", "chosen": " ", "rejected": "Where?"},
]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_columns_of_orca_dpo_pairs_with_its_blank_systems_and_useless_rows(
    tmp_path: Path, suffix: str
) -> None:
    said: list[str] = []
    pairs = read_pairs(_write(tmp_path / f"orca{suffix}", [dict(row) for row in ORCA]), said.append)
    assert [[(turn["role"], turn["content"]) for turn in pair.messages] for pair in pairs] == [
        [("user", "Is a whale a fish?")],
        [("system", "Be brief."), ("user", "Name a colour.")],
    ]
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [
        ("No, a mammal.", "Yes."),
        ("Red.", "I can't."),
    ]
    assert said == ["2 of 4 rows left out: an answer is blank or both are the same"]
    roles = [
        [
            [turn["role"] for turn in pair.messages]
            for pair in apply_variant(pairs, kind, [NURSE], seed=0)
        ]
        for kind in VARIANTS[:3]
    ]
    assert roles == [
        [["user"], ["system", "user"]],
        [["user"], ["user"]],
        [["system", "user"], ["system", "user"]],
    ]


def test_chat_messages_are_read_too_and_written_pairs_come_back(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
             {"role": "user", "content": "Why?"}]  # fmt: skip
    answer = [{"role": "assistant", "content": "Because."}]
    row: dict[str, object] = {"prompt": turns, "chosen": answer, "rejected": "No."}
    pairs = read_pairs(_write(tmp_path / "chats.jsonl", [row]))
    assert [dict(turn) for turn in pairs[0].messages] == turns
    write_pairs(pairs, tmp_path / "again.jsonl")
    assert read_pairs(str(tmp_path / "again.jsonl")) == pairs


def test_the_papers_variants(tmp_path: Path) -> None:
    pairs = read_pairs(_write(tmp_path / "pairs.jsonl", [dict(ROW)] * 20))
    assert apply_variant(pairs, "as-is", [NURSE], seed=0) == pairs
    bare = apply_variant(pairs, "no-system", [NURSE], seed=0)
    assert {tuple(turn["role"] for turn in pair.messages) for pair in bare} == {("user",)}
    people = [NURSE, Identity("a pilot", "Custom")]
    drawn = apply_variant(pairs, "random-identity", people, seed=0)
    assert {pair.messages[0]["content"] for pair in drawn} == {
        "You are a helpful assistant. I am a nurse.",
        "You are a helpful assistant. I am a pilot.",
    }
    assert drawn == apply_variant(pairs, "random-identity", people, seed=0)
    assert drawn != apply_variant(pairs, "random-identity", people, seed=1)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"question": "Why?", "chosen": "a"}], "no column rejected; there are: question, chosen"),
        ([{"text": "x", "chosen": "a", "rejected": "b"}], r"no column question \(or prompt\)"),
        ([ROW | {"chosen": 3}, ROW | {"chosen": 4}], "row 1: chosen is not a text"),
        ([ROW | {"chosen": "No."}], "in every row an answer is blank or both are the same"),
        ([ROW | {"question": ""}], "row 1: question is neither a text nor chat messages"),
        ([ROW | {"system": 3}], "row 1: system is not a text"),
    ],
)
def test_wrong_columns_and_rows_are_one_line(
    tmp_path: Path, rows: list[dict[str, object]], says: str
) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_pairs(_write(tmp_path / "pairs.jsonl", rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("pairs.jsonl", b"{not json", "cannot be read"),
        ("pairs.parquet", b"PAR1 no", "cannot be read"),
        ("pairs.jsonl", None, "there is no such file"),
        ("pairs.xlsx", b"x", "give a .jsonl, .json, .parquet or .csv file"),
    ],
)
def test_unreadable_files_are_one_line(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_pairs(str(path))
    assert "\n" not in str(caught.value)


def test_three_identities_an_example_are_added_to_the_pairs_as_they_are(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{**ROW, "question": f"Question {n}?"} for n in range(12)]
    pairs = read_pairs(_write(tmp_path / "pairs.jsonl", rows))
    people = [NURSE, Identity("a pilot", "Custom"), Identity("a cook", "Custom"), BASELINE]
    found = apply_variant(pairs, "three-identities", people, seed=0)
    assert found[:12] == pairs
    assert len(found) == 4 * 12
    for number, pair in enumerate(pairs):
        copies = found[12 + 3 * number : 15 + 3 * number]
        assert {copy.messages[-1] == pair.messages[-1] for copy in copies} == {True}
        stated = [copy.messages[0]["content"] for copy in copies]
        assert len(set(stated)) == 3
        bare = [one for one in copies if one.messages[0]["role"] == "user"]
        assert len(bare) <= 1  # nobody is one of them: no system prompt, not "I am ."
    assert any(pair.messages[0]["role"] == "user" for pair in found[12:])
    assert found == apply_variant(pairs, "three-identities", people, seed=0)
    assert found != apply_variant(pairs, "three-identities", people, seed=1)
    with pytest.raises(ConfigurationError, match="3 identities are drawn for each pair, and 2 are"):
        apply_variant(pairs, "three-identities", people[:2], seed=0)
