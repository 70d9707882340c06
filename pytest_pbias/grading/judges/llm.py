"""Judging by a language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_pbias.collecting.collector import Collector
from pytest_pbias.collecting.cost import Spent, find_price
from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.records import prompt_hash, request_key
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import ConfigurationError, PbiasError, StoreError
from pytest_pbias.grading.base import Graded, Ungraded
from pytest_pbias.grading.judges.base import Criterion, Exchange, JudgeModel
from pytest_pbias.grading.judges.rubrics import RUBRICS, Rubric, own_rubric
from pytest_pbias.models import ModelSpec, resolve_model
from pytest_pbias.models.chat import BLOCKED, ChatRequest, Response, Sampling, is_blank
from pytest_pbias.models.spec import parse_headers
from pytest_pbias.tasks.base import Grade

if TYPE_CHECKING:
    from pytest_pbias.models.balance import Balanced
    from pytest_pbias.models.client import Endpoint

KEY_ENV = "PBIAS_JUDGE_API_KEY"
DEFAULT_RUBRIC = "strongreject"
_UNREADABLE = Grade(0.0, "unparsable", parsable=False)


@dataclass(slots=True)
class LlmUsage:
    """Tokens of the replies that this process's verdicts rest on, whenever they were asked."""

    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seen: set[str] = field(default_factory=set)

    def add(self, responses: Iterable[Response]) -> None:
        """Count replies, each once."""
        for response in responses:
            if response.key not in self.seen:
                self.seen.add(response.key)
                self.replies += 1
                self.prompt_tokens += response.prompt_tokens or 0
                self.completion_tokens += response.completion_tokens or 0


class LlmJudge:
    """A language model that judges by a rubric; see :data:`RUBRICS`.

    Replies are kept in a store of their own beside the answers', under keys that hold the judge's
    name and version, its endpoint and what it saw: nothing is asked twice, and a reply is never
    taken for an answer. They are asked by the same collector as answers, with its retries.
    """

    sees_question = True
    masks_identity = True
    keeps_grades = False  # the replies are kept

    def __init__(self, rubric: Rubric, spec: ModelSpec, model: JudgeModel) -> None:
        self.rubric = rubric
        self.spec = spec
        self.name = f"llm:{rubric.name}"
        self.version = f"{rubric.version} {spec.served_name}"
        self.usage = LlmUsage()
        self._model = model
        self._dead: str | None = None

    @cached_property
    def _store(self) -> Store:
        return Store(self._model.store_dir / "judgements.sqlite")

    def check(self) -> None:
        """Find out whether the endpoint answers and serves the model.

        Raises:
            PbiasError: it does not, or rejects the key.
        """
        from pytest_pbias.models.negotiation import check_served_model

        try:
            check_served_model(self.spec, timeout=self._model.timeout)
        except PbiasError as error:
            raise _of_judge(error, f"judge {self.name}: {error}") from None

    def judge(self, exchanges: Sequence[Exchange], criterion: Criterion) -> list[Graded]:
        """Ask for a verdict on each; once more where the reply cannot be read.

        An endpoint that gave up is not tried again; what it has said before still counts.

        Raises:
            StoreError: the replies cannot be kept.
        """
        replies, failures = self._ask(exchanges, again=False)
        readings = {one: self.rubric.read(reply) for one, reply in replies.items()}
        unread = [one for one, reading in readings.items() if reading is None]
        if unread:
            again, more = self._ask(unread, again=True)
            readings |= {one: self.rubric.read(reply) for one, reply in again.items()}
            failures |= more
        grades: list[Graded] = []
        for one in exchanges:
            if one in failures:
                grades.append(Ungraded(f"judge {self.name}: {failures[one]}"))
            else:
                reading = readings[one]
                grades.append(_UNREADABLE if reading is None else reading.grade(criterion))
        return grades

    def halt(self, reason: str) -> None:
        """Ask nothing more."""
        self._dead = reason

    def cost(self) -> Spent:
        """Tokens behind this process's verdicts, and their list price where it is known."""
        usage = self.usage
        price = find_price(self.spec.served_name, self._model.prices)
        tokens = (usage.prompt_tokens, usage.completion_tokens)
        return Spent.at(price, *tokens, replies=usage.replies)

    def _ask(
        self, exchanges: Sequence[Exchange], *, again: bool
    ) -> tuple[dict[Exchange, str], dict[Exchange, str]]:
        """The reply to each exchange, or why there is none."""
        requests = {one: self._request(one, again=again) for one in exchanges}
        keys = [request.key for request in requests.values()]
        failed: Mapping[str, str] = {}
        if self._store.missing(keys):
            # Workers judge the same baseline at once: what one has asked, another must not pay for.
            with self._alone():
                missing = set(self._store.missing(keys))
                failed = self._collect([one for one in requests.values() if one.key in missing])
        found = self._store.get_many(keys)
        self.usage.add(found.values())
        replies: dict[Exchange, str] = {}
        reasons: dict[Exchange, str] = {}
        for one, request in requests.items():
            reply = found.get(request.key)
            if reply is None:
                reasons[one] = failed.get(request.key, "the reply was lost")
            elif reply.finish_reason == BLOCKED:
                reasons[one] = "its provider's content filter stopped the reply"
            elif is_blank(reply.text):
                reasons[one] = (
                    f"its reply of at most {self._model.max_tokens} tokens was all thought: allow "
                    "the judge more tokens"
                )
            else:
                replies[one] = reply.text
        return replies, reasons

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from asking; the lock goes with the process that holds it."""
        path = self._store.path.with_suffix(".lock")
        with ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                reason = error.strerror or str(error)
                raise StoreError(f"{path} cannot be locked: {reason}") from None
            yield

    def _request(self, exchange: Exchange, *, again: bool) -> ChatRequest:
        messages = self.rubric.messages(exchange, again=again)
        asked = f"{self.rubric.asked} {self.spec.served_name}"
        judge = f"judge {self.name} {asked} at {self.spec.served_identity}"
        attempt = int(again)
        sampling = Sampling(max_tokens=self._model.max_tokens)
        key = request_key(judge, prompt_hash(messages), sampling, seed=0, repeat=attempt)
        return ChatRequest(key, messages, sampling, attempt)

    def _collect(self, requests: Sequence[ChatRequest]) -> Mapping[str, str]:
        """Ask what the store lacks; the reasons of those that finally failed, by key."""
        if not requests:
            return {}
        if self._dead is not None:
            return dict.fromkeys((request.key for request in requests), self._dead)
        total = max(6 * self._model.patience, 1.5 * self._model.timeout)
        collector = Collector(
            self._store,
            requests,
            self._connect,
            concurrency=self._model.concurrency,
            breaker_seconds=self._model.patience,
            policy=RetryPolicy(total=total),
        )
        start = time.monotonic()
        collector.start()
        try:
            failures = collector.wait(request.key for request in requests)
        finally:
            collector.stop()
        reasons = {key: failure.reason for key, failure in failures.items()}
        self._dead = collector.end_reason
        if (
            self._dead is None
            and time.monotonic() - start > total / 2
            and len(reasons) == len(requests)
        ):
            # Throttled from first to last: the next ones would wait as long again.
            self._dead = next(iter(reasons.values()))
        return reasons

    def _connect(self) -> Endpoint | Balanced:
        from pytest_pbias.grading.judges.endpoint import StructuredEndpoint
        from pytest_pbias.models.balance import balanced

        return balanced(
            StructuredEndpoint(
                url,
                self.spec.served_name,
                self.spec.api_key(),
                concurrency=self._model.concurrency,
                timeout=self._model.timeout,
                headers=self.spec.header_values(),
                response_format=self.rubric.response_format(),
            )
            for url in (self.spec.base_url, *self.spec.more_urls)
        )


def _of_judge(error: PbiasError, text: str) -> PbiasError:
    """An error about a model as one about the judge's, which has settings of its own."""
    known = error.setting in ("model", "base-url", "api-key-env", "header")
    return type(error)(text, setting=f"judge-{error.setting}" if known else error.setting)


