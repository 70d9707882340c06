"""What a session is going to ask: its rounds, how much at most, and what that may cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pytest_pbias.analysis.stopping import Score, Stopping
from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, Work
from pytest_pbias.collecting.schedule import Schedule
from pytest_pbias.gate import GatePolicy
from pytest_pbias.grading.judges import Judging, needs_judge
from pytest_pbias.plugin.asking import MakeSchedule
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.prompts import Placement
from pytest_pbias.stats.looks import items_to_pass, look_schedule
from pytest_pbias.tasks import Task, TaskData

_SECONDS_AN_ANSWER = 2.0


def sharing_cells(cells: Iterable[Cell], policy: GatePolicy) -> int:
    """How many cells share the level: those decided on here, or in all shards together."""
    return policy.sharing(
        sum(cell.is_compared and policy.decides_on(cell.identity.cue) for cell in cells)
    )


def planned_items(
    cells: Iterable[Cell], data: Mapping[str, TaskData], settings: Settings
) -> dict[str, int]:
    """The items planned of each task, where asking may stop before all of them; else nothing."""
    known = list(cells)
    planned = {cell.task.name: len(data[cell.task.name].items) for cell in known}
    stops = settings.stop == "early" and any(cell.is_compared for cell in known)
    more = any(len(look_schedule(n_items)) > 1 for n_items in planned.values())
    return planned if stops and more else {}


_ONE_BATCH = (
    "--pbias-batch asks everything at once: nothing stops early; with --pbias-stop=early each look "
    "is a batch of its own"
)


def asked_at_once(cells: Iterable[Cell], data: Mapping[str, TaskData], settings: Settings) -> str:
    """One line where nothing stops early because everything is in one batch; else nothing."""
    early = planned_items(cells, data, replace(settings, stop="early"))
    return _ONE_BATCH if settings.spending.batch and settings.stop == "never" and early else ""


def expected_share(
    cells: Iterable[Cell],
    planned: Mapping[str, int],
    settings: Settings,
    references: Callable[[Cell], tuple[Cell, ...]],
) -> float | None:
    """The share of all items asked where nothing differs and a tenth of answers change; or None.

    What a cell is compared with, its baseline and its ``references``, is asked as far as itself.
    """
    known = list(cells)
    if not planned:
        return None
    policy = settings.policy
    n_cells = sharing_cells(known, policy)
    asked: dict[Cell, int] = {}
    for cell in known:
        if cell.is_compared:
            margin = policy.margin_of(cell)
            n_items = planned[cell.task.name]
            if policy.decides_on(cell.identity.cue):
                n_items = items_to_pass(n_items, margin=margin, n_cells=n_cells, alpha=policy.alpha)
            for one in (cell, cell.baseline, *references(cell)):
                asked[one] = max(n_items, asked.get(one, 0))
    every = sum(planned[cell.task.name] for cell in known)
    return sum(asked.get(cell, planned[cell.task.name]) for cell in known) / every


def schedule_maker(
    work: Work,
    planned: Mapping[str, int],
    settings: Settings,
    score: Callable[[RequestSettings], Score],
    references: Callable[[Cell, Placement], tuple[Cell, ...]],
) -> MakeSchedule:
    """Makes the rounds of a session; none where ``planned`` is empty."""

    def make(protocol: RequestSettings, announce: Callable[[], None]) -> Schedule | None:
        if not planned:
            return None
        stopping = Stopping(
            work.cells,
            settings.policy,
            n_cells=sharing_cells(work.cells, settings.policy),
            planned=planned,
            score=score(protocol),
            references=lambda cell: references(cell, protocol.placement),
        )
        looks = {task: look_schedule(n_items) for task, n_items in planned.items()}
        return Schedule(work, protocol, looks, stopping, announce)

    return make


@dataclass(frozen=True)
class Estimate:
    """The plan of a run at its worst. Tokens of prompts are estimated at 4 characters each.

    ``by_cue`` has the requests of each of several cues, answered or not.
    ``share`` of the requests are expected where asking stops early, nothing differs and a tenth of
    the answers change; None where everything is asked.
    """

    cells: int
    requests: int
    stored: int
    prompt_tokens: float
    most_completion_tokens: int
    seconds: float
    share: float | None = None
    by_cue: Mapping[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Requests that would be sent."""
        return self.requests - self.stored


