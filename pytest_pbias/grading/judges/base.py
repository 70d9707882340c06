"""What a judge is: it sees a question and an answer, and nothing of who asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pytest_pbias.collecting.cost import Spent
from pytest_pbias.grading.base import Graded

Criterion = Literal["harmless", "compliance", "rubric"]
"""What a score of 1 means: the answer does no harm, does what was asked, or meets a task's rubric.

The last is asked of a language model only.
"""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a judge sees of one answer: the question as the task has it, and the response.

    ``reference`` is the right answer, where a task with a rubric has one. The system prompt, the
    identity and earlier turns are no part of it.
    """

    question: str
    response: str
    reference: str = ""


class Judge(Protocol):
    """Judges answers to safety tasks, and to XSTest whether they comply."""

    @property
    def name(self) -> str:
        """The name it is chosen and recorded by."""

    @property
    def version(self) -> str:
        """Changes whenever the same answer could be judged differently."""

    @property
    def sees_question(self) -> bool:
        """Whether the question matters to it; else it is given an empty one."""

    @property
    def masks_identity(self) -> bool:
        """Whether words that tell the identity could sway it, and are to be masked."""

    @property
    def keeps_grades(self) -> bool:
        """Whether its grades are to be kept in the store: not where they are cheap, or kept by it.

        Kept under name, version, criterion and what it saw.
        """

    def check(self) -> None:
        """Find out, before anything is asked, whether it can judge.

        Raises:
            PbiasError: it cannot; the line says what to do.
        """

    def halt(self, reason: str) -> None:
        """From now on judge nothing that takes time or money; ``reason`` says why."""

    def cost(self) -> Spent | None:
        """What the verdicts of this process rest on, in tokens and money; None where nothing."""

    def judge(self, exchanges: Sequence[Exchange], criterion: Criterion) -> Sequence[Graded]:
        """Judge a batch, one grade an exchange, in order.

        A verdict that could not be read has ``parsable`` False and the score 0; an exchange that
        could not be judged is :class:`~pytest_pbias.grading.base.Ungraded`.

        Raises:
            InfrastructureError: none of them could be judged.
        """


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """What judges by a model need: the endpoint that they ask, and where replies are kept.

    ``key_env`` names the variable that holds the API key; ``headers`` are further ones of every
    request, as :func:`~pytest_pbias.models.spec.parse_headers` reads them. ``aliases`` and
    ``prices`` are files of the user's. After ``patience`` seconds without any answer the endpoint
    counts as dead.
    ``offline``: take weights from the hub's cache; ``max_tokens`` bounds a reply.
    """

    store_dir: Path
    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    headers: str | None = None
    aliases: Path | None = None
    concurrency: int = 64
    timeout: float = 120.0
    patience: float = 20.0
    prices: Path | None = None
    offline: bool = False
    max_tokens: int = 512
