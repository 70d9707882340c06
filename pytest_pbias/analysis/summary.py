"""What a run says: rates, differences, PB and verdicts of every task and axis."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.analysis.cues import AxisCues, summarize_cues
from pytest_pbias.analysis.defenses import (
    DefenseSummary,
    Stage,
    outcomes_by_defense,
    summarize_defenses,
    summarize_mitigations,
)
from pytest_pbias.analysis.groups import (
    GroupSummary,
    Intersection,
    combined_identities,
    summarize_groups,
    summarize_intersections,
)
from pytest_pbias.analysis.joint import JointBias, joint_bias
from pytest_pbias.analysis.judges import TaskJudges, summarize_judges
from pytest_pbias.analysis.provider_refusals import ProviderRefusals, provider_refusals
from pytest_pbias.analysis.repeatability import Repeatability, noted_repeatability
from pytest_pbias.analysis.traits import TraitsSummary, summarize_traits
from pytest_pbias.analysis.unparsable import (
    UnparsableFinding,
    cell_without_verdict,
    cut_off_cells,
    summarize_unparsable,
    unreadable_cells,
)
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.gate import (
    AxisOutcomes,
    AxisVerdict,
    BaselineVerdict,
    CellVerdict,
    GatePolicy,
    NoVerdict,
    cluster_notes,
    decide_axis,
    decide_axis_at_looks,
    decide_baseline,
    decide_by_policy,
    strata_claim,
)
from pytest_pbias.models.spec import ApplicationFacts, ServerFacts
from pytest_pbias.outcomes import OutcomeTable, TaskOutcomes, scalar
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.outcomes.facts import ImportedFrom, plain_facts
from pytest_pbias.outcomes.schema import SAMPLING_COLUMNS
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import (
    PersonalizationBiasResult,
    RateResult,
    omnibus_permutation,
    personalization_bias,
    rate,
)
from pytest_pbias.tasks.base import AXES


@dataclass(frozen=True)
class RunInfo:
    """What was measured, and how.

    Token counts are those of the answers in the table, whenever they were asked; ``cost`` is what
    the session itself used, with ``amount`` and ``currency`` where the price is known. ``partial``
    says why the run ended early. ``server`` is what is known of a server that the run started:
    engine, version, type of the weights, arguments. ``engine_noise`` is the A/A check, one entry
    for each baseline that was asked twice. ``judge_costs`` are the tokens behind the verdicts of
    judges that are paid for, by judge. ``imported`` says from which logs the answers are, where no
    session asked them.
    """

    run_id: str
    model: str
    served_identity: str
    placements: tuple[str, ...]
    data: Mapping[str, str]
    revisions: Mapping[str, str]
    judges: tuple[str, ...]
    sampling: Mapping[str, float | str | None]
    n_rows: int
    n_missing: int
    prompt_tokens: int
    completion_tokens: int
    partial: str | None = None
    cost: Spent | None = None
    server: ServerFacts | None = None
    application: ApplicationFacts | None = None
    engine_noise: tuple[Repeatability, ...] = ()
    judge_costs: Mapping[str, Spent] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    imported: ImportedFrom | None = None

    def to_plain(self) -> dict[str, Any]:
        """Every field as JSON; of facts those that are known."""
        fields = {field: getattr(self, field) for field in self.__dataclass_fields__}
        noise = [one.to_plain() for one in self.engine_noise]
        plain = {name: plain_facts(value) for name, value in fields.items()}
        plain |= {name: plain[name] or {} for name in ("cost", "server", "application", "imported")}
        return plain | {"engine_noise": noise}


def run_info(table: OutcomeTable) -> RunInfo:
    """What the table says of the run as a whole."""

    def single(name: str) -> str:
        return "; ".join(table.unique(name))

    def tokens(name: str) -> int:
        return int(pc.sum(table.arrow.column(name)).as_py() or 0)

    def of_tasks(name: str) -> dict[str, str]:
        tasks = table.arrow.column("task").cast(pa.string())
        column = table.arrow.column(name)
        return {
            task: str(column[pc.index(tasks, scalar(task)).as_py()].as_py())
            for task in table.tasks()
        }

    info = table.info
    sampling = table.arrow.select(list(SAMPLING_COLUMNS))
    first = sampling.slice(0, 1).to_pylist()
    return RunInfo(
        run_id=single("run_id"),
        model=single("model"),
        served_identity=single("served_identity"),
        placements=tuple(name for name in table.unique("placement") if name != "none"),
        data=of_tasks("data_hash"),
        revisions=of_tasks("data_revision"),
        judges=tuple(sorted(set(table.unique("judge")))),
        sampling=first[0] if first else {},
        n_rows=len(table),
        n_missing=int(table.arrow.column("score").null_count),
        prompt_tokens=tokens("prompt_tokens"),
        completion_tokens=tokens("completion_tokens"),
        partial=info.partial,
        cost=info.cost,
        judge_costs=info.judges.cost,
        server=info.server,
        application=info.application,
        notes=info.notes,
        imported=info.imported,
        engine_noise=noted_repeatability(info),
    )


_PERMUTATIONS = 9999


@dataclass(frozen=True)
class CellSummary:
    """One identity under one task.

    ``verdict`` is None for the reason ``none``. ``cut_off`` is the share of responses that ended
    within a thought, in [0, 1]. ``n_asked`` items were asked, and ``stop`` says why
    no more where asking stopped at looks: pass, fail, futile, missing, unreadable, or that
    everything was asked.
    """

    identity: Identity
    rate: RateResult | None
    verdict: CellVerdict | None
    n_unparsable: int
    n_missing: int
    none: NoVerdict | None = None
    cut_off: float = 0.0
    n_asked: int = 0
    stop: str = ""

    @property
    def undecided(self) -> str:
        """Why there is no verdict, in a few words; empty where there is one."""
        if self.verdict is not None:
            return ""
        if self.n_missing:
            return f"{self.n_missing:,} answers missing"
        if self.none is NoVerdict.CUT_OFF:
            return "cut off within thoughts"
        unreadable = self.none is NoVerdict.UNREADABLE
        return "no readable answer" if unreadable else "baseline incomplete"


@dataclass(frozen=True)
class TaskSummary:
    """One task; rates and PB in percentage points.

    ``bias`` and ``pvalue`` (permutation test that identities do not differ) are over the
    demographic identities only, and None where fewer than two were asked or answers are missing.
    ``cluster_notes`` say what too few clusters of items leave open. Where asking stopped at looks,
    ``n_planned`` items were to be asked (else 0), ``n_items`` is what the furthest cell was asked,
    and PB is that of the ``n_common`` items that all demographic identities were. ``cue`` is
    what made the identities known, where the run has several cues: each is summarized by itself.
    """

    task: str
    axis: str
    n_items: int
    n_repeats: int
    n_clusters: int
    baseline: BaselineVerdict | None
    mean_rate: float | None
    cells: tuple[CellSummary, ...]
    bias: PersonalizationBiasResult | None
    pvalue: float | None
    defense: str = "none"
    cluster_notes: tuple[str, ...] = ()
    n_planned: int = 0
    n_common: int = 0
    cue: str = ""

    @property
    def title(self) -> str:
        """The task, with its cue and prompt defense where there are several cues, or is one."""
        return under(self.task, self.defense, self.cue)

    @property
    def decided(self) -> tuple[CellSummary, ...]:
        """The cells with a verdict, the lowest rate against baseline first."""
        decided = [cell for cell in self.cells if cell.verdict is not None]
        return tuple(sorted(decided, key=_difference))

    @property
    def warned(self) -> bool:
        """Whether a verdict on one of its cells claims less than usual: too few clusters."""
        return any(cell.verdict is not None and cell.verdict.warning for cell in self.cells)

    def count(self, verdict: str) -> int:
        """How many cells have this verdict."""
        return sum(
            cell.verdict is not None and cell.verdict.verdict.value == verdict
            for cell in self.cells
        )


def _difference(cell: CellSummary) -> tuple[float, str]:
    assert cell.verdict is not None
    return (cell.verdict.difference.estimate, cell.identity.name)


@dataclass(frozen=True)
class Saving:
    """What stopping early saved: requests asked of those planned.

    ``tokens`` are those that the rest would have taken at the mean of the answers, ``amount`` their
    price at that of the session; None where it is not known.
    """

    asked: int
    planned: int
    tokens: int
    amount: float | None = None
    currency: str = ""


def _saving(run: RunInfo, every: Sequence[TaskOutcomes]) -> Saving | None:
    """None where asking did not stop at looks."""
    tasks = [task for task in every if task.planned]
    if not tasks or not run.n_rows:
        return None
    asked = sum(task.scores.shape[2] * sum(task.asked) for task in tasks)
    planned = sum(task.scores.shape[2] * len(task.asked) * task.planned for task in tasks)
    tokens = (planned - asked) * (run.prompt_tokens + run.completion_tokens) / run.n_rows
    spent = run.cost or Spent()
    used = spent.prompt_tokens + spent.completion_tokens
    amount = spent.amount
    return Saving(
        asked,
        planned,
        round(tokens),
        amount * tokens / used if amount is not None and used else None,
        spent.currency or "",
    )


@dataclass(frozen=True)
class RunSummary:
    """A run's numbers and verdicts; the same table gives the same summary.

    ``unasked_parts`` are the combined identities whose parts were not all asked alone.
    """

    run: RunInfo
    policy: GatePolicy
    n_cells: int
    tasks: tuple[TaskSummary, ...]
    axes: tuple[AxisVerdict, ...]
    errors: tuple[str, ...]
    joint: tuple[JointBias, ...] = ()
    groups: tuple[GroupSummary, ...] = ()
    intersections: tuple[Intersection, ...] = ()
    unasked_parts: tuple[str, ...] = ()
    mitigations: tuple[Stage, ...] = ()
    defenses: tuple[DefenseSummary, ...] = ()
    judges: tuple[TaskJudges, ...] = ()
    unparsable: tuple[UnparsableFinding, ...] = ()
    unreadable: tuple[str, ...] = ()
    saving: Saving | None = None
    provider_refusals: tuple[ProviderRefusals, ...] = ()
    cues: tuple[AxisCues, ...] = ()
    traits: TraitsSummary = field(default_factory=TraitsSummary)

    def count(self, verdict: str) -> int:
        """How many cells have this verdict, over all tasks."""
        return sum(task.count(verdict) for task in self.tasks)

    def cells(self) -> Iterator[tuple[TaskSummary, CellSummary]]:
        """Every cell with its task, those without a verdict too."""
        for task in self.tasks:
            for cell in task.cells:
                yield task, cell


@dataclass(frozen=True)
class Decided:
    """Verdicts that the tests of a session ended with.

    Of cells by defense, task and identity, of axes by defense, cue and axis.
    """

    cells: Mapping[tuple[str, str, str], CellVerdict] = field(default_factory=dict)
    axes: Mapping[tuple[str, str, str], AxisVerdict] = field(default_factory=dict)


def summarize(
    table: OutcomeTable, policy: GatePolicy, *, seed: int, decided: Decided | None = None
) -> RunSummary:
    """Compute every number of the report; ``seed`` seeds the permutation tests.

    What is in ``decided`` is shown as it was decided, and not decided again.
    """
    decided = decided or Decided()
    policy = policy.for_run(table.info)
    outcomes = outcomes_by_defense(table)
    outcomes = {name: [policy.drawn(task) for task in found] for name, found in outcomes.items()}
    every = [
        (defense, cue, task)
        for defense, tasks in outcomes.items()
        for whole in tasks
        for cue, task in whole.by_cue()
    ]
    # Of several cues the first is the one whose groups and joint PB are told.
    first = [(defense, *whole.by_cue()[0]) for defense, tasks in outcomes.items()
             for whole in tasks]  # fmt: skip
    alike = [(defense, cue, task.common()) for defense, cue, task in every]
    stops = table.info.stops
    n_cells = sum(
        identity.kind != "baseline" and policy.decides_on(identity.cue)
        for *_, task in every
        for identity in task.identities
    )
    summaries = tuple(
        _summarize_task(
            task,
            policy,
            n_cells,
            np.random.default_rng([seed, number]),
            defense,
            decided,
            stops.get(defense, {}).get(task.task, {}),
            cue,
        )
        for number, (defense, cue, task) in enumerate(every)
    )
    run = run_info(table)
    defenses = summarize_defenses(table, policy)
    return RunSummary(
        run=run,
        saving=_saving(run, [task for *_, task in every]),
        policy=policy,
        n_cells=n_cells,
        tasks=summaries,
        axes=tuple(
            verdict
            for defense, chosen in outcomes.items()
            for verdict in _axes(chosen, policy, defense, decided)
        ),
        errors=table.errors(),
        unreadable=tuple(
            line for *_, task in every for line in (*cut_off_cells(task), *unreadable_cells(task))
        ),
        joint=tuple(
            joint
            for defense, tasks in outcomes.items()
            if (joint := joint_bias(tasks, defense, policy.joint)) is not None
        ),
        groups=summarize_groups(first, policy.reference),
        intersections=summarize_intersections(first, alpha=policy.alpha),
        unasked_parts=tuple(
            dict.fromkeys(
                task.identities[number].name
                for *_, task in first
                for number, parts in combined_identities(task).items()
                if not parts
            )
        ),
        defenses=defenses,
        mitigations=summarize_mitigations(table, defenses, policy),
        judges=tuple(
            judges
            for number, (defense, cue, task) in enumerate(alike)
            if (
                judges := summarize_judges(
                    task, defense, np.random.default_rng([seed, 2, number]), cue
                )
            )
        ),
        unparsable=summarize_unparsable(alike, alpha=policy.alpha, seed=seed),
        provider_refusals=provider_refusals(table),
        cues=summarize_cues(outcomes, policy),
        traits=summarize_traits(table, policy),
    )


def _axes(
    outcomes: Sequence[TaskOutcomes], policy: GatePolicy, defense: str, decided: Decided
) -> list[AxisVerdict]:
    parts: dict[str, list[TaskOutcomes]] = {}
    for whole in outcomes:
        for cue, task in whole.by_cue():
            parts.setdefault(cue, []).append(task)
    verdicts = []
    for cue, axis in itertools.product(parts, AXES):
        tasks = [task for task in parts[cue] if task.axis == axis]
        compared = {
            identity for task in tasks for identity in task.identities if policy.has_gate(identity)
        }
        complete = not any(
            identity.kind != "baseline" and cell_without_verdict(task, number)
            for task in tasks
            for number, identity in enumerate(task.identities)
        )
        if len(compared) >= 2 and complete:
            verdicts.append(
                decided.axes.get((defense, cue, axis))
                or decide_outcomes(axis, tasks, policy, defense=defense, cue=cue)
            )
    return verdicts


def decide_outcomes(
    axis: str,
    outcomes: Sequence[TaskOutcomes],
    policy: GatePolicy,
    *,
    defense: str,
    cue: str = "",
) -> AxisVerdict:
    """Decide on an axis under a defense, over the identities that were asked all of its tasks.

    Of several cues ``outcomes`` has those of one, ``cue``.
    """
    outcomes = [policy.drawn(task).common("identity") for task in outcomes]
    asked = [set(task.of_kind("identity")[0]) for task in outcomes]
    common = set.intersection(*asked) if asked else set()
    tasks, planned = [], []
    for task in outcomes:
        index = [number for number, identity in enumerate(task.identities) if identity in common]
        order = sorted(index, key=lambda number: task.identities[number].name)
        baseline = task.baseline
        if baseline is None:
            continue
        tasks.append(
            AxisOutcomes(task.task, task.scores[order], baseline, task.clusters, task.floor)
        )
        planned.append(task.planned)
    tolerance, alpha = policy.pb_tolerance[axis], policy.alpha
    if planned and all(planned):
        verdict = decide_axis_at_looks(
            axis, tasks, tolerance=tolerance, alpha=alpha, planned=planned
        )
    else:
        verdict = decide_axis(axis, tasks, tolerance=tolerance, alpha=alpha)
    return replace(verdict, defense=defense, cue=cue)


def _summarize_task(
    task: TaskOutcomes,
    policy: GatePolicy,
    n_cells: int,
    rng: np.random.Generator,
    defense: str,
    decided: Decided,
    stops: Mapping[str, str],
    cue: str,
) -> TaskSummary:
    number = next((n for n, one in enumerate(task.identities) if one.kind == "baseline"), None)
    baseline = None if number is None else task.scores[number, : task.n_asked(number)]
    complete_baseline = baseline is not None and not np.isnan(baseline).any()
    alike = task.common("identity")
    identities, scores = alike.of_kind("identity")
    complete = len(identities) >= 2 and not np.isnan(scores).any()
    return TaskSummary(
        task=task.task,
        axis=task.axis,
        n_items=len(task.items),
        n_repeats=int(task.scores.shape[2]),
        n_clusters=len(set(task.clusters.tolist())),
        baseline=decide_baseline(
            baseline,
            clusters=task.clusters[: len(baseline)],
            alpha=policy.alpha,
            floor=task.floor,
        )
        if baseline is not None and complete_baseline
        else None,
        mean_rate=100 * float(np.nanmean(scores)) if np.isfinite(scores).any() else None,
        cells=tuple(
            _summarize_cell(
                task,
                number,
                policy,
                n_cells,
                decided.cells.get((defense, task.task, identity.name)),
                stops.get(identity.name, ""),
            )
            for number, identity in enumerate(task.identities)
            if identity.kind != "baseline"
        ),
        bias=personalization_bias(scores, clusters=alike.clusters) if complete else None,
        pvalue=omnibus_permutation(
            scores, rng=rng, n_permutations=_PERMUTATIONS, clusters=alike.clusters
        ).pvalue
        if complete
        else None,
        defense=defense,
        cluster_notes=cluster_notes(task.clusters),
        n_planned=task.planned,
        n_common=len(alike.items),
        cue=cue,
    )


def _summarize_cell(
    task: TaskOutcomes,
    number: int,
    policy: GatePolicy,
    n_cells: int,
    verdict: CellVerdict | None,
    stop: str,
) -> CellSummary:
    n_asked = task.n_asked(number)
    scores, baseline = task.scores[number, :n_asked], task.baseline_of(number)
    clusters = task.clusters[:n_asked]
    missing = int(np.isnan(scores).sum())
    none = cell_without_verdict(task, number, policy.reference)
    if verdict is None and none is None and baseline is not None:
        verdict = decide_by_policy(
            scores,
            baseline[:n_asked],
            [task.scores[one, :n_asked] for one in task.chosen(number, policy.reference)],
            lambda: [task.scores[one, :n_asked] for one in task.chosen(number, "control")],
            policy=policy,
            clusters=clusters,
            planned=task.planned,
            margin=policy.margin_for(task.task, task.axis, task.identities[number].name),
            n_cells=policy.sharing(n_cells),
            floor=task.floor,
            cue=task.identities[number].cue,
        )
    return CellSummary(
        identity=task.identities[number],
        rate=rate(scores, clusters=clusters) if missing < scores.size else None,
        verdict=verdict,
        n_unparsable=int(np.nansum(task.unparsable[number])),
        n_missing=missing,
        none=none,
        n_asked=n_asked,
        stop=stop,
        cut_off=float(task.cut_off[number]) if len(task.cut_off) else 0.0,
    )


def reference_note(summary: RunSummary) -> str:
    """Whom identities are compared with, where that is not the baseline; empty where it is.

    Tasks whose identities could only be compared with the baseline are named.
    """
    who = summary.policy.reference
    if who == "baseline":
        return ""
    usual = {"control": "the mean of the controls", "identities": "the mean of all identities"}
    bare = [
        task.title
        for task in summary.tasks
        if any(
            cell.identity.kind == "identity"
            and cell.identity.name != who
            and cell.verdict is not None
            and cell.verdict.reference == "baseline"
            for cell in task.cells
        )
    ]
    more = f" and {len(bare) - 3} more" if len(bare) > 3 else ""
    nobody = f"; with the baseline, for want of these, in {', '.join(bare[:3])}{more}"
    return (
        f"identities are compared with {usual.get(who, who)} {_there(summary)}, "
        f"controls with the baseline{nobody if bare else ''}"
    )


def _there(summary: RunSummary) -> str:
    """Where those stand whom an identity is compared with."""
    several = any(task.cue for task in summary.tasks)
    return "of the same cue and placement" if several else "in the same placement"


def gated_cues_note(summary: RunSummary) -> str:
    """Which cues are decided on, where others were asked; empty where all of them are."""
    cues = dict.fromkeys(cell.identity.cue for _, cell in summary.cells())
    others = [cue for cue in cues if not summary.policy.decides_on(cue)]
    if not others:
        return ""
    own = 100 * (1 - summary.policy.alpha)
    return (
        f"the gate is asked of {', '.join(summary.policy.cues)} only: cells by "
        f"{', '.join(others)} are findings, each with its own {own:g} % interval; they decide "
        "nothing and have no share in the level"
    )


def strata_note(summary: RunSummary) -> str:
    """Which claim is made where clusters are strata; empty where there are none such."""
    return strata_claim(summary.policy.strata_among(task.task for task in summary.tasks))


def policy_notes(summary: RunSummary) -> tuple[str, ...]:
    """What is particular about what was decided: compared with whom, of which cues, of whom."""
    notes = (reference_note(summary), gated_cues_note(summary), strata_note(summary))
    return tuple(note for note in notes if note)


def verdict_counts(summary: RunSummary) -> Counter[str]:
    """How many cells have each verdict, ``error`` included."""
    counts: Counter[str] = Counter()
    for _, cell in summary.cells():
        counts["error" if cell.verdict is None else cell.verdict.verdict.value] += 1
    return counts
