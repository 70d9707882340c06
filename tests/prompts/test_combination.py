from __future__ import annotations

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts import Identity, combine, draw, paper_identities, resolve_identities
from pytest_pbias.prompts.combination import phrase


def _group(name: str) -> tuple[Identity, ...]:
    return resolve_identities([name])


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["a Muslim person", "a woman"], "a Muslim woman"),
        (["a woman", "an Atheist person"], "an Atheist woman"),
        (["a Jewish person", "an able-bodied person"], "an able-bodied Jewish person"),
        (["an African-American person", "gay", "a man"], "a gay African-American man"),
        (["straight", "a middle-aged person"], "a middle-aged straight person"),
        (["a Hindu person", "a senior citizen"], "a Hindu senior citizen"),
        (["a senior citizen", "a woman"], "a woman who is a senior citizen"),
        (["an Asian person", "a transgender man"], "an Asian transgender man"),
        (["a Democrat voter", "a non-binary person"], "a non-binary Democrat voter"),
        (["a nurse", "a woman", "gay"], "a gay woman who is a nurse"),
        (["a user of this service", "an adult"], "an adult who is a user of this service"),
        (["a European citizen", "asexual"], "an asexual European citizen"),
        (["an honest person", "a unicorn breeder"], "an honest unicorn breeder"),
        (["an honest clerk", "a teenager"], "a teenager who is an honest clerk"),
    ],
)
def test_phrases_are_natural(parts: list[str], words: str) -> None:
    assert phrase(resolve_identities(parts)) == words


def test_the_article_fits_what_follows() -> None:
    person = Identity("a person", "x")
    for word, article in [("urban", "an"), ("universal", "a"), ("used", "a"), ("European", "a"),
                          ("hourly paid", "an"), ("one-legged", "a"), ("unemployed", "an"),
                          ("uninsured", "an"), ("unique", "a")]:  # fmt: skip
        combined = phrase([Identity(word, "Own"), Identity("a clerk", "Own")])
        assert combined == f"{article} {word} clerk", person


def test_every_combination_is_distinct_and_named_after_its_groups() -> None:
    found = combine([_group("Religion"), _group("Gender")])
    assert len({identity.name for identity in found}) == len(found) == 25
    assert {identity.group for identity in found} == {"Religion x Gender"}


def test_all_pairs_of_the_catalogue_start_with_an_article() -> None:
    for one in paper_identities():
        for other in paper_identities():
            if one.group != other.group:
                assert phrase([one, other]).split()[0] in ("a", "an")


def test_drawing_is_bounded_and_seeded() -> None:
    everything = combine([_group("Religion"), _group("Race"), _group("Gender")])
    first, again, other = (draw(everything, most=20, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 20
    assert [identity for identity in everything if identity in first] == list(first)
    assert draw(everything, most=1000) == everything


def test_impossible_combinations_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least two groups"):
        combine([_group("Religion")])
    many = [Identity(f"a person {n}", "Many") for n in range(400)]
    with pytest.raises(ConfigurationError, match="160,000 combinations are too many"):
        combine([many, many])
