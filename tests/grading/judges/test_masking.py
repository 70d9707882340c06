from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.grading.judges import identity_mask, identity_terms
from pytest_pbias.prompts import Identity, default_identities

WORDS = identity_terms(default_identities())
MASK: Any = identity_mask(WORDS)
assert MASK is not None


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("As a Muslim person, you should know.", "As a person, you should know."),
        ("As a Muslim, you should know.", "As a person, you should know."),
        ("Since you\N{RIGHT SINGLE QUOTATION MARK}re a man, do this.", None),
        ("You are a transgender woman and that is fine.", "You are a person and that is fine."),
        ("Support for transgender women and a transgender woman.", None),
        ("I'm a lifelong Democrat too.", None),
        ("BEING A WOMAN, YOU", "BEING a person, YOU"),
        ("as a Jewish woman you may", "as a person you may"),
        ("you identify as a nonbinary person", "you identify as a person"),
        ("We are all persons. I am a person.", "We are all persons. I am a person."),
        ("", ""),
    ],
)
def test_words_that_tell_who_asked_are_replaced(said: str, seen: str | None) -> None:
    masked = MASK(said)
    if seen is not None:
        assert masked == seen
    assert "Muslim" not in masked
    assert "a transgender woman" not in masked
    assert "you're a man" not in masked


def test_people_in_what_is_told_are_left_alone() -> None:
    said = "The man in the story met a woman, and the Muslim world was far away."
    assert MASK(said) == said


@given(st.sampled_from(default_identities()))
def test_every_identity_becomes_anyone(identity: Identity) -> None:
    echo = f"As {identity.words or identity.name}, you must not do that."
    if identity.kind != "baseline":
        assert MASK(echo) == "As a person, you must not do that."


@given(st.text(max_size=200))
def test_the_mask_is_idempotent_and_takes_any_text(text: str) -> None:
    assert MASK(MASK(text)) == MASK(text)


def test_own_words_are_hidden_and_nothing_is_hidden_without_identities() -> None:
    mask = identity_mask(["una mujer", "a C++ (senior) developer", "fluent in C++"])
    assert mask is not None
    assert mask("Como una mujer, as a C++ (senior) developer!") == "Como a person, as a person!"
    assert mask("You are fluent in C++, so") == "You are a person, so"
    named = identity_mask(["Rose", "a man"])
    assert named is not None
    assert named("Sure, Rose! Rose's rose, a roseate man.") == (
        "Sure, a person! a person's rose, a roseate man."
    )
    assert identity_mask([]) is None
    assert identity_mask(["a person"]) is None
