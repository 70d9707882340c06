"""A task's outcomes as arrays, which the statistics work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.grading.base import CUT_OFF
from pytest_pbias.outcomes.conversion import numbers, row_numbers, scalar
from pytest_pbias.outcomes.references import choose_references
from pytest_pbias.prompts import STATED, Frame, Identity
from pytest_pbias.prompts.cue import CHAT
from pytest_pbias.prompts.identity import Kind

# What the arrays of a task are made of; the texts of the answers are not among it.
OUTCOME_COLUMNS = [
    *("task", "axis", "floor", "item_id", "cluster", "identity", "group", "kind"),
    *("cue", "wording", "placement"),
    *("repeat", "score", "label", "parsable", "judge", "other_grades"),
]

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskOutcomes:
    """The outcomes of one task as arrays.

    ``scores`` has shape (identities, items, repeats), NaN where a response is missing, with the
    identities in ``identities`` (baseline and controls included), the items in ``items``.
    ``unparsable`` has the same shape: 1 where the response could not be parsed, NaN where missing.
    ``cut_off`` gives the share of an identity's responses that ended within a thought, in [0, 1].
    ``clusters`` has shape (items,). ``floor`` is the chance level in [0, 1]. ``references`` gives
    for each identity the number of its baseline, ``placements`` where it stands, and ``wordings``,
    of shape (identities, items), the number of the wording in which it was asked (-1: its cue has
    one sentence). ``judge`` gave
    ``scores``; ``others`` has the scores of further judges, of the same shape, NaN where that judge
    gave no readable verdict. Where asking stopped at looks, ``planned`` items were to be asked (0:
    there were no looks), in the order of ``items``, and ``asked`` says how many of them each
    identity was: the scores behind them are NaN as well. ``controls`` names those of an identity
    where not all that stand where it stands are its own.
    """

    task: str
    axis: str
    floor: float
    identities: tuple[Identity, ...]
    items: tuple[str, ...]
    clusters: npt.NDArray[np.str_]
    scores: Scores
    unparsable: Scores
    references: tuple[int | None, ...]
    placements: tuple[str | None, ...] = ()
    judge: str = ""
    cut_off: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    others: Mapping[str, Scores] = field(default_factory=dict)
    planned: int = 0
    asked: tuple[int, ...] = ()
    wordings: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def n_asked(self, number: int) -> int:
        """How many items identity ``number`` was asked."""
        return self.asked[number] if self.asked else len(self.items)

    def common(self, kind: str | None = None) -> TaskOutcomes:
        """The task on the last items that all identities (of a kind) were asked alike: no gaps.

        Those of other kinds that were asked less are left out.
        """
        wanted = [n for n, one in enumerate(self.identities) if kind in (None, one.kind)]
        if not self.asked or not wanted:
            return self
        n_items = min(self.asked[number] for number in wanted)
        kept = [n for n, asked in enumerate(self.asked) if asked >= n_items]
        part = self._part(kept, n_items)
        return replace(part, asked=(n_items,) * len(kept))

    @property
    def cues(self) -> tuple[str, ...]:
        """How the identities are made known, each cue once, in order."""
        return tuple(dict.fromkeys(one.cue for one in self.identities))

    def of_cue(self, *cues: str) -> TaskOutcomes:
        """The task as it was asked by these cues, on the items of all."""
        kept = [n for n, one in enumerate(self.identities) if one.cue in cues]
        if len(kept) == len(self.identities):
            return self
        return self._part(kept, len(self.items))

    def by_cue(self) -> list[tuple[str, TaskOutcomes]]:
        """The task by each of several cues; with one cue itself, under an empty name."""
        if len(self.cues) < 2:
            return [("", self)]
        return [(cue, self.of_cue(cue)) for cue in self.cues]

    def _part(self, kept: Sequence[int], n_items: int) -> TaskOutcomes:
        """The identities of these numbers on the first items."""
        placed = {old: new for new, old in enumerate(kept)}
        kept = list(kept)
        return replace(
            self,
            identities=tuple(self.identities[number] for number in kept),
            items=self.items[:n_items],
            clusters=self.clusters[:n_items],
            scores=self.scores[kept, :n_items],
            unparsable=self.unparsable[kept, :n_items],
            references=tuple(
                None if (found := self.references[number]) is None else placed.get(found)
                for number in kept
            ),
            placements=tuple(self.placements[number] for number in kept) if self.placements else (),
            cut_off=self.cut_off[kept] if len(self.cut_off) else self.cut_off,
            others={name: scores[kept, :n_items] for name, scores in self.others.items()},
            asked=tuple(self.asked[number] for number in kept) if self.asked else (),
            wordings=self.wordings[kept, :n_items] if self.wordings.size else self.wordings,
        )

    def of_kind(self, kind: str) -> tuple[tuple[Identity, ...], Scores]:
        """Identities of a kind, and their scores of shape (those identities, items, repeats)."""
        index = [i for i, identity in enumerate(self.identities) if identity.kind == kind]
        return tuple(self.identities[i] for i in index), self.scores[index]

    @property
    def baseline(self) -> Scores | None:
        """The baseline's scores, shape (items, repeats), or None where it was not asked."""
        identities, scores = self.of_kind("baseline")
        return scores[0] if identities else None

    def baseline_of(self, number: int) -> Scores | None:
        """The scores of identity ``number``'s baseline, shape (items, repeats)."""
        reference = self.references[number]
        return None if reference is None else self.scores[reference]

    def compared_with(self, number: int, reference: str) -> tuple[int, ...]:
        """The numbers of those whose mean identity ``number`` is compared with.

        As :meth:`chosen` says, and the baseline where it chooses nobody; empty where that was not
        asked either.
        """
        baseline = self.references[number]
        return self.chosen(number, reference) or (() if baseline is None else (baseline,))

    def chosen(self, number: int, reference: str) -> tuple[int, ...]:
        """The numbers of those that ``reference`` chooses: see :func:`choose_references`."""
        return choose_references(
            self.identities,
            self.placements,
            number,
            reference,
            controls=self.controls.get(self.identities[number].name),
        )


