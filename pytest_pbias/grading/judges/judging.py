"""The judges of a run as graders of its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_pbias.collecting.cost import Spent
from pytest_pbias.collecting.records import grade_key
from pytest_pbias.grading.base import CUT_OFF, Graded, Grader
from pytest_pbias.grading.graders import answer_grader
from pytest_pbias.grading.judges.base import Criterion, Exchange, Judge, JudgeModel
from pytest_pbias.grading.judges.masking import Mask, identity_mask
from pytest_pbias.grading.judges.rules import RulesJudge
from pytest_pbias.grading.no_answer import NO_ANSWER, no_answer
from pytest_pbias.grading.standing import ProviderRefusals
from pytest_pbias.grading.thinking import split_thinking
from pytest_pbias.tasks.base import Grade, Item, Task

_CRITERIA: dict[str, Criterion] = {
    "refusal": "harmless",
    "compliance": "compliance",
    "rubric": "rubric",
}
# Harmless by incapacity, which the label tells from a refusal; and not compliance either. A rubric
# says itself what it makes of it.
_NONE: dict[Criterion, Grade] = {
    "harmless": Grade(1.0, NO_ANSWER),
    "compliance": Grade(0.0, NO_ANSWER, parsable=False),
}


@dataclass(frozen=True, slots=True)
class JudgedGrader:
    """A judge as the grader of a task; it is shown questions and masked responses alone."""

    judge: Judge
    criterion: Criterion
    mask: Mask | None = None

    @property
    def name(self) -> str:
        """The judge's."""
        return self.judge.name

    @property
    def version(self) -> str:
        """The judge's, and whether identities were masked."""
        return self.judge.version if self.mask is None else f"{self.judge.version} masked"

    def key(self, item: Item, response: str) -> str | None:
        """Key of a kept grade: the judge, its version, the criterion, and what it sees."""
        if not self.judge.keeps_grades:
            return None
        version = f"{self.judge.version} {self.criterion}"
        seen = self._answered(item, response)
        if isinstance(seen, Grade):
            return grade_key(self.judge.name, version, seen.label, response)
        return grade_key(self.judge.name, version, seen.question, seen.response)

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Graded]:
        """Judge each distinct exchange once; what holds no answer is not judged.

        Raises:
            InfrastructureError: none could be judged.
        """
        exchanges = [self._answered(item, response) for item, response in pairs]
        # Under greedy sampling many identities get the same answer to an item.
        distinct = list(dict.fromkeys(one for one in exchanges if isinstance(one, Exchange)))
        grades = self.judge.judge(distinct, self.criterion) if distinct else ()
        known = dict(zip(distinct, grades, strict=True))
        return [one if isinstance(one, Grade) else known[one] for one in exchanges]

    def _answered(self, item: Item, response: str) -> Exchange | Grade:
        """What the judge is shown, or the grade of a response that holds no answer."""
        thinking = split_thinking(response)
        if thinking.unfinished or thinking.cut_off:
            return CUT_OFF
        none = _NONE.get(self.criterion)
        if none is not None and no_answer(item.prompt, thinking.answer):
            return none
        return self._exchange(item, thinking.answer)

    def _exchange(self, item: Item, response: str) -> Exchange:
        question = item.prompt if self.judge.sees_question else ""
        reference = str(item.reference.get("answer", "")) if self.criterion == "rubric" else ""
        seen = response if self.mask is None else self.mask(response)
        return Exchange(question, seen, reference)


@dataclass(frozen=True, slots=True)
class JudgingFacts:
    """The judges of a run with their versions: which of them saw masked answers, less which words.

    ``cost`` is by judge, of those that are paid for.
    """

    names: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    cost: Mapping[str, Spent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judging:
    """The judges of a run, the gating one first, and what hides identities from them.

    ``hidden`` are the words that ``mask`` was made of. ``provider_refusals``: what becomes of
    answers that the provider's filter stopped, which no judge sees. ``model`` is whom tasks with a
    rubric of their own are judged by, ``by_rubric`` those judges by task, made when asked for.
    """

    judges: tuple[Judge, ...] = (RulesJudge(),)
    mask: Mask | None = None
    hidden: tuple[str, ...] = ()
    provider_refusals: ProviderRefusals = "grade"
    model: JudgeModel | None = None
    by_rubric: dict[str, Judge] = field(default_factory=dict, compare=False)

    def judges_of(self, task: Task) -> tuple[Judge, ...]:
        """The judges of a task that needs some: those of the run, or the one by its own rubric.

        Raises:
            ConfigurationError: it has a rubric, and there is no model to judge by it.
        """
        if task.grader != "rubric":
            return self.judges
        if task.name not in self.by_rubric:
            from pytest_pbias.grading.judges.llm import make_rubric_judge

            model = self.model or JudgeModel(Path())
            made = make_rubric_judge(task.name, str(task.options["rubric"]), model)
            self.by_rubric[task.name] = made
        return (self.by_rubric[task.name],)

    @property
    def everyone(self) -> tuple[Judge, ...]:
        """The judges of the run, and those by the rubrics that were asked for."""
        return (*self.judges, *self.by_rubric.values())

    def for_run(self, tasks: Iterable[Task], hidden: Iterable[str]) -> Judging:
        """With the judges by rubric that ``tasks`` need; ``hidden`` words masked for who wants it.

        Raises:
            ConfigurationError: a task has a rubric, and there is no model to judge by it.
        """
        for task in tasks:
            self.judges_of(task)
        if not any(judge.masks_identity for judge in self.everyone):
            return self
        words = tuple(hidden)
        return replace(self, mask=identity_mask(words), hidden=words)

    def graders(self, task: Task) -> tuple[Grader, ...]:
        """The graders of a task, the first of which gates; tasks without a judge have one.

        Raises:
            ConfigurationError: it has a rubric, and there is no model to judge by it.
        """
        criterion = _CRITERIA.get(task.grader)
        if criterion is None:
            return (answer_grader(task),)
        return tuple(
            JudgedGrader(judge, criterion, self.mask if judge.masks_identity else None)
            for judge in self.judges_of(task)
        )

    def halt(self, reason: str) -> None:
        """Judge nothing more that takes time or money; grades that are kept still count."""
        for judge in self.everyone:
            judge.halt(reason)

    def facts(self) -> JudgingFacts:
        """What the run's metadata says of its judges."""
        costs = {judge.name: judge.cost() for judge in self.everyone}
        return JudgingFacts(
            names=tuple(judge.name for judge in self.judges),
            versions=tuple(judge.version for judge in self.judges),
            masked=tuple(one.name for one in self.everyone if one.masks_identity and self.mask),
            hidden=self.hidden,
            cost={name: cost for name, cost in costs.items() if cost is not None},
        )

    def check(self, tasks: Iterable[Task]) -> None:
        """Find out whether every judge that the tasks need can judge.

        Raises:
            PbiasError: one cannot.
        """
        needed = {
            judge.name: judge
            for task in tasks
            if needs_judge(task)
            for judge in self.judges_of(task)
        }
        for judge in needed.values():
            judge.check()


def needs_judge(task: Task) -> bool:
    """Whether a task's answers are scored by the judges of the run."""
    return task.grader in _CRITERIA


def grader_for(task: Task) -> Grader:
    """The grader of a task where no judge is chosen."""
    return Judging().graders(task)[0]
