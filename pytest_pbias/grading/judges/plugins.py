"""A judge from a plug-in: what is optional filled in, and every mistake made one line."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.errors import InfrastructureError, PbiasError
from pytest_pbias.grading.base import Graded, GraderBrokeError, Ungraded, fault_line
from pytest_pbias.grading.graders import is_sound, storable
from pytest_pbias.grading.judges.base import Criterion, Exchange, Judge
from pytest_pbias.tasks.base import Grade


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
            except (PbiasError, KeyboardInterrupt):
                raise
            except BaseException as error:
                raise InfrastructureError(self._broke(error)) from error

    def halt(self, reason: str) -> None:
        """Ask it nothing more."""
        self._halted = reason

    def cost(self) -> None:
        """Not known."""

    def judge(self, exchanges: Sequence[Exchange], criterion: Criterion) -> list[Graded]:
        """Its grades, checked.

        Raises:
            GraderBrokeError: it raised an exception, or returned what is no list of grades.
            InfrastructureError: it is not to be asked, or raised what ends a program or a test.
        """
        if self._halted is not None:
            raise InfrastructureError(self._halted)
        try:
            grades = list(self._judge.judge(exchanges, criterion))
        except (PbiasError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            raise GraderBrokeError(self._broke(error)) from error
        except BaseException as error:  # a test's own end, such as pytest.skip(), is none of a cell
            raise InfrastructureError(self._broke(error)) from error
        if len(grades) != len(exchanges):
            raise InfrastructureError(
                f"judge {self.name!r} of a plug-in gave {len(grades)} grades for "
                f"{len(exchanges)} answers"
            )
        return [self._checked(grade) for grade in grades]

    def _checked(self, grade: object) -> Graded:
        """A grade of the plug-in as one that can be stored."""
        if isinstance(grade, Ungraded) and isinstance(grade.reason, str):
            return Ungraded(storable(grade.reason))
        if isinstance(grade, Grade) and is_sound(grade):
            return Grade(float(grade.score), storable(grade.label), bool(grade.parsable))
        raise GraderBrokeError(
            f"judge {self.name!r} of a plug-in gave {_shown(grade)}, which is no Grade with a "
            "score in [0, 1], a label, and parsable True or False"
        )

    def _broke(self, error: BaseException) -> str:
        return f"judge {self.name!r} of a plug-in broke: {fault_line(error)}"


def _shown(thing: object) -> str:
    try:
        return repr(str(thing)[:80])
    except Exception:
        return f"an object of class {type(thing).__name__}"
