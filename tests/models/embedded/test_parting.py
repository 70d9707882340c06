"""Where answers part: against answers that are made to part at a known token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.perf.divergence import parting
from fixtures import families
from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.embedded.engine import Engine, Prompt
from pytest_pbias.prompts import BASELINE, render_messages
from pytest_pbias.prompts.chat import Message

GREEDY = Sampling(48)


def _greedy(engine: Engine, ids: Sequence[int]) -> str:
    (one,) = engine.generate([Prompt(tuple(ids))], GREEDY)
    return one.text


def _chat(task: str, item: int = 0) -> list[Message]:
    return list(render_messages(BASELINE, families.shipped(task)[item].prompt))


@pytest.mark.parametrize("position", [0, 1, 4])
@pytest.mark.parametrize("task", ["gsm8k", "do_not_answer"])
def test_the_first_token_that_differs_is_found_with_its_gap(
    engine: Engine, task: str, position: int
) -> None:
    chat = _chat(task)
    ids = list(engine.encode_chat(chat))
    start = len(ids)
    for _ in range(position):
        ids.append(int(engine.next_logits(ids).argmax()))
    logits = engine.next_logits(ids)
    best, second = (int(token) for token in np.argsort(-logits)[:2])
    assert engine.end_token not in (best, second)
    said = engine.decode(ids[start:])
    theirs = said + engine.decode([*ids[start:], second])[len(said) :]
    theirs += _greedy(engine, [*ids, second])
    found = parting(engine, chat, _greedy(engine, engine.encode_chat(chat)), theirs)
    assert found.said == said
    assert found.position == position
    assert found.rank == 1
    assert found.gap == pytest.approx(logits[best] - logits[second])
    assert f"logits {found.gap:.2g} apart" in str(found)


def test_an_answer_that_ends_early_parts_at_its_end(engine: Engine) -> None:
    chat = _chat("gsm8k")
    ours = _greedy(engine, engine.encode_chat(chat))
    ids = list(engine.encode_chat(chat))
    ids += [int(engine.next_logits(ids).argmax())]
    said = engine.decode(ids[-1:])
    found = parting(engine, chat, ours, said)
    assert (found.position, found.said, found.theirs) == (1, said, "")
    assert found.gap is not None
    assert found.gap > 1.0  # the embedded model does not stop in the middle of a word
    longer = parting(engine, chat, ours, ours + " more")
    assert (longer.ours, longer.said) == ("", ours)


def test_only_answers_of_the_engine_part_from_it(engine: Engine) -> None:
    chat = _chat("gsm8k")
    with pytest.raises(ValueError, match="the same"):
        parting(engine, chat, "a", "a")
    with pytest.raises(ValueError, match="answers otherwise"):
        parting(engine, chat, "\N{SNOWMAN} is not what it says", "a")


def test_what_no_token_of_its_own_begins_is_said(engine: Engine) -> None:
    chat = _chat("gsm8k")
    ours = _greedy(engine, engine.encode_chat(chat))
    found = parting(engine, chat, ours, "\N{SNOWMAN}")  # three tokens of a byte each
    assert (found.position, found.said, found.gap, found.rank) == (0, "", None, None)
    assert str(found).endswith("which no token begins")