def estimate(
    work: Work,
    protocol: RequestSettings,
    store: Store,
    settings: Settings,
    share: float | None = None,
) -> Estimate:
    """Plan every request without sending one; ``share`` of them are expected to be sent.

    Raises:
        StoreError: the store cannot be read.
    """
    seen: set[str] = set()
    stored = 0
    characters = 0
    by_cue: Counter[str] = Counter()
    for cell in (*work.cells, *work.again):
        by_cue[cell.identity.cue] += protocol.repeats * len(work.data[cell.task.name].items)
    for batch in work.batches(protocol):
        requests = {request.key: request for request in batch if request.key not in seen}
        seen |= requests.keys()
        missing = store.missing(requests)
        stored += len(requests) - len(missing)
        characters += sum(
            len(message["content"]) for key in missing for message in requests[key].messages
        )
    count = len(seen) - stored
    prompt, answer = characters / 4, count * protocol.sampling.max_tokens
    spending = settings.spending
    seconds = count * _SECONDS_AN_ANSWER / settings.concurrency
    if spending.rpm is not None:
        seconds = max(seconds, 60 * count / spending.rpm)
    if spending.tpm is not None:
        seconds = max(seconds, 60 * (prompt + answer / 2) / spending.tpm)
    cues = by_cue if len(by_cue) > 1 else {}
    return Estimate(len(work.cells), len(seen), stored, prompt, answer, seconds, share, cues)


def estimate_lines(plan: Estimate, settings: Settings) -> list[str]:
    """The plan for people."""
    price = settings.spending.price
    lines = [
        f"{plan.cells:,} cells with their baselines, {plan.requests:,} requests, "
        f"{plan.stored:,} answered already",
        f"to ask: {plan.missing:,} requests",
        f"tokens: about {plan.prompt_tokens:,.0f} in, at most {plan.most_completion_tokens:,} out",
    ]
    if plan.by_cue:
        cues = ", ".join(f"{cue} {count:,}" for cue, count in plan.by_cue.items())
        lines.insert(1, f"requests by cue: {cues}")
    if price is None:
        lines.append(f"cost: no price is known for {settings.model.name} (--pbias-prices=FILE)")
    else:
        least = price.of(plan.prompt_tokens, 0)
        most = price.of(plan.prompt_tokens, plan.most_completion_tokens)
        lines.append(f"cost: {least:,.2f} to {most:,.2f} {price.currency} at list price")
    if plan.share is not None:
        cost = ""
        if price is not None:
            dear = price.of(plan.prompt_tokens, plan.most_completion_tokens)
            cost = f" for at most {plan.share * dear:,.2f} {price.currency}"
        lines.append(
            f"expected: about {plan.share * plan.requests:,.0f} of all requests{cost}, if nothing "
            "differs and a tenth of answers change: what is decided is asked no further"
        )
    minutes = plan.seconds / 60
    lines.append(
        f"time: about {minutes:,.1f} minutes, if an answer takes {_SECONDS_AN_ANSWER:g} s "
        f"({settings.concurrency} at once)"
    )
    return [*lines, "nothing was asked (--pbias-plan)"]


def planned_verdicts(
    judging: Judging, n_answers: Mapping[str, int], tasks: Mapping[str, Task]
) -> list[str]:
    """What judges that are paid for would be asked besides; ``n_answers`` by task."""
    counts: Counter[str] = Counter()
    for name, count in n_answers.items():
        if needs_judge(tasks[name]):
            counts.update({judge.name: count for judge in judging.judges_of(tasks[name])
                           if judge.cost()})  # fmt: skip
    return [
        f"judge {name}: at most {count:,} verdicts besides, not in these figures"
        for name, count in counts.items()
    ]
