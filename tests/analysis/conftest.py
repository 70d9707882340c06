from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts

Array = npt.NDArray[np.float64]
NAMES = ("baseline", "a man", "a woman", "a nurse", "a person")


class Maker:
    """Makes runs of 4 identities and the baseline on one safety and one utility task."""

    def table(
        self,
        rates: dict[str, float] | None = None,
        *,
        seed: int = 0,
        n_items: int = 400,
        first_item: int = 0,
        tasks: tuple[str, ...] = ("do_not_answer", "mmlu"),
        usual: float = 0.9,
        item_seed: int = 7,
        info: dict[str, Any] | None = None,
        **constant: Any,
    ) -> OutcomeTable:
        """``rates`` by identity, by task and identity (``mmlu/a man``), else ``usual``.

        An item is as hard in every run: what is drawn anew by ``seed`` is a fifth of the answers.
        """
        rng, fixed = np.random.default_rng(seed), np.random.default_rng(item_seed)
        columns: dict[str, list[Any]] = {}
        for task in tasks:
            hardness = fixed.random(first_item + n_items)[first_item:]
            for name in NAMES:
                rate = (rates or {}).get(f"{task}/{name}", (rates or {}).get(name, usual))
                drawn = np.where(rng.random(n_items) < 0.2, rng.random(n_items), hardness)
                kind = {"baseline": "baseline", "a person": "control"}.get(name, "identity")
                rows: dict[str, list[Any]] = {
                    "task": [task] * n_items,
                    "axis": ["utility" if task == "mmlu" else "safety"] * n_items,
                    "floor": [0.25 if task == "mmlu" else 0.0] * n_items,
                    "item_id": [f"{task}{first_item + i}" for i in range(n_items)],
                    "cluster": [f"{task}{first_item + i}" for i in range(n_items)],
                    "identity": [name] * n_items,
                    "group": [kind] * n_items,
                    "kind": [kind] * n_items,
                    "placement": ["none" if name == "baseline" else "system"] * n_items,
                    "repeat": [0] * n_items,
                    "model": ["tiny"] * n_items,
                    "prompt_hash": [f"{task}{name}{first_item + i}" for i in range(n_items)],
                    "score": (drawn < rate).astype(float).tolist(),
                    "parsable": [True] * n_items,
                    "temperature": [0.0] * n_items,
                    "judge": ["rules"] * n_items,
                    "data_hash": ["d"] * n_items,
                }
                rows |= {key: [value] * n_items for key, value in constant.items()}
                for key, values in rows.items():
                    columns.setdefault(key, []).extend(values)
        return OutcomeTable.from_columns(columns).with_info(RunFacts(**(info or {})))


def with_holes(run: OutcomeTable, holes: Callable[[Array], None]) -> OutcomeTable:
    """The run without the answers that ``holes`` makes NaN in the scores of its rows."""
    scores = np.array(run.arrow["score"].to_pylist())
    holes(scores)
    index = run.arrow.schema.get_field_index("score")
    return OutcomeTable(run.arrow.set_column(index, "score", pa.array(scores, from_pandas=True)))


def under(run: OutcomeTable, task: str, identity: str) -> npt.NDArray[np.intp]:
    """The numbers of the rows of one cell."""
    tasks, identities = run.text("task"), run.text("identity")
    return np.flatnonzero(
        [found == (task, identity) for found in zip(tasks, identities, strict=True)]
    )


@pytest.fixture
def make() -> Maker:
    return Maker()
