"""A judge from a plug-in: what is optional filled in, and every mistake made one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_pbias.errors import InfrastructureError, PbiasError
from pytest_pbias.grading.base import Grade, Graded, Ungraded
from pytest_pbias.grading.judges.base import Criterion, Exchange, Judge


class PluginJudge:
    """Stands before a plug-in's judge; only ``name``, ``version`` and ``judge`` are required."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._halted: str | None = None
        self.name: str = judge.name
        self.version: str = judge.version
        self.sees_question = bool(getattr(judge, "sees_question", True))
        self.masks_identity = bool(getattr(judge, "masks_identity", True))
        self.keeps_grades = bool(getattr(judge, "keeps_grades", True))

    def check(self) -> None:
        """Ask the judge, where it has such a method.

        Raises:
            PbiasError: it cannot judge.
        """
        check = getattr(self._judge, "check", None)
        if check is not None:
            try:
                check()
            except PbiasError:
                raise
            except Exception as error:
                raise InfrastructureError(self._broke(error)) from error

    def halt(self, reason: str) -> None:
        """Ask it nothing more."""
        self._halted = reason

    def cost(self) -> dict[str, float | str]:
        """Not known."""
        return {}

    def judge(self, exchanges: Sequence[Exchange], criterion: Criterion) -> list[Graded]:
        """Its grades, checked.

        Raises:
            InfrastructureError: it raised anything, or returned what is no list of grades.
        """
        if self._halted is not None:
            raise InfrastructureError(self._halted)
        try:
            grades = list(self._judge.judge(exchanges, criterion))
        except PbiasError:
            raise
        except Exception as error:
            raise InfrastructureError(self._broke(error)) from error
        if len(grades) != len(exchanges):
            raise InfrastructureError(
                f"judge {self.name!r} of a plug-in gave {len(grades)} grades for "
                f"{len(exchanges)} answers"
            )
        for grade in grades:
            if not _is_graded(grade):
                raise InfrastructureError(
                    f"judge {self.name!r} of a plug-in gave {str(grade)[:80]!r}, which is no Grade "
                    "with a score in [0, 1] and a label"
                )
        return [_storable(grade) for grade in grades]

    def _broke(self, error: Exception) -> str:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        frame, line = error.__traceback__, ""
        while frame is not None:
            line = f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})"
            frame = frame.tb_next
        return f"judge {self.name!r} of a plug-in broke: {text}{line}"


def _storable(grade: Graded) -> Graded:
    """The grade with a label in valid UTF-8: one copied from an answer can hold lone surrogates."""
    if isinstance(grade, Ungraded) or grade.label.isascii():
        return grade
    return replace(grade, label=grade.label.encode("utf-8", "replace").decode())


def _is_graded(grade: object) -> bool:
    if isinstance(grade, Ungraded):
        return True
    return (
        isinstance(grade, Grade)
        and isinstance(grade.score, int | float)
        and math.isfinite(grade.score)
        and 0.0 <= grade.score <= 1.0
        and isinstance(grade.label, str)
    )
