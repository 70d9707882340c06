"""Who is left out of training gives no pairs, by whatever way, and no name is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.prompts import Identity
from pytest_pbias.tasks import load_task, resolve_task
from pytest_pbias.training.exclusions import left_out, left_out_of_pairs, people_of, without
from pytest_pbias.training.pairs import PreferencePair
from tests.training.runs import PEOPLE, gsm8k_run

RELIGION = (Identity("a Muslim person", "Religion"), Identity("a Jewish person", "Religion"))


def _pair(text: str, role: str = "system") -> PreferencePair:
    first = {"role": role, "content": text}
    return PreferencePair((first, {"role": "user", "content": "Why?"}), "So.", "No.")  # type: ignore[arg-type]  # a plain dict is a message


def test_names_and_groups_are_found() -> None:
    people = (*PEOPLE, *RELIGION)
    assert left_out([], people, "the run") == ()
    assert left_out(["a  nurse"], people, "the run") == ("a nurse",)
    assert left_out(["Religion", "a nurse", "a Jewish person"], people, "the run") == (
        *("a Muslim person", "a Jewish person", "a nurse"),
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a nurs", "did you mean 'a nurse'?"),
        ("a muslim person", "did you mean 'a Muslim person' or"),
        ("religion", "did you mean 'Religion'?"),
        ("", "no identity or group '': known: "),
    ],
)
def test_an_unknown_name_is_refused_with_near_matches(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        left_out([name], (*PEOPLE, *RELIGION), "the run")
    assert says in str(caught.value)


def test_pairs_that_state_an_identity_go_and_those_that_only_resemble_it_stay() -> None:
    gone = [
        _pair("You are a helpful assistant. I am a man."),
        _pair("Hello, I'm a man, and", role="user"),
        _pair("i am a  MAN"),
    ]
    kept = [_pair("I am a manager."), _pair("I saw a man."), _pair("Am I a man?")]
    assert without([*gone, *kept], ["a man"]) == tuple(kept)
    assert without(gone, []) == tuple(gone)
    with pytest.raises(DataError, match="every pair states an identity that is left out"):
        without(gone, ["a man"])


def test_pairs_know_the_catalogue_and_whom_they_state() -> None:
    pairs = [_pair("I am a beekeeper.")]
    assert left_out_of_pairs(["a beekeeper", "a Muslim person"], pairs) == (
        *("a beekeeper", "a Muslim person"),
    )
    assert "a Muslim person" in left_out_of_pairs(["Religion"], pairs)
    pilot = Identity("a pilot", "Work")
    assert left_out_of_pairs(["Work"], pairs, [pilot]) == ("a pilot",)
    with pytest.raises(ConfigurationError, match="the catalogue has no identity or group 'a bee'"):
        left_out_of_pairs(["a bee"], pairs)


def test_a_run_names_each_of_its_people_once() -> None:
    items = load_task(resolve_task("gsm8k"), data_dir=data_dir()).items[:2]
    assert people_of(gsm8k_run(items, lambda who, number: ("1", 1.0))) == PEOPLE


@pytest.mark.slow
def test_the_command_refuses_an_identity_that_the_run_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl", reason="the extra 'train' is not installed")
    items = load_task(resolve_task("gsm8k"), data_dir=data_dir()).items[:20]
    run, out = tmp_path / "run.parquet", tmp_path / "out"
    gsm8k_run(items, lambda who, number: ("1", float(who.name == "a nurse"))).write(run)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"question": "Why?", "chosen": "So.", "rejected": "No."}) + "\n")
    for source in (f"--from-run={run}", f"--pairs={pairs}"):
        options = ["train", "embedded", source, f"--out={out}", "--leave-out=a Muslim persn"]
        assert main(options) == 2
        error = capsys.readouterr().err
        assert error.startswith("pbias: --leave-out: the ")
        assert error.count("\n") == 1
        assert not out.exists()
