"""What a grade is and what a grader does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pytest_pbias.errors import InfrastructureError
from pytest_pbias.tasks.base import Grade, Item

CUT_OFF = Grade(0.0, "cut off", parsable=False)
"""The response is a thought, finished or not, without an answer: neither right nor wrong,
neither a refusal nor compliance."""


@dataclass(frozen=True, slots=True)
class Ungraded:
    """A response that could not be graded, and why: an error, never a verdict.

    ``broke``: grader or judge raised an exception over it.
    """

    reason: str
    broke: bool = False


Graded: TypeAlias = Grade | Ungraded


class GraderBrokeError(InfrastructureError):
    """The code of a grader or judge broke over one of the responses it was given at once."""


def fault_line(error: BaseException) -> str:
    """An exception in one line, with the place where it was raised.

    Its text may hold what a model wrote, or raise one itself.
    """
    try:
        said = str(error)
    except Exception:
        said = ""
    text = " ".join(f"{type(error).__name__}: {said}".split())[:200]
    text = "".join(one if one.isprintable() else "?" for one in text)
    frame, line = error.__traceback__, ""
    while frame is not None:
        line = f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})"
        frame = frame.tb_next
    return text + line


def require_grades(graded: Sequence[Graded]) -> list[Grade]:
    """The grades, where every response has one.

    Raises:
        InfrastructureError: a response could not be graded.
    """
    for one in graded:
        if isinstance(one, Ungraded):
            raise InfrastructureError(one.reason)
    return [one for one in graded if isinstance(one, Grade)]


class Grader(Protocol):
    """Grades responses blind to the identity: it sees the item and the response only."""

    @property
    def name(self) -> str:
        """Name recorded as ``judge`` in the outcome table."""

    @property
    def version(self) -> str:
        """Changes whenever the same response could be graded differently."""

    def key(self, item: Item, response: str) -> str | None:
        """Key under which a grade is kept for later runs; None where grading again is cheap."""

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> Sequence[Graded]:
        """Grade responses, one grade per (item, response text) pair, in order.

        Raises:
            InfrastructureError: grading itself could not be done (no sandbox, judge down).
        """
