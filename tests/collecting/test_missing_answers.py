"""Every way in which there is no answer: none of them is a score. See docs/collecting.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.plan import Question, RequestSettings, questions_of
from pytest_pbias.models.chat import Response, Sampling, is_blank
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes.scoring import ScoredCell, score_cell
from pytest_pbias.prompts import default_identities
from pytest_pbias.tasks import load_task, resolve_task

# test fixtures: fake_server, store, collect, batches, collect_batch (conftest.py)

N = 4
TASK = resolve_task("do_not_answer")
DATA = load_task(TASK, data_dir=data_dir(), limit=N)
CELL = Cell(TASK, next(one for one in default_identities() if one.kind == "identity"))
PROTOCOL = RequestSettings("endpoint m", "system", Sampling(), repeats=1, seed=0)
QUESTIONS: tuple[Question, ...] = tuple(questions_of(CELL, DATA, PROTOCOL))
KEYS = [question.request.key for question in QUESTIONS]
POLICY = RetryPolicy(attempts=3, total=60.0, first=0.01, longest=0.02)
THROTTLED = 15  # a throttled try counts a fifth
SAFE = "I'm sorry, but I can't help with that."

INVISIBLE = (
    " ", "   \n\t ", "\r\n" * 300, "\x00", "\x1b\x07", "\u00a0", "\u200b\u200d", "\ufeff",
    "\u2028\u2029", "\u00ad", "\u202e\u202c", "\u2800", "\u3164", "\uffa0\u115f", "\ufe0f",
    "\U000e0041\U000e007f", "\u034f", "\u180e", "\u3000" * 2000, " \u200b\n\u2060" * 500,
)  # fmt: skip


def reply(content: Any, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    choice = {"index": 0, "message": message, "finish_reason": finish} | more.pop("choice", {})
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return {"id": "1", "choices": [choice], "usage": usage} | more


@dataclass(frozen=True)
class Case:
    """One of the ways of a situation; ``tries`` of one request until it is given up."""

    situation: str
    fault: Any  # the body of a reply, or the name of a fault of the fake server
    reason: str
    tries: int = POLICY.attempts
    status: int = 200


NO_TEXT = "no text: `content` empty, null or not there"
BLANK = "blank text: nothing but blanks, controls and invisible characters of Unicode"
CUT = "cut off before it began: no text, `finish_reason` `length`"
ELSE = "a call of a tool in place of text"
FAILED = "`finish_reason` `error` or `abort`, whatever text there is"
BODY = "an `error` in the body, with HTTP status 200 and choices or not"
CHOICE = "an `error` in the choice or in its message"
BODY_429 = "an `error` in the body whose code is 429"
BODY_400 = "an `error` in the body whose code says that this request is refused"
NO_CHOICES = "no choices"
LARGE = "a body of more than 16 MiB, decompressed, or compressed otherwise than gzip and deflate"
NO_JSON = "no JSON: an empty body, a web page, a stream, half a reply"
UPSTREAM = {"code": 502, "message": "Upstream idle timeout exceeded"}
SAID = r"an error in place of the answer \(502\): Upstream idle timeout exceeded"
CALL = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
STREAM = 'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'

_ODD_TEXTS: tuple[Any, ...] = ("", None, 7, [], {"text": "hi"})
CASES = [
    *(Case(NO_TEXT, reply(text), "no text") for text in _ODD_TEXTS),
    Case(NO_TEXT, {"choices": [{"message": {}, "finish_reason": "stop"}]}, "no text"),
    Case(NO_TEXT, {"choices": [{"text": "of the old completions"}]}, "no text"),
    Case(NO_TEXT, reply("", None), r"no text \(finish reason: none\)"),
    *(Case(BLANK, reply(text), "no text") for text in INVISIBLE),
    *(Case(CUT, reply(text, "length"), r"text \(finish reason: length\)") for text in ("", None)),
    Case(ELSE, reply(None, "tool_calls", message=CALL), r"no text \(finish reason: tool_calls\)"),
    Case(ELSE, reply(None, message={"refusal": " "}), "no text"),
    Case(NO_TEXT, reply([{"type": "thinking", "thinking": " "}]), "no text"),
    Case(NO_TEXT, reply([{"type": "text", "text": None}, 7, {"type": "image_url"}]), "no text"),
    *(
        Case(FAILED, reply(text, finish), f"broke off the answer .*{finish}")
        for text in ("", None, SAFE)
        for finish in ("error", "abort", "ERROR")
    ),
    Case(BODY, {"error": UPSTREAM}, SAID),
    Case(BODY, {"choices": None, "error": UPSTREAM}, SAID),
    Case(BODY, reply(SAFE, error=UPSTREAM), SAID),
    Case(BODY, reply(SAFE, error="overloaded"), "answer: overloaded"),
    Case(BODY, {"error": {"code": "server_error", "message": None}}, r"\(server_error\)"),
    Case(BODY_400, {"object": "error", "message": "too long", "code": 400}, r"\(400\): too", 1),
    Case(BODY_400, {"error": {"message": "no", "type": "invalid_request_error"}}, "answer: no", 1),
    Case(BODY_400, [{"error": {"status": "INVALID_ARGUMENT", "message": "x"}}], "answer: x", 1),
    Case(BODY, {"error": {"message": "line\n##[set-env]\u202e"}}, r"line ## \[set-env\]"),
    Case(BODY, reply(SAFE, error=UPSTREAM), SAID, status=201),
    Case(CHOICE, reply("", "error", choice={"error": UPSTREAM}), SAID),
    Case(CHOICE, reply(SAFE, choice={"error": UPSTREAM}), SAID),
    Case(CHOICE, reply(SAFE, message={"error": UPSTREAM}), SAID),
    Case(BODY_429, {"error": {"code": 429, "message": "slow"}}, r"\(429\): slow", THROTTLED),
    Case(BODY_429, {"error": {"code": "429", "message": "slow"}}, r"\(429\): slow", THROTTLED),
    Case(BODY_429, {"error": {"type": "rate_limit_error", "message": "slow"}}, "slow", THROTTLED),
    Case(BODY_429, reply(SAFE, choice={"error": {"code": 429}}), r"\(429\)", THROTTLED),
    *(Case(NO_CHOICES, {"choices": one}, "no choices") for one in ([], None, "x", [None])),
    Case(NO_CHOICES, {}, "no choices"),
    Case(NO_CHOICES, {"detail": "Not Found"}, "no choices"),
    *(Case(NO_JSON, text, "not valid JSON") for text in ("", STREAM, "[" * 100_000)),
    Case(NO_JSON, "null", "not a JSON object"),
    Case(NO_JSON, "html", "not valid JSON"),
    Case(NO_JSON, "truncated", "not valid JSON"),
    Case(LARGE, "br", "compressed as 'br', which was not asked for"),
    Case(LARGE, "large", "larger than 16 MiB"),
    Case("HTTP 429", "429", r"too many requests \(429\)", THROTTLED),
    Case("HTTP 408, 409, 425 and 5xx", "503", r"server error \(503\)"),
    *(
        Case("HTTP 408, 409, 425 and 5xx", reply(SAFE), rf"\({status}\)", status=status)
        for status in (408, 409, 425, 500, 520)
    ),
    Case("no connection, or a reset", "reset", "connection failed"),
    Case("no connection, or a reset", "reset-after-headers", "connection failed"),
    Case("no reply within `--pbias-timeout`", "hang", "no answer within 0.3 s"),
    *(
        Case("HTTP 400, 413 and other 4xx", reply(SAFE), rf"\({status}\)", 1, status)
        for status in (400, 413, 422, 451)
    ),
]
NAMES = ("html", "truncated", "br", "large", "429", "503", "reset", "reset-after-headers", "hang")
# Rows of the table that have tests of their own: in this module, and where the comment says.
ELSEWHERE = {
    "key rejected (401), access denied (403), no such model (404), a redirect, no credit or quota "
    "left (402), with that status or as an `error` in the body",
    "20 requests in a row out of tries; 50 refused before any answer",
    "budget spent, Ctrl-C, the collecting process died",  # test_gateways.py, test_waiting.py
    "one of these in the results of a batch, or no result",
    "a stored reply of an earlier version that is one of these",
    "a damaged record in the store",  # test_store.py
    "one of these as the reply of a judging model",  # tests/grading/judges/test_llm.py
    # tests/grading/test_keeping.py
    "a grader or a judge of a plug-in raises an exception over an answer",
    "a judge of a plug-in returns what is no grade",
}


def config(case: Case) -> dict[str, Any]:
    if case.fault in NAMES:
        return {"faults": {case.fault: 1.0}}
    return {
        "faults": {"void": 1.0},
        "replies": {"void": {"body": case.fault, "status": case.status}},
    }


def measured(store: Store, failures: Mapping[str, Any]) -> ScoredCell:
    reasons = {key: failure.reason for key, failure in failures.items()}
    return score_cell(CELL, DATA, PROTOCOL, store, reasons)


def check_no_score(store: Store, failures: Mapping[str, Any], reason: str) -> None:
    """Nothing is stored, and the cell's rows are errors for this reason."""
    assert failures.keys() == set(KEYS)
    assert store.count() == 0
    measurement = measured(store, failures)
    assert measurement.missing == N
    assert np.isnan(measurement.scores).all()
    assert measurement.responses == (None,) * N
    for error in measurement.errors:
        assert error is not None
        assert re.search(reason, error), error
        assert "\n" not in error


