"""Defenses: what they change in the chat, and how names and files are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts import (
    BASELINE,
    NO_DEFENSE,
    Defense,
    Demonstration,
    Identity,
    defense_from_plain,
    defense_to_plain,
    render_defended,
    render_messages,
    resolve_defenses,
    shipped_defenses,
)
from pytest_pbias.prompts.identity import PLACEMENTS

NURSE = Identity("a nurse", "Custom")
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


def test_without_a_defense_the_chat_is_the_usual_one() -> None:
    for placement in PLACEMENTS:
        for identity in (NURSE, BASELINE):
            usual = render_messages(identity, "Why?", placement)
            assert render_defended(identity, "Why?", placement, NO_DEFENSE) == usual


def test_a_system_text_follows_the_identity_and_defends_the_baseline_too() -> None:
    defense = Defense("d", system="Be fair.")
    chat = render_defended(NURSE, "Why?", "system", defense)
    assert [message["content"] for message in chat] == [
        "You are a helpful assistant. I am a nurse. Be fair.",
        "Why?",
    ]
    chat = render_defended(BASELINE, "Why?", "system", defense)
    assert [(m["role"], m["content"]) for m in chat] == [("system", "Be fair."), ("user", "Why?")]


def test_without_a_system_role_the_text_stands_in_the_user_turn() -> None:
    defense = Defense("d", system="Be fair.")
    for identity in (NURSE, BASELINE):
        (only,) = render_defended(identity, "Why?", "user", defense)
        assert only["role"] == "user"
        assert only["content"].startswith("Be fair.\n\n")
        assert only["content"].endswith("Why?")


def test_demonstrations_are_earlier_turns_and_the_question_stays_last() -> None:
    defense = Defense("d", demonstrations=(Demonstration("hello", "yes"),), before="A", after="B")
    chat = render_defended(NURSE, "Why?", "system", defense)
    assert [m["role"] for m in chat] == ["system", "user", "assistant", "user"]
    assert chat[-1]["content"] == "A\n\nWhy?\n\nB"


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_strip_asks_exactly_what_the_baseline_asks(placement: str) -> None:
    placed = next(p for p in PLACEMENTS if p == placement)
    identity = NURSE.placed(placed) if placed == "history" else NURSE
    strip = shipped_defenses()["strip"]
    assert render_defended(identity, "Why?", placed, strip) == render_messages(
        identity.baseline, "Why?", placed
    )


def test_a_moved_identity_is_stated_elsewhere_and_compared_there() -> None:
    moved = shipped_defenses()["move-to-user"]
    assert render_defended(NURSE, "Why?", "system", moved) == render_messages(NURSE, "Why?", "user")
    history = shipped_defenses()["move-to-history"]
    chat = render_defended(NURSE, "Why?", "system", history)
    assert [m["role"] for m in chat] == ["user", "assistant", "user"]
    neutral = render_defended(BASELINE, "Why?", "system", history)
    assert [m["role"] for m in neutral] == ["user", "assistant", "user"]
    assert "nurse" not in str(neutral)
    assert history.place(NURSE).baseline == history.place(BASELINE)


@given(st.builds(Defense, _TEXTS, system=_TEXTS, before=_TEXTS, drop_identity=st.booleans(),
       demonstrations=st.lists(st.builds(Demonstration, _TEXTS, _TEXTS), max_size=2).map(tuple),
       placement=st.sampled_from([None, *PLACEMENTS])))  # fmt: skip
def test_a_defense_survives_the_way_to_the_controller(defense: Defense) -> None:
    import json

    assert defense_from_plain(json.loads(json.dumps(defense_to_plain(defense)))) == defense


def test_several_defenses_bring_the_undefended_prompt_along() -> None:
    assert [d.name for d in resolve_defenses("strip")] == ["strip"]
    names = [d.name for d in resolve_defenses("strip, ignore-identity,strip")]
    assert names == ["none", "strip", "ignore-identity"]


def test_every_shipped_defense_changes_something() -> None:
    for name, defense in shipped_defenses().items():
        changed = render_defended(NURSE, "Why?", "system", defense)
        assert (changed != render_messages(NURSE, "Why?", "system")) == (name != "none")


def test_own_texts_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[defenses.kind]\nsystem = "Be kind."\n')
    (tmp_path / "calm.txt").write_text("Stay calm.\n")
    found = resolve_defenses("mine.toml,calm.txt", lambda name: tmp_path / name)
    assert [(d.name, d.system) for d in found[1:]] == [("kind", "Be kind."), ("calm", "Stay calm.")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[defenses.kind", "mine.toml:1:15: is not TOML"),
        ("x = 1", "mine.toml: defenses: is missing"),
        ("[defenses.kind]\nsytem = 'x'", "did you mean 'system'"),
        ("[defenses.kind]\nsystem = 3", "defenses.kind.system: must be a text, not 3"),
        ("[defenses.kind]\ntitle = 'x'", "changes nothing"),
        ("[defenses.none]\nsystem = 'x'", "cannot name a defense"),
        ("[defenses.'a b']\nsystem = 'x'", "cannot name a defense"),
        (
            "[defenses.kind]\nplacement = 'moon'",
            "kind.placement: unknown placement 'moon': known: system, user",
        ),
        ("[defenses.kind]\ndrop_identity = 'no'", "drop_identity: must be true or false"),
        (
            "[defenses.kind]\ndemonstrations = [{user = 'x'}]",
            r"kind.demonstrations\[0\].assistant: is missing",
        ),
        ("[defenses.strip]\nsystem = 'x'", "two different defenses are called 'strip'"),
    ],
)
def test_a_malformed_file_is_one_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        resolve_defenses("strip,mine.toml", lambda name: tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("ignore-idenity", "did you mean 'ignore-identity'"),
        (",", "names no defense"),
        ("missing.toml", "No such file"),
    ],
)
def test_an_unknown_defense_is_one_line(wanted: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        resolve_defenses(wanted)
