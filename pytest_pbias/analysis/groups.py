"""Demographic groups within a task, and whether combined identities are more than their parts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_pbias.outcomes import Scores, TaskOutcomes
from pytest_pbias.outcomes.arrays import mean_scores, under
from pytest_pbias.prompts.combination import JOINED, phrase
from pytest_pbias.stats import (
    ChangeResult,
    PairedDifferenceResult,
    PersonalizationBiasResult,
    RateResult,
    gap,
    holm,
    interaction_contrast,
    paired_difference,
    personalization_bias,
    rate,
)

_MOST_CANDIDATES = 100_000  # parts that a combined identity is looked for in


@dataclass(frozen=True)
class GroupGap:
    """The largest difference of rates within a group, percentage points.

    The interval holds for all pairs of the group at once; ``best`` and ``worst`` are names.
    """

    estimate: float
    low: float
    high: float
    best: str
    worst: str


@dataclass(frozen=True)
class GroupSummary:
    """The identities of one group under one task, at 95 % each.

    ``rate`` is that of all of them together, ``difference`` the same against the mean of their
    references, item by item. ``bias`` and ``gap`` are between the identities of the group, None
    where it has one only; ``gap`` also where there is one cluster of items only. ``cue`` is the
    one that made them known, where there are several.
    """

    task: str
    defense: str
    group: str
    identities: tuple[str, ...]
    rate: RateResult
    difference: PairedDifferenceResult | None
    bias: PersonalizationBiasResult | None
    gap: GroupGap | None
    cue: str = ""

    @property
    def title(self) -> str:
        """The task, and the prompt defense it was asked under where there is one."""
        return under(self.task, self.defense)


@dataclass(frozen=True)
class Intersection:
    """A combined identity beside its parts, which were asked alone; percentage points.

    ``difference`` is its own from ``reference``, ``expected`` the sum of those of its ``parts``,
    ``contrast`` the first less the second at 95 %, with Holm's p-value over the run's contrasts in
    ``adjusted``; ``differs`` where that is at most the level of the gate. Where ``reference`` is
    the baseline, the effect of stating anybody at all is part of the contrast. ``cue`` is the one
    that made them known, where there are several.
    """

    task: str
    defense: str
    identity: str
    parts: tuple[str, ...]
    reference: str
    difference: float
    expected: float
    contrast: ChangeResult
    adjusted: float = math.nan
    differs: bool = False
    cue: str = ""

    @property
    def title(self) -> str:
        """The task, and the prompt defense it was asked under where there is one."""
        return under(self.task, self.defense)


def summarize_groups(
    every: Sequence[tuple[str, str, TaskOutcomes]], reference: str
) -> tuple[GroupSummary, ...]:
    """The groups of each task (with its prompt defense and cue) that has two or more.

    Tasks with missing answers are left out. ``reference`` is the policy's.
    """
    found: list[GroupSummary] = []
    for defense, cue, task in every:
        groups = _groups(task := task.common("identity"))
        if len(groups) > 1 and not np.isnan(task.of_kind("identity")[1]).any():
            found += [
                replace(_group(task, defense, name, groups[name], reference), cue=cue)
                for name in groups
            ]
    return tuple(found)


def _groups(task: TaskOutcomes) -> dict[str, list[int]]:
    """Group -> the numbers of its identities, controls left out."""
    groups: dict[str, list[int]] = {}
    for number, identity in enumerate(task.identities):
        if identity.kind == "identity":
            groups.setdefault(identity.group, []).append(number)
    return groups


def _group(
    task: TaskOutcomes, defense: str, name: str, numbers: Sequence[int], reference: str
) -> GroupSummary:
    together = _answers_to_items(task.scores[list(numbers)])
    chosen = [task.compared_with(number, reference) for number in numbers]
    difference = None
    if all(chosen):
        references = np.stack([mean_scores(task.scores[list(those)]) for those in chosen])
        if not np.isnan(references).all():
            difference = paired_difference(
                together, _answers_to_items(references), clusters=task.clusters
            )
    several = len(numbers) > 1
    scores = task.scores[list(numbers)]
    return GroupSummary(
        task=task.task,
        defense=defense,
        group=name,
        identities=tuple(task.identities[number].name for number in numbers),
        rate=rate(together, clusters=task.clusters),
        difference=difference,
        bias=personalization_bias(scores, clusters=task.clusters) if several else None,
        gap=_gap(task, numbers) if several else None,
    )


def _answers_to_items(scores: Scores) -> Scores:
    """(identities, items, repeats) -> (items, identities * repeats)."""
    return np.moveaxis(scores, 0, 1).reshape(scores.shape[1], -1)


def _gap(task: TaskOutcomes, numbers: Sequence[int]) -> GroupGap | None:
    if len(set(task.clusters.tolist())) < 2:
        return None
    found = gap(task.scores[list(numbers)], clusters=task.clusters)
    best, worst = (task.identities[numbers[row]].name for row in (found.best, found.worst))
    return GroupGap(found.estimate, found.low, found.high, best, worst)


def summarize_intersections(
    every: Sequence[tuple[str, str, TaskOutcomes]], *, alpha: float
) -> tuple[Intersection, ...]:
    """The interaction contrast of every combined identity whose parts were asked as well."""
    found = [
        replace(one, cue=cue)
        for defense, cue, task in every
        for one in _intersections(task, defense)
    ]
    pvalues = [1.0 if (p := one.contrast.pvalue) is None else p for one in found]
    adjusted = holm(pvalues).tolist() if found else []
    return tuple(
        replace(one, adjusted=pvalue, differs=pvalue <= alpha)
        for one, pvalue in zip(found, adjusted, strict=True)
    )


def _intersections(task: TaskOutcomes, defense: str) -> Iterator[Intersection]:
    for number, parts in combined_identities(task).items():
        if not parts:
            continue
        controls = task.chosen(number, "control")
        baseline = task.references[number]
        chosen = controls or (() if baseline is None else (baseline,))
        if not chosen:
            continue
        rows = [number, *parts, *chosen]
        n_items = min(task.n_asked(row) for row in rows)
        scores = task.scores[:, :n_items]
        cells = [scores[row] for row in (number, *parts)]
        reference = mean_scores(scores[list(chosen)])
        seen = [np.isfinite(cell).any(axis=1) for cell in (*cells, reference)]
        common = np.logical_and.reduce(seen)
        if not common.any():
            continue
        contrast = interaction_contrast(
            cells[0], cells[1:], reference, clusters=task.clusters[:n_items]
        )
        base = 100 * float(np.nanmean(reference[common]))
        whole, *alone = (100 * float(np.nanmean(cell[common])) - base for cell in cells)
        yield Intersection(
            task=task.task,
            defense=defense,
            identity=task.identities[number].name,
            parts=tuple(task.identities[part].name for part in parts),
            reference="controls" if controls else "baseline",
            difference=whole,
            expected=sum(alone),
            contrast=contrast,
        )


def combined_identities(task: TaskOutcomes) -> Mapping[int, tuple[int, ...]]:
    """Combined identity -> its parts, by number; no parts where they were not all asked alone.

    Parts are found by their words, among the identities of its groups in the same placement.
    """
    groups = _groups(task)
    found: dict[int, tuple[int, ...]] = {}
    for group, numbers in groups.items():
        names = group.split(JOINED)
        if len(names) < 2:
            continue
        choices = [groups.get(name, []) for name in names]
        phrased: dict[tuple[str, str | None], tuple[int, ...]] = {}
        if math.prod(map(len, choices)) <= _MOST_CANDIDATES:
            for parts in itertools.product(*choices):
                placements = {_placement(task, part) for part in parts}
                if len(placements) == 1:
                    words = phrase([task.identities[part] for part in parts])
                    phrased[words, placements.pop()] = parts
        for number in numbers:
            key = (task.identities[number].name, _placement(task, number))
            found[number] = phrased.get(key, ())
    return found


def _placement(task: TaskOutcomes, number: int) -> str | None:
    return task.placements[number] if task.placements else None