def test_the_table_of_the_docs_names_what_is_tested() -> None:
    docs = Path(__file__).parents[2] / "docs" / "collecting.md"
    _, _, text = docs.read_text("utf-8").partition("| situation |")
    table, _, _ = text.partition("\n\n")
    rows = {line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]}
    assert rows == {case.situation for case in CASES} | ELSEWHERE
    tried = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1] for line in
             table.splitlines()[2:]}  # fmt: skip
    for case in CASES:
        assert tried[case.situation].startswith("no" if case.tries == 1 else "yes")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.situation[:24])
def test_what_is_no_answer_is_never_a_score(
    case: Case, fake_server: Any, store: Store, collect: Any
) -> None:
    chat = fake_server(**config(case), faulty_attempts=None)
    requests = [question.request for question in QUESTIONS]
    timeout = 0.3 if case.fault == "hang" else 20.0
    collector = collect(requests, chat.connect(timeout=timeout), policy=POLICY)
    failures = collector.wait(KEYS, timeout=60)
    check_no_score(store, failures, case.reason)
    assert chat.stats()["requests"] == N * case.tries


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.tries > 1 and case.fault not in NAMES[4:]],
    ids=lambda case: case.situation[:24],
)
def test_what_passes_costs_a_try_and_no_answer(
    case: Case, fake_server: Any, store: Store, collect: Any
) -> None:
    chat = fake_server(**config(case), faulty_attempts=1, text=SAFE)
    requests = [question.request for question in QUESTIONS]
    assert collect(requests, chat.connect(), policy=POLICY).wait(KEYS, timeout=60) == {}
    assert chat.stats()["requests"] == 2 * N
    assert measured(store, {}).scores.tolist() == [[1.0]] * N


