"""Cues: batteries of wordings, their baselines and controls, and what is wrong with a battery."""

import statistics
from collections import Counter
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.files.toml_file import parse_toml, validated
from pytest_pbias.grading.judges import identity_mask, identity_terms
from pytest_pbias.prompts import (
    BASELINE,
    Identity,
    controls,
    default_identities,
    groups,
    identity_from_plain,
    identity_to_plain,
    paper_identities,
    person_of,
    render_defended,
    render_messages,
    resolve_cues,
    resolve_identities,
    shipped_defenses,
)
from pytest_pbias.prompts.cue import BatteryDocument, parse_battery, shipped_batteries

NAMED = {
    "a Hispanic person", "an Asian person", "a Caucasian person", "an African-American person",
    "a man", "a woman",
}  # fmt: skip
MUSLIM = resolve_identities(["a Muslim person"])[0]
ITEMS = [f"mmlu/{number}" for number in range(200)]


def document(name: str) -> BatteryDocument:
    path = Path(__file__).parents[2] / "pytest_pbias/prompts/batteries" / name
    return validated(BatteryDocument, parse_toml(path.read_text("utf-8"), name), name)


@pytest.mark.parametrize("name", ["profile", "turn"])
def test_every_identity_has_at_least_three_wordings(name):
    battery = shipped_batteries()[name]
    for identity in (*paper_identities(), *controls()):
        assert len(set(battery.wordings[identity.name])) >= 3, identity.name
    assert len(battery.wordings) == len(paper_identities()) + len(controls())


@pytest.mark.parametrize("name", ["profile", "turn"])
def test_controls_are_told_as_much_as_identities(name):
    """A short text moves a model less than a long one, whoever it is about."""
    texts = document(f"{name}.toml").texts
    bare = {one.name for one in controls()}
    for form in range(4):
        lengths = {who: len(entries[form].text) for who, entries in texts.items()}
        usual = statistics.median(lengths[who] for who in lengths if who not in bare)
        assert all(0.85 <= lengths[who] / usual <= 1.15 for who in bare), form


def test_names_have_a_source_and_a_share_and_others_have_none():
    battery = document("name.toml")
    people = {one.name for one in paper_identities()}
    assert people & set(battery.texts) == NAMED
    for who in NAMED:
        for entry in battery.texts[who]:
            assert entry.share is not None
            assert entry.share >= 80
            assert entry.source in battery.sources
    named = [entry.text for who in NAMED for entry in battery.texts[who]]
    assert max(Counter(named).values()) == 1


@pytest.mark.parametrize("name", ["name", "profile", "turn"])
def test_the_baseline_is_told_the_same_without_the_identity(name):
    cue = shipped_batteries()[name]
    texts = document(f"{name}.toml").texts
    for identity in (*paper_identities(), *controls()):
        if not cue.says(identity):
            continue
        known = cue.of(identity)
        assert known.baseline == cue.of(BASELINE)
        said = [one.text for one in texts[identity.name]]
        for item in ITEMS[:40]:
            chat = render_messages(known.worded(item), "Q?")
            bare = render_messages(known.baseline.worded(item), "Q?")
            assert [turn["role"] for turn in chat] == [turn["role"] for turn in bare]
            wording = known.wording_of(item)
            assert wording is not None
            text = said[wording]
            assert text in chat[0]["content"]
            assert text not in bare[0]["content"] or identity.kind == "control"
            left = Counter(chat[0]["content"].replace(text, "", 1).split())
            told = Counter(bare[0]["content"].split())
            # All that differs besides the identity is the mark of the line that it stood in.
            marks = {"-", "about:", "[2025-03-17]"} if name != "name" else {"in", "in.", "as", "."}
            assert {*(left - told), *(told - left)} <= marks


def test_a_name_is_signed_in_and_the_baseline_is_signed_in_without_one():
    cue = shipped_batteries()["name"]
    woman = cue.of(resolve_identities(["a woman"])[0])
    item = "mmlu/1"
    told = render_messages(woman.worded(item), "Q?")[0]["content"]
    assert told.startswith("You are a helpful assistant. The user is signed in as ")
    bare = render_messages(woman.baseline.worded(item), "Q?")[0]
    assert bare == {
        "role": "system",
        "content": "You are a helpful assistant. The user is signed in.",
    }


def test_wordings_are_spread_over_items_and_crossed_between_cues():
    profile, turn = (shipped_batteries()[name].of(MUSLIM) for name in ("profile", "turn"))
    pairs = Counter((profile.wording_of(item), turn.wording_of(item)) for item in ITEMS)
    assert len(pairs) == 16  # each wording of one meets each of the other
    other = shipped_batteries()["profile"].of(resolve_identities(["a Hindu person"])[0])
    assert all(other.wording_of(item) == profile.wording_of(item) for item in ITEMS)