def under(name: str, defense: str, cue: str = "") -> str:
    """The name of a task or axis, with its cue and the prompt defense where there are any."""
    by = f"{name} by {cue}" if cue else name
    return by if defense == "none" else f"{by} under {defense}"


def mean_scores(scores: Scores) -> Scores:
    """The mean over several references, NaN where any is: (references, items, repeats) -> (...)."""
    return np.asarray(scores.mean(axis=0), dtype=np.float64)


def task_arrays(
    rows: pa.Table, planned: int = 0, controls: Mapping[str, tuple[str, ...]] | None = None
) -> TaskOutcomes:
    """The rows of one task, with :data:`OUTCOME_COLUMNS`, as arrays.

    ``planned`` items were to be asked where asking stopped at looks, else 0; for ``controls`` see
    :class:`TaskOutcomes`.

    Raises:
        DataError: the task's floor is not known, or two rows contradict each other.
    """
    task, floor = (rows.column(name)[0].as_py() for name in ("task", "floor"))
    if floor is None:
        raise DataError(f"the table does not say the floor of {quoted(task)} (column floor)")
    identity_codes, identity_names = _codes(rows, "identity")
    item_codes, items = _codes(rows, "item_id")
    repeats = numbers(rows.column("repeat"))
    shape = (len(identity_names), len(items), int(repeats.max()) + 1)
    index = (identity_codes, item_codes, repeats)
    scores = np.full(shape, np.nan)
    given = numbers(rows.column("score"))
    scores[index] = given
    if (conflicts := ~np.isclose(scores[index], given, equal_nan=True)).any():
        row = int(np.flatnonzero(conflicts)[0])
        raise DataError(
            f"the table has two scores for {quoted(items[item_codes[row]])} under "
            f"{quoted(identity_names[identity_codes[row]])} (repeat {repeats[row]}); "
            "write it again with one"
        )
    unparsable = np.full(shape, np.nan)
    unparsable[index] = 1.0 - numbers(rows.column("parsable"))
    present = np.zeros(shape[:2], dtype=np.bool_)
    present[identity_codes, item_codes] = True
    cut = numbers(pc.equal(rows.column("label").cast(pa.string()), scalar(CUT_OFF.label)))
    n_cut = np.bincount(identity_codes, np.nan_to_num(cut), len(identity_names))
    first = _first_rows(identity_codes, len(identity_names))
    names = ["group", "kind", "cue", "placement"]
    of_identities = rows.select(names).take(row_numbers(first))
    groups, kinds, cues, placements = (column.to_pylist() for column in of_identities.columns)
    identities = tuple(
        _identity(*known) for known in zip(identity_names, groups, kinds, cues, strict=True)
    )
    wordings = np.full(shape[:2], -1, dtype=np.int64)
    said = numbers(rows.column("wording"))
    wordings[identity_codes, item_codes] = np.where(np.isnan(said), -1, said).astype(np.int64)
    first_item = row_numbers(_first_rows(item_codes, len(items)))
    clusters = rows.column("cluster").take(first_item)
    return TaskOutcomes(
        task=str(task),
        axis=str(rows.column("axis")[0].as_py()),
        floor=float(floor),
        identities=identities,
        items=tuple(items),
        clusters=np.asarray(clusters.to_pylist(), dtype=np.str_),
        scores=scores,
        unparsable=unparsable,
        references=_references(identities, placements),
        placements=tuple(placements),
        cut_off=n_cut / np.bincount(identity_codes, minlength=len(identity_names)),
        judge=", ".join(_distinct(rows, "judge")),
        others=_other_scores(rows, index, shape),
        planned=planned,
        asked=tuple(present.sum(axis=1).tolist()) if planned else (),
        wordings=wordings,
        controls=controls or {},
    )


