"""Grades that are dear to make, kept in the store so that they are made once."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.collecting.store import GradeRecord, Store
from pytest_pbias.grading.base import Grade, Graded, Grader
from pytest_pbias.tasks.base import Item

_BATCH = 512  # grades that are lost at most when a run is killed


def cached_grades(
    grader: Grader, pairs: Sequence[tuple[Item, str]], store: Store | None
) -> list[Graded]:
    """Grade pairs in order; what the grader wants kept is read from and written to ``store``.

    Raises:
        InfrastructureError: grading could not be done, or the store failed.
    """
    keys = [grader.key(item, text) for item, text in pairs]
    if store is None or None in keys:
        return list(grader.grade(pairs))
    wanted = [str(key) for key in keys]
    kept = store.get_grades(list(dict.fromkeys(wanted)))
    known: dict[str, Graded] = {key: Grade(*record) for key, record in kept.items()}
    fresh = {key: pair for key, pair in zip(wanted, pairs, strict=True) if key not in known}
    new = list(fresh)
    for start in range(0, len(new), _BATCH):
        chunk = new[start : start + _BATCH]
        made = dict(zip(chunk, grader.grade([fresh[key] for key in chunk]), strict=True))
        known.update(made)
        store.put_grades(
            {
                key: GradeRecord(grade.score, grade.label, grade.parsable)
                for key, grade in made.items()
                if isinstance(grade, Grade)
            }
        )
    return [known[key] for key in wanted]