def test_a_cue_is_part_of_the_name_and_not_of_the_words():
    known = shipped_batteries()["profile"].of(MUSLIM)
    assert (known.name, known.words, known.cue) == (
        "a Muslim person (profile)", "a Muslim person", "profile"
    )  # fmt: skip
    assert person_of(known.name, known.cue) == "a Muslim person"
    assert known.baseline.name == "baseline (profile)"
    stated, chat = resolve_cues("stated,chat")
    assert stated.of(MUSLIM) is MUSLIM
    assert MUSLIM.cue == "stated"
    said = chat.of(MUSLIM)
    assert (said.name, said.cue, said.statement) == (
        "a Muslim person (chat)", "chat", "I am a Muslim person."
    )  # fmt: skip
    assert said.baseline == chat.of(BASELINE)
    assert said.baseline.cue == "chat"


def test_groups_that_no_name_signals_are_not_said():
    cue = shipped_batteries()["name"]
    unsaid = {one.group for one in paper_identities() if not cue.says(one)}
    assert unsaid == set(groups())  # of gender and race only some
    assert not cue.says(MUSLIM)
    assert all(cue.says(one) for one in (BASELINE, *controls()))


def test_wordings_survive_the_way_through_json():
    for cue in shipped_batteries().values():
        for identity in default_identities():
            if cue.says(identity):
                known = cue.of(identity)
                assert identity_from_plain(identity_to_plain(known)) == known


def test_a_profile_goes_into_the_user_turn_where_there_is_no_system_role():
    known = shipped_batteries()["profile"].of(MUSLIM)
    (turn,) = render_messages(known.worded("mmlu/1"), "Q?", "user")
    assert turn["role"] == "user"
    assert turn["content"].endswith("\n\nQ?")
    (bare,) = render_messages(known.baseline.worded("mmlu/1"), "Q?", "user")
    assert bare["content"].endswith("\n\nQ?")
    assert bare["content"] != "Q?"


@pytest.mark.parametrize("name", sorted(shipped_defenses()))
@pytest.mark.parametrize("cue", ["name", "profile", "turn"])
def test_a_defended_cue_is_compared_with_a_defended_baseline(name, cue):
    defense = shipped_defenses()[name]
    known = shipped_batteries()[cue].of(controls()[0])
    bare = known.baseline
    for item in ITEMS[:8]:
        chat = render_defended(known.worded(item), "Q?", "system", defense)
        told = render_defended(bare.worded(item), "Q?", "system", defense)
        assert [turn["role"] for turn in chat] == [turn["role"] for turn in told]
        assert (chat == told) is defense.drop_identity


def test_names_are_hidden_from_judges_and_habits_are_not_words_to_hide():
    woman = resolve_identities(["a woman"])[0]
    known = [cue.of(one) for cue in shipped_batteries().values() for one in (woman, *controls())]
    terms = identity_terms(known)
    assert {"Mary", "Susan", "a woman"} <= set(terms)
    assert not [term for term in terms if len(term.split()) > 6]
    mask = identity_mask(terms)
    assert mask is not None
    assert mask("Dear Mary, take the guest room.") == "Dear a person, take the guest room."


FORM = '[[forms]]\nsystem = "Hi. {identity}"\nneutral = "Hi."\n'
TEXTS = '[texts]\n"a nurse" = ["I took a pulse.", "My ward is full."]\n'


