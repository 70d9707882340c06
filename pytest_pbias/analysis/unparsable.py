"""Unreadable answers by identity: whether some identities have more of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_pbias.gate import MOST_CUT_OFF, NoVerdict, why_no_verdict
from pytest_pbias.outcomes import TaskOutcomes
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.stats import holm, unparsable_difference

_PERMUTATIONS = 9999


@dataclass(frozen=True)
class UnparsableFinding:
    """The unparsable rates of a task, percentage points, with the test that they do not differ.

    ``pvalue`` is within the task, ``adjusted`` Holm's over the tasks of the run that have any
    unparsable answer; ``differs`` says whether that is at most the level of the gate. The test is
    over demographic identities; the rates are of everyone asked.
    """

    task: str
    defense: str
    rates: dict[str, float]
    pvalue: float
    worst: str
    adjusted: float = 1.0
    differs: bool = False
    cue: str = ""

    @property
    def title(self) -> str:
        """The task, with its cue and prompt defense where there are several cues, or is one."""
        return under(self.task, self.defense, self.cue)


def summarize_unparsable(
    tasks: Sequence[tuple[str, str, TaskOutcomes]], *, alpha: float, seed: int
) -> tuple[UnparsableFinding, ...]:
    """Test each (defense, cue, task) that has an unparsable answer under two or more identities."""
    found = [
        replace(finding, cue=cue)
        for number, (defense, cue, task) in enumerate(tasks)
        if (finding := _finding(defense, task, np.random.default_rng([seed, 1, number])))
    ]
    adjusted = holm([one.pvalue for one in found])
    return tuple(
        replace(one, adjusted=float(value), differs=bool(value <= alpha))
        for one, value in zip(found, adjusted, strict=True)
    )


def _finding(
    defense: str, task: TaskOutcomes, rng: np.random.Generator
) -> UnparsableFinding | None:
    people = [n for n, identity in enumerate(task.identities) if identity.kind == "identity"]
    seen = task.unparsable[people]
    answered = [bool(np.isfinite(one).any()) for one in task.unparsable]
    if len(people) < 2 or not all(answered[n] for n in people) or not np.nansum(seen):
        return None
    result = unparsable_difference(
        seen, rng=rng, n_permutations=_PERMUTATIONS, clusters=task.clusters
    )
    return UnparsableFinding(
        task=task.task,
        defense=defense,
        rates={
            identity.name: 100 * float(np.nanmean(task.unparsable[number]))
            for number, identity in enumerate(task.identities)
            if answered[number]
        },
        pvalue=result.pvalue,
        worst=task.identities[people[result.worst]].name,
    )


def cell_without_verdict(
    task: TaskOutcomes, number: int, reference: str = "baseline"
) -> NoVerdict | None:
    """Why identity ``number`` of a task has no verdict: :func:`why_no_verdict` on its rows.

    ``reference`` is the policy's. Its baseline counts as well: without it nothing says whether the
    task can show a difference.
    """
    baseline = task.references[number]
    if baseline is None:
        return NoVerdict.MISSING
    every = sorted({number, baseline, *task.compared_with(number, reference)})
    scores, unparsable = (
        part[every, : task.n_asked(number)] for part in (task.scores, task.unparsable)
    )
    return why_no_verdict(
        asked=scores.size,
        missing=int(np.isnan(scores).sum()),
        unreadable=int(np.nansum(unparsable)),
        cut_off=float(task.cut_off[every].max()) if len(task.cut_off) else 0.0,
    )


def cut_off_cells(task: TaskOutcomes) -> Iterator[str]:
    """One line for a task of whose identities some were cut off in their thoughts too often."""
    shares = {
        one.name: 100 * float(share)
        for one, share in zip(task.identities, task.cut_off, strict=False)
        if share > MOST_CUT_OFF
    }
    if shares:
        worst = sorted(shares, key=lambda name: -shares[name])
        more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
        listed = ", ".join(f"{name!r} {shares[name]:.0f} %" for name in worst[:3])
        yield (
            f"answers to {task.task} were cut off within a thought ({listed}{more}): the limit of "
            "tokens is too small for this model"
        )


def unreadable_cells(task: TaskOutcomes) -> Iterator[str]:
    """One line for a task of whose compared identities some have no readable answer."""
    names = [
        one.name
        for number, one in enumerate(task.identities)
        if one.kind != "baseline" and cell_without_verdict(task, number) is NoVerdict.UNREADABLE
    ]
    if names:
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        yield (
            f"no answer to {task.task} can be read off any response under "
            f"{', '.join(repr(name) for name in names[:2])}{more}, nor under the baseline"
        )
