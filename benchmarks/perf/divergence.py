"""Where another engine's greedy answer parts from the embedded model's, and how near the tie was.

Two engines add the same numbers in another order, so where two tokens are as likely as each other
either may come first. A gap of logits that is many times the rounding of float32 (about 1e-5 for
this model) is no tie but an error of one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_pbias.models.embedded.engine import Engine
from pytest_pbias.prompts.chat import Message


@dataclass(frozen=True, slots=True)
class Parting:
    """The first token that differs: after ``said``, and ``position`` tokens.

    ``ours`` and ``theirs`` are its texts ('' where the answer ends); ``gap`` is how far the logit
    of theirs is below that of ours, in the embedded model's own logits, and ``rank`` its place
    among them (ours is 0). Both are None where no single token leads to what they said.
    """

    position: int
    said: str
    ours: str
    theirs: str
    gap: float | None
    rank: int | None

    def __str__(self) -> str:
        where = f"token {self.position}, after {self.said[-40:]!r}"
        what = f"{self.ours!r} against {self.theirs!r}"
        if self.gap is None:
            return f"{where}: {what}, which no token begins"
        return f"{where}: {what}, logits {self.gap:.2g} apart (rank {self.rank})"


def parting(
    engine: Engine,
    messages: Sequence[Mapping[str, str] | Message],
    ours: str,
    theirs: str,
) -> Parting:
    """Where ``theirs`` leaves the greedy answer ``ours`` of ``engine``, and how near a tie it was.

    Raises:
        ValueError: the answers are the same, or ``ours`` is not what the engine answers.
    """
    if ours == theirs:
        raise ValueError("the answers are the same")
    prompt = engine.encode_chat(messages)
    tokens: list[int] = []
    while True:
        logits = engine.next_logits((*prompt, *tokens))
        best = int(logits.argmax())
        said = engine.decode(tokens)
        text = engine.decode([*tokens, best])
        if not ours.startswith(_whole(text)):
            raise ValueError(f"the engine answers otherwise than {ours!r}")
        if best == engine.end_token or not theirs.startswith(_whole(text)):
            break
        tokens.append(best)
    order = np.argsort(-logits, kind="stable")
    for rank, token in enumerate(map(int, order)):
        if token == best:
            continue
        other = engine.decode([*tokens, token])
        ends = token == engine.end_token and theirs == said
        if ends or (len(_whole(other)) > len(said) and theirs.startswith(_whole(other))):
            return Parting(
                position=len(tokens),
                said=said,
                ours=text[len(said) :],
                theirs=other[len(said) :],
                gap=float(logits[best] - logits[token]),
                rank=rank,
            )
    return Parting(len(tokens), said, text[len(said) :], theirs[len(said) :], None, None)


def _whole(text: str) -> str:
    """Without the mark of a character whose last bytes are yet to come."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}")
