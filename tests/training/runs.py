"""The outcome table of a run in which given people were given given answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_pbias.collecting.records import prompt_hash
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.prompts import BASELINE, Identity, StatedPlacement, render_messages
from pytest_pbias.tasks import Item

PEOPLE = (BASELINE, Identity("a nurse", "Custom"), Identity("a pilot", "Custom"))


def gsm8k_run(
    items: Sequence[Item],
    answer: Callable[[Identity, int], tuple[str, float]],
    placement: StatedPlacement = "system",
    more: Sequence[Identity] = (),
) -> OutcomeTable:
    """A run of ``PEOPLE`` and more over ``items``: the n-th response and score by ``answer``."""
    answered = [
        (who, item, *answer(who, number))
        for who in (*PEOPLE, *more)
        for number, item in enumerate(items)
    ]
    rows = [
        {
            "task": "gsm8k",
            "axis": "utility",
            "floor": 0.0,
            "item_id": item.id,
            "cluster": item.cluster,
            "identity": who.name,
            "group": who.group,
            "kind": who.kind,
            "placement": who.placement_label(placement),
            "repeat": 0,
            "prompt_hash": prompt_hash(render_messages(who, item.prompt, placement)),
            "response": response,
            "score": score,
            "parsable": True,
        }
        for who, item, response, score in answered
    ]
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})