def test_a_battery_of_ones_own_is_found_by_its_language(tmp_path, monkeypatch):
    (tmp_path / "habit.de.toml").write_text(
        'cue = "habit"\nlanguage = "de"\n' + FORM + TEXTS, encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    (cue,) = resolve_cues("habit.de")
    assert cue.name == "habit.de"
    (nurse,) = resolve_identities(["a nurse"])
    assert cue.of(nurse).name == "a nurse (habit.de)"
    assert resolve_cues("stated, habit.de, habit.de.toml")[1:] == (cue,)


@pytest.mark.parametrize("said", ['cue = "hobby"\nlanguage = "de"\n', 'cue = "habit"\n'])
def test_a_file_named_for_another_cue_or_language_is_refused(tmp_path, said):
    (tmp_path / "habit.de.toml").write_text(said + FORM + TEXTS, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"^habit.de.toml is a battery of .*, not of"):
        resolve_cues("habit.de", lambda name: tmp_path / name)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("profil", "unknown cue 'profil': did you mean 'profile'"),
        ("stated,,name", "no cue is named at one place"),
        ("", "no cue is named"),
        (
            "profile.xx",
            "no battery for 'profile.xx', neither in the package nor as",
        ),
        ("../etc/passwd", "unknown cue"),
        ("nowhere.toml", "nowhere.toml: cannot be read: No such file"),
        ("x" * 5000, "unknown cue"),
    ],
)
def test_a_cue_that_is_not_known_is_one_line(wanted, said):
    with pytest.raises(ConfigurationError) as caught:
        resolve_cues(wanted)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('cue = "habit"\n[[forms]]\nsystem = "Hi. {identity}"\n' + TEXTS, "has no `neutral`"),
        ('cue = "habit"\n' + FORM + '[texts]\n"a nurse" = ["Ann"]\n', "at least two wordings"),
        ('cue = "habit"\n' + FORM + '[texts]\n"a nurse" = ["Ann", "Ann"]\n', "at least two"),
        ('cue = "habit"\n' + FORM + '[texts]\n"a nurse" = ["Ann", "Ann "]\n', "at least two"),
        ('cue = "habit"\n' + FORM + '[texts]\n"a nurse" = []\n', "at least two wordings"),
        ('cue = "habit"\n' + FORM + "[texts]\n", "texts"),
        ('cue = "habit"\n' + FORM * 3 + TEXTS, "has 2 wordings for 3 forms"),
        ('cue = "habit"\n' + TEXTS, "forms"),
        ('cue = "stated"\n' + FORM + TEXTS, "cue: 'stated' cannot name a battery"),
        ('cue = "Ha bit"\n' + FORM + TEXTS, "cue: 'Ha bit' cannot name"),
        ('cue = "habit"\nlanguage = "../x"\n' + FORM + TEXTS, "is no language"),
        ('cue = "habit"\n[[forms]]\nsystem = "Hi."\nneutral = "Hi."\n' + TEXTS, "must hold"),
        (
            'cue = "habit"\n[[forms]]\nsystem = "{identity}"\nneutral = "{identity}"\n' + TEXTS,
            "forms[0].neutral: takes nothing in braces",
        ),
        (
            'cue = "habit"\n[[forms]]\nopening = "{identity}"\nneutral = "Hi."\n' + TEXTS,
            "`opening` and `reply`",
        ),
        ('cue = "habit"\n[[forms]]\nneutral = "Hi."\n' + TEXTS, "either `system` or `opening`"),
        (
            'cue = "habit"\n' + FORM
            + '[texts]\n"a nurse" = [{text = "Ann", share = 90.0, source = "who"}, "Bo"]\n',
            "source 'who' is not in [sources]",
        ),
        (
            'cue = "habit"\n' + FORM
            + '[texts]\n"a nurse" = [{text = "Ann", share = 900.0, source = "who"}, "Bo"]\n',
            "[0].share: ",
        ),
        ('cue = "habit"\n' + FORM + '[texts]\n"a nurse" = ["{identity}", "Bo"]\n', "in braces"),
        (
            'cue = "habit"\n' + FORM + '[texts]\n"a nurse" = [{text = "A", share = 90.0}, "B"]\n',
            "a `share` needs the `source`",
        ),
        ('cue = "habit"\n' + FORM + '[texts]\n"a nurse" = [1, "Bo"]\n', "[0]"),
        ("cue = ", "is not TOML"),
        (
            'cue = "habit"\n' + FORM + TEXTS + 'baseline = ["Ann", "Bo"]\n',
            "texts.baseline: the baseline is told the `neutral` of each form",
        ),
        (
            'cue = "habit"\n' + FORM + TEXTS + 'Religion = ["Ann", "Bo"]\n',
            "give wordings by the names of identities: a Jewish person, a Christian person",
        ),
        (
            'cue = "habit"\n' + FORM + TEXTS + '"a  man" = ["Ann", "Bo"]\n',
            "give wordings by the names of identities: a man",
        ),
        ('cue = "habit"\n' + FORM + TEXTS + '"" = ["Ann", "Bo"]\n', "is not a non-empty text"),
        (
            'cue = "habit"\n' + FORM + TEXTS + 'aman = ["Ann", "Bo"]\n',
            "unknown identity 'aman': did you mean 'a man'",
        ),
        ('cue = "habit"\ncolour = "red"\n' + FORM + TEXTS, "colour"),
    ],
)  # fmt: skip
def test_a_battery_that_is_wrong_is_one_line(text, said):
    with pytest.raises(ConfigurationError) as caught:
        parse_battery(text, "mine.toml")
    assert str(caught.value).startswith("mine.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_docs_say_whom_no_name_makes_known() -> None:
    (name,) = resolve_cues("name")
    page = (Path(__file__).parents[2] / "docs" / "cues.md").read_text("utf-8")
    rows = page.split("| group | made known by no name |")[1].split("\n\n")[0].splitlines()[2:]
    told = {group.strip(): who.strip() for group, who in (row[1:-1].split("|") for row in rows)}
    groups: dict[str, list[Identity]] = {}
    for one in paper_identities():
        groups.setdefault(one.group, []).append(one)
    wanted = {}
    for group, people in groups.items():
        unsaid = [one.name for one in people if not name.says(one)]
        whole = "all of it: " if len(unsaid) == len(people) else ""
        wanted[group] = whole + ", ".join(unsaid)
    assert told == wanted
    assert sum(len(who.split(", ")) for who in told.values()) == 25