def make_llm_judge(argument: str, model: JudgeModel) -> LlmJudge:
    """The judge ``llm:ARGUMENT``; the argument names a rubric.

    Its API key comes from the variable that ``model`` names, else from ``PBIAS_JUDGE_API_KEY``,
    else from that of the model's alias; the key of the measured model is never sent to it.

    Raises:
        ConfigurationError: no model or endpoint is given, or the rubric is unknown.
    """
    rubric = RUBRICS.get(argument or DEFAULT_RUBRIC)
    if rubric is None:
        raise ConfigurationError(
            f"the llm judge has no rubric {argument!r}: choose from {', '.join(RUBRICS)}"
        )
    return _with_endpoint(rubric, model)


def make_rubric_judge(task: str, text: str, model: JudgeModel) -> LlmJudge:
    """The judge by a task's own rubric; its endpoint is that of the llm judge.

    Raises:
        ConfigurationError: no model or endpoint is given.
    """
    try:
        return _with_endpoint(own_rubric(task, text), model)
    except ConfigurationError as error:
        said = f"task {task!r} is graded by a rubric: {error}"
        raise ConfigurationError(said, setting=error.setting) from None


def _with_endpoint(rubric: Rubric, model: JudgeModel) -> LlmJudge:
    if model.model is None:
        raise ConfigurationError(
            "the llm judge needs a model: give its name, and the base URL of its endpoint",
            setting="judge-model",
        )
    known = KEY_ENV if os.environ.get(KEY_ENV) else None
    try:
        spec = resolve_model(
            model.model,
            base_url=model.base_url,
            api_key_env=model.key_env or known,
            aliases_file=model.aliases,
            headers=parse_headers(model.headers) if model.headers else (),
            require_key=False,  # ``check`` does, before anything is asked
        )
    except PbiasError as error:
        raise _of_judge(error, str(error)) from None
    if spec.kind != "endpoint" or spec.base_url is None:
        raise ConfigurationError(
            f"the llm judge {model.model!r} has no endpoint: start a server for it and give its "
            "address",
            setting="judge-base-url",
        )
    return LlmJudge(rubric, replace(spec, usual_key_env=KEY_ENV), model)