def _identity(name: str, group: str, kind: Kind, cue: str | None) -> Identity:
    """An identity of a table: of the words that made it known, only the cue is told."""
    if cue == CHAT:
        return Identity(name, group, kind, frame=Frame(placement="history"))
    return Identity(name, group, kind, battery="" if cue in (None, STATED) else cue)


def trait_arrays(rows: pa.Table, count: int) -> Scores:
    """The values of ``count`` traits in the rows of one task, NaN where there is none.

    Of shape (traits, identities, items, repeats), the last three as in :func:`task_arrays`.
    """
    identity_codes, identity_names = _codes(rows, "identity")
    item_codes, items = _codes(rows, "item_id")
    repeats = numbers(rows.column("repeat"))
    found = np.full((count, len(identity_names), len(items), int(repeats.max()) + 1), np.nan)
    column = rows.column("traits").combine_chunks()
    whole = np.flatnonzero(numbers(pc.list_value_length(column)) == count)
    values = numbers(column.take(row_numbers(whole)).flatten()).reshape(-1, count)
    places = [part[whole] for part in (identity_codes, item_codes, repeats)]
    found[:, *places] = values.T
    return found


def _distinct(rows: pa.Table, name: str) -> list[str]:
    values = pc.unique(rows.column(name).cast(pa.string()))
    return [value for value in values.to_pylist() if value is not None]


def _references(
    identities: Sequence[Identity], placements: Sequence[str | None]
) -> tuple[int | None, ...]:
    """The baseline of each identity: that of its cue and placement, else the question alone."""
    baselines = [number for number, one in enumerate(identities) if one.kind == "baseline"]
    alone = next((n for n in baselines if placements[n] in ("none", None)), None)
    usual = alone if alone is not None else next(iter(baselines), None)
    placed = {(identities[number].cue, placements[number]): number for number in baselines}
    return tuple(
        placed.get((one.cue, placement), usual)
        for one, placement in zip(identities, placements, strict=True)
    )


def _other_scores(
    rows: pa.Table,
    index: tuple[npt.NDArray[np.int64], ...],
    shape: tuple[int, ...],
) -> dict[str, Scores]:
    """Scores of the judges beside the primary one, as arrays of ``shape``."""
    column = rows.column("other_grades").combine_chunks()
    grades = column.flatten()
    if not len(grades):
        return {}
    row = numbers(pc.list_parent_indices(column))
    judge, readable, score = (grades.field(name) for name in ("judge", "parsable", "score"))
    values = numbers(pc.if_else(readable, score, scalar(None, pa.float64())))
    names = judge.dictionary_encode()
    codes = numbers(names.indices)
    found = {}
    for code, name in enumerate(names.dictionary.to_pylist()):
        chosen = codes == code
        scores = np.full(shape, np.nan)
        scores[tuple(part[row[chosen]] for part in index)] = values[chosen]
        found[name] = scores
    return found


def _codes(rows: pa.Table, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Integer codes of a text column, and its values in order of first appearance."""
    encoded = rows.column(name).cast(pa.string()).combine_chunks().dictionary_encode()
    return numbers(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()


def _first_rows(codes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    first = np.zeros(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first
