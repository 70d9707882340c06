from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.collecting.limits import AdaptiveLimit, Breaker, RateLimiter, RetryPolicy

POLICY = RetryPolicy()


@given(st.integers(1, 200), st.none() | st.floats(0, 1e4), st.integers())
def test_wait_is_bounded_and_honours_the_endpoint(
    attempt: int, asked: float | None, seed: int
) -> None:
    wait = POLICY.wait(attempt, asked, Random(seed))
    assert wait == POLICY.wait(attempt, asked, Random(seed))
    if asked is None:
        ceiling = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 20))
        assert ceiling / 2 <= wait <= ceiling
    else:
        assert asked <= wait <= asked + 3


def test_the_budget_is_attempts_and_seconds() -> None:
    assert not POLICY.exhausted(5, 0, 1.0, 1.0)
    assert POLICY.exhausted(6, 0, 1.0, 1.0)
    assert not POLICY.exhausted(20, 20, 1.0, 1.0)
    assert POLICY.exhausted(30, 30, 1.0, 1.0)
    assert POLICY.exhausted(1, 1, 1.0, 3600.0)


def test_breaker_opens_on_failures_alone() -> None:
    breaker = Breaker(20.0)
    for second in range(0, 40, 5):
        breaker.failure(second, "connection failed")
        breaker.success()
    assert breaker.verdict(60) is None
    for second in range(60, 81, 5):
        breaker.failure(second, "connection failed")
    assert breaker.verdict(79) is None
    assert "20 s (5 attempts failed); the last: connection failed" in (breaker.verdict(80) or "")


def test_breaker_opens_where_everything_is_refused_from_the_start() -> None:
    breaker = Breaker()
    for _ in range(49):
        breaker.refusal("bad request")
    assert breaker.verdict(1) is None
    breaker.refusal("bad request")
    assert "first 50 requests were all refused" in (breaker.verdict(1) or "")


def test_breaker_bears_a_content_filter() -> None:
    breaker = Breaker()
    breaker.success()
    for _ in range(500):
        breaker.refusal("filtered")
    assert breaker.verdict(1) is None


def test_breaker_opens_where_retries_are_used_up_again_and_again() -> None:
    breaker = Breaker()
    breaker.success()
    for _ in range(20):
        breaker.exhaustion("too many requests (429)")
    assert "20 requests in a row" in (breaker.verdict(1) or "")


def drive(limit: AdaptiveLimit, capacity: int, steps: int, *, start: float = 0.0) -> float:
    """An endpoint that serves ``capacity`` at once, each in 0.1 s; the rest queues."""
    now = start
    for _ in range(steps):
        latency = 0.1 * max(1.0, limit.limit / capacity)
        now += latency / limit.limit
        limit.success(now, latency)
    return now


def test_limit_rises_to_the_cap_while_latency_holds() -> None:
    limit = AdaptiveLimit(200)
    assert limit.limit == 8
    drive(limit, 1000, 2000)
    assert limit.limit == 200


def test_limit_stops_near_what_the_endpoint_serves() -> None:
    limit = AdaptiveLimit(1000)
    drive(limit, 20, 20_000)
    assert 20 <= limit.limit <= 100


def batching(limit: AdaptiveLimit, seconds: float, *, batch: float, most: int) -> int:
    """Answers within so long of a server that takes ``most`` at once, each batch as long."""
    now, answered = 0.0, 0
    sent = [0.0] * limit.limit
    while now + batch <= seconds:
        now += batch
        taken, sent = sent[:most], sent[most:]
        for start in taken:
            limit.success(now, now - start)
        answered += len(taken)
        sent += [now] * (limit.limit - len(sent))
    return answered


def test_a_slow_server_that_batches_is_soon_asked_for_all_it_takes() -> None:
    limit = AdaptiveLimit(64)
    assert batching(limit, 161.0, batch=53.0, most=256) == 8 + 16 + 32
    assert limit.limit == 64


def test_a_server_that_batches_a_few_is_not_asked_for_many_more() -> None:
    limit = AdaptiveLimit(1000)
    batching(limit, 2000.0, batch=1.0, most=16)
    assert limit.limit <= 64


def test_limit_falls_when_throttled_and_rises_again() -> None:
    limit = AdaptiveLimit(64)
    now = drive(limit, 1000, 1000)
    assert limit.limit == 64
    for _ in range(300):
        limit.overload(now, 2.0, throttled=True)
    assert limit.limit == 1
    assert limit.paused_until == now + 2.0
    drive(limit, 1000, 3000, start=now + 2)
    assert limit.limit == 64


def test_rare_faults_do_not_slow_the_run() -> None:
    limit = AdaptiveLimit(64)
    now = 0.0
    for number in range(3000):
        now += 0.01
        if number % 20 == 0:
            limit.overload(now, 0.5, throttled=number % 40 == 0)
        else:
            limit.success(now, 0.1)
    assert limit.limit == 64
    assert limit.paused_until == 0.0


def test_tokens_a_minute_hold_on_average() -> None:
    pace = RateLimiter(tpm=6000)  # 100 a second
    now, started = 0.0, 0
    while now < 60:
        wait = pace.wait(now)
        if wait > 0:
            now += wait
            continue
        pace.started(now, 10)
        pace.correct(10, 50)
        started += 1
        now += 0.001
    assert 110 <= started <= 125  # 60 s of 100 tokens at 50 each


def test_no_cap_is_no_wait() -> None:
    pace = RateLimiter()
    for _ in range(1000):
        pace.started(0.0, 1e9)
    assert pace.wait(0.0) == 0.0


@pytest.mark.parametrize("timeout", [1.0, 120.0, 700.0, 3600.0])
def test_a_request_that_timed_out_is_tried_again(timeout: float) -> None:
    policy = RetryPolicy.for_timeout(timeout)
    assert not policy.exhausted(1, 0, timeout, policy.longest)
    assert policy.exhausted(policy.attempts, 0, timeout, 0.0)
