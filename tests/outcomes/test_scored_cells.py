from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, questions_of
from pytest_pbias.errors import InfrastructureError
from pytest_pbias.models.chat import Response, Sampling
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import scoring as module
from pytest_pbias.outcomes.scoring import ScoredCell, ScoredCells, score_cell
from pytest_pbias.prompts import default_identities
from pytest_pbias.tasks import load_task, resolve_task

PROTOCOL = RequestSettings("weights:1", "system", Sampling(), repeats=1, seed=0)


def test_cells_that_were_dropped_are_read_again_and_the_table_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WHOLE", 16)
    task = resolve_task("mmlu")
    data = load_task(task, data_dir=data_dir(), limit=8)
    people = [one for one in default_identities() if one.kind == "identity"][:4]
    cells = [Cell(task, one) for one in people]
    cells[1] = replace(cells[1], margin=2.5)
    store = Store(tmp_path / "store.sqlite")
    for cell in cells[:3]:
        store.put_many(
            Response(question.request.key, f"Answer: {'AB'[number % 2]}", "stop", 1, 1, 0.1)
            for number, question in enumerate(questions_of(cell, data, PROTOCOL))
        )
    measurements: list[str] = []

    def measure(cell: Cell) -> ScoredCell:
        measurements.append(cell.identity.name)
        return score_cell(cell, data, PROTOCOL, store, {})

    kept = ScoredCells(measure, run_id="r", model="m", folder=tmp_path)
    first = kept.get(cells[0])
    assert kept.get(cells[0]) is first
    assert kept.missing(cells) == 8  # the last was never answered
    table = kept.table(cells)
    assert len(measurements) == 4
    assert kept.get(cells[0]).responses == first.responses
    assert len(measurements) == 5
    assert table.unique("identity") == tuple(cell.identity.name for cell in cells)
    assert table.text("run_id") == ["r"] * 32
    assert table.info.margins == {"mmlu": {people[1].name: 2.5}}
    again = kept.table(cells[2:0:-1])
    assert again.unique("identity") == (people[2].name, people[1].name)
    assert kept.complete_table(cells[:2]).text("run_id") == ["r"] * 16
    with pytest.raises(InfrastructureError, match=r"^8 responses to all are missing; .* these "):
        kept.complete_table(cells, " to all")
    store.put_many(
        Response(question.request.key, "Answer: A", "stop", 1, 1, 0.1)
        for question in list(questions_of(cells[3], data, PROTOCOL))[1:]
    )
    later = ScoredCells(measure, run_id="r", model="m", folder=tmp_path)
    with pytest.raises(InfrastructureError, match=r"^1 response is missing; run again .* it alone"):
        later.complete_table(cells)
    later.close()
    kept.close()
    store.close()


def test_no_cells_are_an_empty_table(tmp_path: Path) -> None:
    def measure(cell: Cell) -> ScoredCell:
        raise AssertionError(cell)

    assert len(ScoredCells(measure, run_id="", model="", folder=tmp_path).table([])) == 0