@pytest.mark.parametrize(
    "body",
    [reply("Yes."), reply("?"), reply("\u200bYes"), reply("\U0001f44d"), reply("\ufffd"),
     reply("-", None), reply("Well, ", "length"), reply("Yes", error=None), reply("Yes", error={}),
     reply("Yes", error={"code": None, "message": ""}), reply("Yes", choice={"error": None}),
     reply("Yes", message={"refusal": None, "tool_calls": None}), reply("Error", "STOP")],
)  # fmt: skip
def test_what_is_short_or_odd_is_an_answer(
    body: dict[str, Any], fake_server: Any, store: Store, collect: Any
) -> None:
    chat = fake_server(faults={"void": 1.0}, faulty_attempts=None, replies={"void": {"body": body}})
    requests = [question.request for question in QUESTIONS]
    assert collect(requests, chat.connect(), policy=POLICY).wait(KEYS, timeout=60) == {}
    assert measured(store, {}).missing == 0


@pytest.mark.parametrize(
    ("fault", "status", "reason", "most"),
    [
        ({"error": {"message": "no"}}, 401, "rejected the API key", N),
        ({"error": {"message": "no"}}, 404, "no such model", N),
        ({"error": {"message": "pay", "code": "insufficient_quota"}}, 429, "no quota left", N),
        ({"error": {"message": "pay"}}, 402, r"no credit left \(402\): pay", N),
        ({"error": {"message": "not here"}}, 403, r"denies access \(403\): not here", N),
        ({"error": {"message": "pay", "code": 402}}, 200, r"answer \(402\): pay", N),
        ({"error": {"message": "no", "code": "invalid_api_key"}}, 200, "answer .*: no", N),
        ("gone", 308, "redirects .308. to", N),
    ],
)
def test_what_no_try_can_mend_ends_the_run_and_is_no_score(
    fault: Any, status: int, reason: str, most: int, fake_server: Any, store: Store, collect: Any
) -> None:
    void = {"void": {"body": fault, "status": status}}
    chat = fake_server(faults={"void": 1.0}, faulty_attempts=None, replies=void)
    requests = [question.request for question in QUESTIONS]
    failures = collect(requests, chat.connect(), policy=POLICY).wait(KEYS, timeout=60)
    check_no_score(store, failures, reason)
    assert chat.stats()["requests"] <= most


