from __future__ import annotations

import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from pytest_pbias.cells import PersonaFile, read_personas
from pytest_pbias.cells.persona_file import persona_schema
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts import (
    BASELINE,
    MOST_COMBINATIONS,
    PLACEMENTS,
    Frame,
    render_messages,
    resolve_identities,
)


def _read(tmp_path: Path, text: str) -> PersonaFile:
    path = tmp_path / "persona_x.pbias.toml"
    path.write_text(text, encoding="utf-8")
    return read_personas(path, "persona_x.pbias.toml")


def test_names_groups_and_own_identities(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        """
        tasks = ["mmlu", "do_not_answer"]
        group = "Occupation"
        identities = ["a nurse", "Religion", "Night shift"]
        [groups]
        "Night shift" = ["a night porter", "a baker"]
        [[identity]]
        name = "a pilot"
        group = "Crew"
        [margins]
        safety = 3
        """,
    )
    names = [identity.name for identity in found.identities]
    assert names[0] == "a nurse"
    assert "a Muslim person" in names
    groups = {identity.name: identity.group for identity in found.identities}
    assert groups["a nurse"] == "Occupation"
    assert groups["a baker"] == "Night shift"
    assert groups["a pilot"] == "Crew"
    assert groups["a Muslim person"] == "Religion"
    cells = found.cells()
    assert len(cells) == 2 * len(names)
    margins = {(cell.task.name, cell.margin) for cell in cells}
    assert margins == {("mmlu", None), ("do_not_answer", 3.0)}


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (identity,) = _read(tmp_path, '\ufeffidentities = ["a nurse"]').identities
    assert identity.name == "a nurse"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = " + 3_000 * "[", "lists thousands deep"),
        ("a = " + 3_000 * "[" + 3_000 * "]", "lists thousands deep"),
        ("most = " + 5_000 * "9", "a number of thousands of digits"),
        ("controls = 0x" + 5_000 * "f", "controls: must be true or false, not int too long"),
        ('identities = ["' + 200_000 * "x" + '"]', "unknown identity 'xxx.*"),
        (200_000 * "x" + " = 1", "'xxx.*unknown key"),
        ('identities = ["a \\u001b nurse"]', r"identity 'a \\x1b nurse' has characters"),
    ],
    ids=["open", "deep", "digits", "hexadecimal", "name", "key", "escape"],
)
def test_what_no_persona_file_holds_is_one_short_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        _read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_500
    assert str(caught.value).isprintable()


def test_catalogue_identities_are_the_ones_that_marks_name(tmp_path: Path) -> None:
    found = _read(tmp_path, 'identities = ["a Muslim person", "baseline"]')
    assert found.identities == (*resolve_identities(["a Muslim person"]), BASELINE)


def test_a_template_of_ones_own_keeps_the_plain_baseline(tmp_path: Path) -> None:
    (identity,) = _read(
        tmp_path,
        'identities = ["a nurse"]\nstatement = "My grandmother is {identity}."',
    ).identities
    assert identity.baseline is BASELINE
    assert render_messages(identity, "Q")[0]["content"] == (
        "You are a helpful assistant. My grandmother is a nurse."
    )


def test_another_language(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        """
        system = "Du bist ein hilfreicher Assistent. {statement}"
        statement = "Ich bin {identity}."
        identities = ["eine Ärztin"]
        label = "{identity} (de)"
        """,
    )
    (identity,) = found.identities
    assert identity.name == "eine Ärztin (de)"
    assert render_messages(identity, "Q", "user")[0]["content"] == (
        "Du bist ein hilfreicher Assistent. Ich bin eine Ärztin.\n\nQ"
    )


def test_history_pairs_with_a_neutral_turn(tmp_path: Path) -> None:
    (identity,) = _read(tmp_path, 'identities = ["a nurse"]\nplacement = "history"').identities
    asked, base = (render_messages(who, "Q") for who in (identity, identity.baseline))
    assert identity.name == "a nurse (history)"
    assert asked[0]["content"] == "Hello! I am a nurse."
    assert base[0]["content"] == "Hello!"
    assert asked[1:] == base[1:]
    assert [turn["role"] for turn in asked] == ["user", "assistant", "user"]
    assert identity.placement_label() == identity.baseline.placement_label() == "history"


def test_inferred_identity_has_words_of_its_own(tmp_path: Path) -> None:
    (identity,) = _read(
        tmp_path,
        """
        placement = "history"
        opening = "{statement} What is a good gift?"
        neutral = "What is a good gift?"
        reply = "A book, perhaps."
        [[identity]]
        name = "a Muslim person"
        statement = "I am looking forward to Eid with my family."
        """,
    ).identities
    asked, base = (render_messages(who, "Q") for who in (identity, identity.baseline))
    assert asked[0]["content"] == (
        "I am looking forward to Eid with my family. What is a good gift?"
    )
    assert base[0]["content"] == "What is a good gift?"
    assert identity.group == "Religion"
    assert identity.placement_label() == identity.baseline.placement_label() != "history"


def test_combinations_are_bounded_drawn_by_seed_and_can_leave_out(tmp_path: Path) -> None:
    text = 'combine = ["Religion", "Gender"]\nmost = 7\nseed = {seed}\n'
    first, other = (_read(tmp_path, text.format(seed=seed)).identities for seed in (1, 2))
    assert len(first) == len(other) == 7
    assert first != other
    everything = _read(
        tmp_path,
        'combine = [["Religion", "Gender"], ["Own", "Sexuality"]]\nmost = 100\n'
        'exclude = ["a lesbian sailor"]\n[groups]\nOwn = ["a sailor"]\n',
    )
    names = [identity.name for identity in everything.identities]
    assert "a Muslim woman" in names
    assert "a gay sailor" in names
    assert "a lesbian sailor" not in names
    assert len(names) == 25 + 4


