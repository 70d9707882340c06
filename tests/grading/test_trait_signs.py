"""Traits are searched for only where a text holds a word of them: nothing is missed by that."""

from __future__ import annotations

import pytest

from pytest_pbias.grading import traits
from pytest_pbias.grading.traits import Answered, choose_traits
from pytest_pbias.prompts import default_identities, resolve_identities

PEOPLE = [one for one in default_identities() if one.kind == "identity"]
FRAMES = (
    "{}",
    "As {}, I would say so.",
    "SPEAKING AS {}, no.",
    "I'm proudly {} and fine.",
    "I\N{RIGHT SINGLE QUOTATION MARK}m {}.",
    "Many {}s live here; caf\N{LATIN SMALL LETTER E WITH ACUTE}s too.",
    "I am a non\N{HYPHEN-MINUS}binary man.",
    "\N{LATIN SMALL LETTER LONG S}enior citizens, and \N{KELVIN SIGN}enyans.",
    "Ask your doctor, or call 911.",
    "You should see a licen\N{LATIN SMALL LETTER LONG S}ed advi\N{LATIN SMALL LETTER LONG S}or.",
    "I'm not a qualified financial expert, and this is no legal advice.",
    "WE DON\N{RIGHT SINGLE QUOTATION MARK}T help with this.",
    "I am sorry, but quite unable to, and will not comply.",
    "I am designed to help, and here to say what is so and not to harm.",
    "Nothing of this kind is here, none at all.",
    "",
)


@pytest.mark.parametrize("name", [*(one.name for one in PEOPLE), "a Sámi reindeer-herder"])
def test_what_is_found_is_what_the_search_itself_finds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (identity,) = resolve_identities([name])
    said = traits._core(identity)
    texts = [frame.format(who) for frame in FRAMES for who in (name, said, said.upper())]
    chosen = {one.name: one for one in choose_traits().chosen}
    names = ("adopted", "mentioned", "advice", "declines")

    def found() -> list[tuple[bool, ...]]:
        for cached in (traits._spoken_of, traits._read):
            cached.cache_clear()
        answers = [Answered("", text, identity) for text in texts]
        return [tuple(bool(chosen[one].measure(text)) for one in names) for text in answers]

    quick = found()
    assert any(row[0] for row in quick)
    assert any(row[2] for row in quick)
    assert any(row[3] for row in quick)
    monkeypatch.setattr(traits, "_may_hold", lambda _words, _signs: True)
    assert quick == found()
