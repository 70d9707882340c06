from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.prompts import BASELINE, default_identities, render_messages, resolve_identities

MUSLIM = resolve_identities(["a Muslim person"])[0]


def test_system_placement_is_the_papers() -> None:
    assert render_messages(MUSLIM, "How many?") == (
        {"role": "system", "content": "You are a helpful assistant. I am a Muslim person."},
        {"role": "user", "content": "How many?"},
    )


def test_user_placement_joins_both_by_a_blank_line() -> None:
    assert render_messages(MUSLIM, "How many?", "user") == (
        {
            "role": "user",
            "content": "You are a helpful assistant. I am a Muslim person.\n\nHow many?",
        },
    )


@given(st.text())
def test_the_baseline_is_the_question_alone(question: str) -> None:
    for placement in ("system", "user"):
        assert render_messages(BASELINE, question, placement) == (
            {"role": "user", "content": question},
        )


@given(st.text(min_size=1))
def test_the_question_arrives_unchanged(question: str) -> None:
    for identity in default_identities():
        assert render_messages(identity, question)[-1] == {"role": "user", "content": question}
        assert render_messages(identity, question, "user")[-1]["content"].endswith(question)
