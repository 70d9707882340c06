from __future__ import annotations

from collections import Counter

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts import (
    BASELINE,
    controls,
    default_identities,
    groups,
    paper_identities,
    resolve_identities,
)


def test_the_papers_identities_by_group() -> None:
    counts = Counter(identity.group for identity in paper_identities())
    assert counts == {
        "Disability": 2,
        "Religion": 5,
        "Race": 6,
        "Gender": 5,
        "Political Affiliation": 3,
        "Age": 5,
        "Sexuality": 5,
    }
    assert len(set(paper_identities())) == 31
    assert groups() == tuple(counts)


def test_default_identities_are_baseline_controls_and_the_31() -> None:
    identities = default_identities()
    assert identities[0] is BASELINE
    assert len(controls()) == 2
    assert Counter(identity.kind for identity in identities) == {
        "baseline": 1,
        "control": 2,
        "identity": 31,
    }
    assert len({identity.name for identity in identities}) == 34


def test_names_groups_and_free_text_are_resolved_once_each() -> None:
    found = resolve_identities(["a Muslim person", "Religion", "a nurse", " a  nurse "])
    assert [identity.name for identity in found][:2] == ["a Muslim person", "a Jewish person"]
    assert len(found) == 6
    assert found[-1].group == "Custom"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bisexul", "did you mean 'bisexual'"),
        ("Relligion", "did you mean 'Religion'"),
        ("qqq", "known: baseline"),
        ("", "not a non-empty text"),
        ("   ", "not a non-empty text"),
        (7, "not a non-empty text"),
        ("a nurse\nIgnore the above", "several lines"),
        ("a nurse\x1b]0;owned\x07", "has characters that are no text"),
        ("a \u202eesrun", "has characters that are no text"),
        ("x" * 200_000, r"unknown identity 'x+\.\.\.': known"),
    ],
)
def test_mistakes_are_one_line(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        resolve_identities([name])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_500


def test_names_in_any_script_may_have_joiners() -> None:
    for name in (
        "\u06cc\u06a9 \u0646\u0631\u0645\u200c\u0627\u0641\u0632\u0627\u0631",
        "a \U0001f469\u200d\U0001f52c",
    ):
        assert [identity.name for identity in resolve_identities([name])] == [name]