def test_controls_come_along(tmp_path: Path) -> None:
    found = _read(tmp_path, 'identities = ["a nurse"]\ncontrols = true')
    assert [identity.kind for identity in found.identities] == ["identity", "control", "control"]


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ('tasks = ["mmlu"', "1:16", "is not TOML"),
        ("a = 1\nb = = 2", "2:5", "is not TOML: Invalid value"),
        ('identities = ["a nurse"]\nidentites = []', "identites", "did you mean 'identities'"),
        ('identities = ["a nurse",\n  "bisexul"]', "identities[1]", "did you mean 'bisexual'"),
        ('identities = ["a nurse", 7]', "identities[1]", "must be a text, not 7"),
        ("identities = []", "identities", "is empty"),
        ('tasks = ["mmul"]\nidentities = ["a nurse"]', "tasks[0]", "did you mean 'mmlu'"),
        ("", "names no identity", "give `identities`"),
        ('statement = "I am."\nidentities = ["a nurse"]', "statement", "must hold {identity}"),
        ('system = "Hi {name}"\nidentities = ["a nurse"]', "system", "unknown placeholder {name}"),
        ('placement = "sytem"\nidentities = ["a nurse"]', "placement", "did you mean 'system'"),
        ('reply = "Hi"\nidentities = ["a nurse"]', "reply", 'with placement = "history" only'),
        (
            'placement = "history"\nopening = "{statement}"\nidentities = ["a nurse"]',
            "opening",
            "give it a `neutral` text",
        ),
        (
            'statement = "Ich bin {identity}."\nsystem = "I am {identity}."\n'
            'identities = ["a nurse"]',
            "statement",
            "statement is not used",
        ),
        (
            'identities = ["a nurse"]\n[margins]\nsafety = "3"',
            "margins.safety",
            "must be a number, not '3'",
        ),
        ('identities = ["a nurse"]\n[margins]\nmmul = 3', "margins.mmul", "did you mean 'mmlu'"),
        (
            '[[identity]]\nname = "a nurse"\n[[identity]]\ngroup = "x"',
            "identity[1].name",
            "is missing",
        ),
        ('[[identity]]\nname = "Religion"', "identity[0].name", "is a group"),
        ('combine = ["Religion"]', "combine", "two or more groups"),
        ('combine = ["Religion", "Gendre"]', "combine[1]", "did you mean 'Gender'"),
        ('combine = ["Religion", "Gender"]\nmost = 0', "most", "at least 1"),
        (
            'combine = ["Religion", "Gender"]\nexclude = ["a Muslim womn"]',
            "exclude[0]",
            "did you mean 'a Muslim woman'",
        ),
        (
            'identities = ["a nurse"]\n[[identity]]\nname = "a nurse"\nstatement = "I nurse."',
            "identity[0]",
            "two identities are called 'a nurse'; give one a `label`",
        ),
        ('identities = ["a nurse"]\nlabel = "a\\tb"', "label", "label must be one line"),
        ('identities = ["a nurse"]\ncontrols = 1', "controls", "true or false"),
        ("identity = 3", "identity", "must be a list, not 3"),
        ('margins = 3\nidentities = ["a nurse"]', "margins", "must be a table"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    tmp_path: Path, text: str, place: str, says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _read(tmp_path, text)
    message = str(caught.value)
    assert re.match(rf"persona_x\.pbias\.toml:\s?{re.escape(place)}", message)
    assert re.search(re.escape(says), message)
    assert "\n" not in message


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "persona_y.pbias.toml"
    path.write_bytes(b'label = "\xff"')
    with pytest.raises(ConfigurationError, match="1:1: is not UTF-8"):
        read_personas(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_personas(tmp_path / "absent.toml")


def test_the_editor_schema_says_what_the_reader_takes() -> None:
    schema = persona_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    properties, usual = schema["properties"], Frame()
    assert properties["system"]["default"] == usual.system
    assert properties["most"]["default"] == MOST_COMBINATIONS
    assert all("description" in properties[key] for key in properties if key != "identity")
    (placements,) = [one["enum"] for one in properties["placement"]["anyOf"] if "enum" in one]
    assert placements == list(PLACEMENTS)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('identities = ["a nurse"]\n[margins]\nsafety = 3', True),
        ('combine = [["Religion", "Gender"]]\nmost = 3\nplacement = "history"', True),
        ('[[identity]]\nname = "a nurse"\nstatement = "I nurse."', True),
        ('identites = ["a nurse"]', False),
        ('identities = ["a nurse"]\nmost = 0', False),
        ('[[identity]]\ngroup = "x"', False),
        ('identities = ["a nurse"]\nstatement = "I am."', False),
    ],
)
def test_the_editor_schema_agrees_with_the_reader(tmp_path: Path, text: str, good: bool) -> None:
    validator = jsonschema.Draft202012Validator(persona_schema())
    assert validator.is_valid(tomllib.loads(text)) == good
    if good:
        _read(tmp_path, text)
    else:
        with pytest.raises(ConfigurationError):
            _read(tmp_path, text)
