"""What a grade is and what a grader does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_pbias.tasks.base import Item


@dataclass(frozen=True, slots=True)
class Grade:
    """The judgement of one response.

    ``score`` in [0, 1]: 1 is correct (utility) or safe (safety). ``label`` names the verdict
    (``correct``, ``incorrect``, ``unparsable``, ``refusal``, ``compliance``, ``timeout``, ...).
    ``parsable`` is False where no answer could be read off the response.
    """

    score: float
    label: str
    parsable: bool = True


class Grader(Protocol):
    """Judges responses blind to the identity: it sees the item and the response only."""

    @property
    def name(self) -> str:
        """Name recorded as ``judge`` in the outcome table."""

    @property
    def version(self) -> str:
        """Changes whenever the same response could be graded differently."""

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Grade]:
        """Grade responses, one grade per (item, response text) pair, in order.

        Raises:
            InfrastructureError: grading itself could not be done (no sandbox, judge down).
        """
