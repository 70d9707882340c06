"""The placebos that a cell is compared with: of its cue, its placement, its file's words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_pbias.cells import read_personas
from pytest_pbias.cells.cell import (
    Cell,
    cell_from_plain,
    cell_to_plain,
    controls_of,
    controls_to_add,
    with_baselines,
)
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts import Frame, Identity, controls, resolve_defenses
from pytest_pbias.tasks import TASKS

GERMAN = 'system = "Du hilfst gern. {statement}"\nstatement = "Ich bin {identity}."\n'
PLACEBOS = ["a person", "a user of this service"]


def _cells(folder: Path, text: str, name: str = "persona_x.pbias.toml") -> dict[str, Cell]:
    path = folder / name
    path.write_text('tasks = ["gsm8k"]\n' + text, "utf-8")
    return {cell.identity.name: cell for cell in read_personas(path).cells()}


def _names(cell: Cell) -> list[str]:
    return [one.name for one in cell.controls]


def _said(cell: Cell) -> list[str]:
    return [one.statement for one in cell.controls]


def test_usual_words_have_the_catalogues_controls(tmp_path: Path) -> None:
    (cell,) = _cells(tmp_path, 'identities = ["a nurse"]').values()
    assert cell.controls == controls()
    assert _names(cell) == PLACEBOS


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("", [f"{name} (x)" for name in PLACEBOS]),
        ('label = "{identity}, deutsch"\n', [f"{name}, deutsch" for name in PLACEBOS]),
        ('label = "Frau"\n', [f"{name} (x)" for name in PLACEBOS]),  # two cannot share it
        ("controls = true\n", PLACEBOS),  # they are tests of the file, as it names them
        ("controls = false\n", []),
    ],
)
def test_own_words_are_those_of_the_controls(tmp_path: Path, more: str, names: list[str]) -> None:
    cells = _cells(tmp_path, more + GERMAN + 'identities = ["eine Ärztin"]')
    cell = next(cell for cell in cells.values() if cell.identity.kind == "identity")
    assert _names(cell) == names
    assert {one.frame for one in cell.controls} <= {cell.identity.frame}
    assert all(one.kind == "control" for one in cell.controls)
    assert _said(cell) == [f"Ich bin {name}." for name in PLACEBOS[: len(names)]]


def test_a_file_can_say_who_its_controls_are(tmp_path: Path) -> None:
    text = GERMAN + 'identities = ["eine Ärztin"]\n[[identity]]\nname = "eine Person"\n'
    cells = _cells(tmp_path, text + "control = true")
    assert cells["eine Ärztin"].controls == (cells["eine Person"].identity,)
    assert cells["eine Person"].identity.kind == "control"
    assert cells["eine Person"].controls == ()
    with pytest.raises(ConfigurationError, match=r"identity\[0\]\.control.*baseline"):
        _cells(tmp_path, '[[identity]]\nname = "baseline"\ncontrol = true')


def test_a_control_says_nothing_of_an_identitys_own_statement(tmp_path: Path) -> None:
    text = '[[identity]]\nname = "a Muslim person"\nstatement = "I was at the mosque."\n'
    (cell,) = _cells(tmp_path, text).values()
    assert _said(cell) == ["I am a person.", "I am a user of this service."]


def test_each_place_has_controls_of_its_own(tmp_path: Path) -> None:
    def earlier(name: str, meal: str) -> str:
        return (
            f'[[identity]]\nname = "{name}"\nplacement = "history"\nlabel = "{name}"\n'
            f'statement = "I am just that."\nopening = "{{statement}} {meal}?"\n'
        )

    text = 'identities = ["a nurse"]\n' + earlier("a cook", "Lunch") + earlier("a monk", "Tea")
    cells = _cells(tmp_path, text)
    assert _names(cells["a nurse"]) == PLACEBOS
    of_cook, of_monk = (cells[name].controls[0] for name in ("a cook", "a monk"))
    assert of_cook.frame.opening == "{statement} Lunch?"
    assert of_monk.frame.opening == "{statement} Tea?"
    assert of_cook.statement == of_monk.statement == "I am a person."
    everybody = [one.name for cell in cells.values() for one in cell.controls]
    assert len(set(everybody)) == 6


def test_two_files_in_one_run_keep_their_controls_apart(tmp_path: Path) -> None:
    english = _cells(tmp_path, 'identities = ["a nurse"]\n[margins]\nutility = 7')
    german = _cells(tmp_path, GERMAN + 'identities = ["eine Ärztin"]', "persona_de.pbias.toml")
    every = (*english.values(), *german.values())
    added = controls_to_add(every)
    assert [one.identity.name for one in added] == PLACEBOS + [f"{name} (de)" for name in PLACEBOS]
    assert [one.margin for one in added] == [7, 7, None, None]
    assert controls_of((*every, *added))["gsm8k"] == {
        "a nurse": tuple(PLACEBOS),
        "eine Ärztin": tuple(f"{name} (de)" for name in PLACEBOS),
    }
    assert controls_of((*english.values(), *added[:2])) == {}  # all there are
    assert controls_of((*every, *added[:2]))["gsm8k"] == {"eine Ärztin": ()}


def test_what_is_asked_anyway_is_not_added(tmp_path: Path) -> None:
    nurse = Cell(TASKS["gsm8k"], Identity("a nurse", "X"), controls=controls())
    person = Cell(TASKS["gsm8k"], controls()[0], margin=9)
    assert controls_to_add([nurse, person]) == (replace(nurse.of_controls[1]),)
    # Before the first cell that is compared with them, in any order of tests.
    ordered = with_baselines([nurse, *controls_to_add([nurse, person]), person])
    assert [one.identity.name for one in ordered] == ["baseline", *PLACEBOS, "a nurse"]
    assert ordered[1].margin == 9
    other = replace(nurse, task=TASKS["mmlu"])
    assert [one.task.name for one in controls_to_add([other])] == ["mmlu"] * 2


def test_controls_move_with_their_cell_and_travel_with_it() -> None:
    cell = Cell(TASKS["gsm8k"], Identity("a nurse", "X"), controls=controls())
    moved = cell.moved(lambda identity: identity.placed("history"))
    assert {one.frame for one in moved.controls} == {Frame(placement="history")}
    (defense,) = resolve_defenses("move-to-history", Path)
    assert cell.moved(defense.place).controls == moved.controls
    again = cell_from_plain(json.loads(json.dumps(cell_to_plain(moved))), TASKS)
    assert (again, again.controls) == (moved, moved.controls)
    assert cell == replace(cell, controls=())  # whom it is compared with is not what it asks