def test_an_endpoint_that_only_says_nothing_is_given_up(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    void = {"void": {"body": reply("")}}
    # As slow as no machine is by itself: it is given up at a tick of the clock.
    chat = fake_server(faults={"void": 1.0}, faulty_attempts=None, replies=void, latency=0.01)
    requests = make_requests(400)
    collector = collect(requests, chat.connect(), policy=POLICY, concurrency=4)
    failures = collector.wait([one.key for one in requests], timeout=60)
    assert len(failures) == 400
    assert store.count() == 0
    assert chat.stats()["requests"] < 400  # of the 1,200 that all tries of all would be
    assert "has no text" in str(collector.end_reason)


# -- the Batch API ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize(
    "body",
    [reply(""), reply("\u200b"), reply(None, "length"), reply(SAFE, "error"), {"error": UPSTREAM}],
)
def test_a_batch_without_answers_is_no_score_and_the_next_run_submits_it_anew(
    body: Any, share: float, batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(void={"share": share, "body": body})
    requests = make_requests(30)
    keys = [request.key for request in requests]
    collector = collect_batch(store, requests, server)
    failed = collector.wait(keys, timeout=30)
    assert len(failed) == 30 if share == 1 else 3 < len(failed) < 27
    assert store.missing(keys) == [key for key in keys if key in failed]
    assert all(re.search("no text|broke off|in place", one.reason) for one in failed.values())
    collector.stop()
    paid = 7 * len(failed) if "usage" in body else 0
    assert collector.progress().prompt_tokens == 7 * (30 - len(failed)) + paid
    # As often as it says nothing it is submitted anew; once it answers, the answers are taken.
    assert collect_batch(store, requests, server).wait(keys, timeout=30).keys() == failed.keys()
    server.configure(batch={"void": None})
    assert collect_batch(store, requests, server).wait(keys, timeout=30) == {}
    assert store.missing(keys) == []
    assert len(server.stats()["submitted"]) == 30 + 2 * len(failed)


# -- stores of earlier versions --------------------------------------------------------------------

OLD = [
    *(("", finish) for finish in ("stop", "length", "")),
    *((text, "stop") for text in INVISIBLE),
    *((text, finish) for text in ("", SAFE) for finish in ("error", "abort")),
]


@pytest.mark.parametrize(("text", "finish"), OLD)
def test_a_stored_reply_that_is_no_answer_is_asked_again(
    text: str, finish: str, fake_server: Any, store: Store, collect: Any
) -> None:
    store.put_many(Response(key, text, finish, 7, 0, 0.1) for key in KEYS)
    assert store.missing(KEYS) == KEYS
    assert [notice for notice in store.notices if f"{N} responses set aside (no answers" in notice]
    assert store.counts()["quarantine"] == N
    chat = fake_server(text=SAFE)
    requests = [question.request for question in QUESTIONS]
    assert collect(requests, chat.connect()).wait(KEYS, timeout=60) == {}
    assert chat.stats()["requests"] == N
    assert measured(store, {}).scores.tolist() == [[1.0]] * N
    assert store.verify() == 0


@pytest.mark.parametrize(("text", "finish"), OLD)
def test_a_stored_reply_that_is_no_answer_has_no_grade(
    text: str, finish: str, store: Store
) -> None:
    store.put_many(Response(key, text, finish, 7, 0, 0.1) for key in KEYS)
    measurement = measured(store, {})
    assert measurement.missing == N
    assert np.isnan(measurement.scores).all()
    assert store.count() == 0


def test_a_batch_run_asks_for_stored_replies_that_are_no_answers(
    store: Store, fake_server: Any, collect_batch: Any
) -> None:
    store.put_many(Response(key, "", "stop", 7, 0, 0.1) for key in KEYS)
    server = fake_server(text=SAFE)
    requests = [question.request for question in QUESTIONS]
    assert collect_batch(store, requests, server).wait(KEYS, timeout=30) == {}
    assert measured(store, {}).scores.tolist() == [[1.0]] * N


def test_a_store_that_is_only_read_is_not_changed(store: Store) -> None:
    store.put_many(Response(key, "", "stop", 7, 0, 0.1) for key in KEYS)
    reader = Store(store.path, read_only=True)
    for _ in range(3):
        assert reader.missing(KEYS) == KEYS
        assert reader.get_many(KEYS) == {}
    assert len(reader.notices) == 1
    reader.close()
    assert store.count() == N


def test_a_good_answer_stored_meanwhile_is_not_set_aside(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process found and asked again must not be lost to this one's older look."""
    key = KEYS[0]
    store.put_many([Response(key, "", "stop", 7, 0, 0.1)])
    looks = store._select  # the moment between looking and setting aside
    other = Store(store.path)

    def slow(table: str, columns: str, keys: Any) -> Any:
        rows = list(looks(table, columns, keys))
        other.missing([key])
        other.put_many([Response(key, SAFE, "stop", 7, 9, 0.1)])
        return iter(rows)

    monkeypatch.setattr(store, "_select", slow)
    assert store.missing([key]) == [key]
    assert other.get_many([key])[key].text == SAFE
    other.close()


def test_blank_is_what_shows_nothing() -> None:
    assert is_blank("")
    assert all(is_blank(text) and is_blank("\n" + text * 3) for text in INVISIBLE)
    for text in ("a", "0", ".", "\u00e9", "\u4e00", "\u0301e", "\U0001f600", "\ufffd", "\ud800"):
        assert not is_blank(text)
        assert not any(is_blank(text + more) or is_blank(more + text) for more in INVISIBLE)
