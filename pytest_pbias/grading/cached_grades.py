"""Grades that are dear to make, kept in the store so that they are made once."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import PbiasError
from pytest_pbias.grading.base import Graded, Grader, GraderBrokeError, Ungraded, fault_line
from pytest_pbias.tasks.base import Grade, Item

_BATCH = 512  # grades that are lost at most when a run is killed
_BROKEN_FOR_ALL = 3  # responses one after the other, with no grade among them


def cached_grades(
    grader: Grader, pairs: Sequence[tuple[Item, str]], store: Store | None
) -> list[Graded]:
    """Grade pairs in order; what the grader wants kept is read from and written to ``store``.

    A response over which the grader breaks is ungraded, whatever exception that is, and costs the
    others nothing.

    Raises:
        InfrastructureError: grading could not be done, or the store failed.
    """
    try:
        keys = [grader.key(item, text) for item, text in pairs]
    except Exception:  # grading meets it as well, and says which response it is
        keys = [None]
    if store is None or None in keys:
        return _grade(grader, pairs)
    wanted = [str(key) for key in keys]
    kept = store.get_grades(list(dict.fromkeys(wanted)))
    known: dict[str, Graded] = dict(kept)
    fresh = {key: pair for key, pair in zip(wanted, pairs, strict=True) if key not in known}
    new = list(fresh)
    for start in range(0, len(new), _BATCH):
        chunk = new[start : start + _BATCH]
        made = dict(zip(chunk, _grade(grader, [fresh[key] for key in chunk]), strict=True))
        known.update(made)
        store.put_grades({key: grade for key, grade in made.items() if isinstance(grade, Grade)})
    return [known[key] for key in wanted]


def _grade(grader: Grader, pairs: Sequence[tuple[Item, str]]) -> list[Graded]:
    """The grades of pairs; where the grader breaks over them together, each by itself."""
    try:
        graded = list(grader.grade(pairs))
        if len(graded) != len(pairs):
            raise GraderBrokeError(
                f"{grader.name} gave {len(graded)} grades for {len(pairs)} answers"
            )
    except GraderBrokeError as error:
        fault = str(error)
    except PbiasError:
        raise
    except Exception as error:
        fault = f"{grader.name} broke over this answer: {fault_line(error)}"
    else:
        return graded
    if len(pairs) == 1:
        return [Ungraded(fault, broke=True)]
    found: list[Graded] = []
    for pair in pairs:
        # Each try may take time and money, and a judge that is broken is so for every answer.
        hopeless = len(found) >= _BROKEN_FOR_ALL and not any(isinstance(g, Grade) for g in found)
        found += [Ungraded(fault, broke=True)] if hopeless else _grade(grader, [pair])
    return found
