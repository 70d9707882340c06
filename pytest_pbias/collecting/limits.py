"""How fast to ask and when to ask again: rates, concurrency, retries, the breaker."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from statistics import fmean

_START = 8

_SMALLEST_WINDOW = 16

_GROWTH_LATENCY = 2.0  # rise while mean latency stays within this multiple of the best seen

_TOLERATED = 0.10  # share of throttled or timed-out attempts at which rising stops

_TOO_MANY = 0.25  # share at which the limit is cut


class AdaptiveLimit:
    """Number of requests in flight, between 1 and ``cap``, adjusted once a window of attempts.

    It starts low and doubles, later rises by a quarter, while latency holds or throughput still
    gains. While it doubles, a window is what may be in flight at once, so that a server that
    answers many in the time of one gets twice as many after each such time. It is cut by 40 % when
    a quarter of a window was throttled or timed out. When only throttled answers come (more in a
    row than are in flight), everything pauses.
    """

    def __init__(self, cap: int, *, start: int = _START) -> None:
        self.cap = max(1, cap)
        self.limit = min(start, self.cap)
        self.paused_until = 0.0
        self._doubling = True
        self._best_latency = float("inf")
        self._best_rate = 0.0
        self._latencies: list[float] = []
        self._signals = 0
        self._throttled_in_a_row = 0
        self._window_start: float | None = None

    def success(self, now: float, latency: float) -> None:
        """An attempt was answered after ``latency`` seconds."""
        self._throttled_in_a_row = 0
        self._latencies.append(latency)
        self._observe(now, now - latency)

    def overload(self, now: float, wait: float, *, throttled: bool) -> None:
        """An attempt was throttled or timed out; ``wait`` is the time until its next try."""
        self._signals += 1
        if throttled:
            self._throttled_in_a_row += 1
            if self._throttled_in_a_row > max(2, self.limit):
                self.paused_until = max(self.paused_until, now + wait)
                self.limit = max(1, self.limit // 2)
                self._throttled_in_a_row = 0
        self._observe(now, now)

    def _observe(self, now: float, sent: float) -> None:
        """Look at a window that is full at ``now``; the first began when a request was ``sent``."""
        if self._window_start is None:
            self._window_start = sent
        size = len(self._latencies) + self._signals
        # A share of few attempts says nothing, where there is one to speak of.
        fewest = 1 if self._doubling and not self._signals else _SMALLEST_WINDOW
        if size < max(fewest, self.limit):
            return
        if self._latencies and now - self._window_start < self._latencies[-1]:
            return  # answers come in bursts; a window shorter than one latency has no true rate
        share = self._signals / size
        if share > _TOO_MANY:
            self.limit = max(1, int(self.limit * 0.6))
            self._doubling = False
        elif share <= _TOLERATED:
            self._rise(now)
        else:
            self._doubling = False
        self._latencies.clear()
        self._signals = 0
        self._window_start = now

    def _rise(self, now: float) -> None:
        latency = fmean(self._latencies)
        rate = len(self._latencies) / max(now - (self._window_start or now), 1e-9)
        holds = latency <= _GROWTH_LATENCY * self._best_latency
        gains = rate >= 1.05 * self._best_rate
        self._best_latency = min(self._best_latency, latency)
        self._best_rate = max(self._best_rate, rate)
        if not (holds or gains):
            self._doubling = False
            return
        step = self.limit if self._doubling else max(1, self.limit // 4)
        self.limit = min(self.cap, self.limit + step)


class RateLimiter:
    """Caps on starts: ``rpm`` requests and ``tpm`` tokens a minute; None is no cap.

    Requests are spaced evenly. Tokens are debited as they are reported; while the account is
    overdrawn nothing starts, and it refills at the permitted rate.
    """

    def __init__(self, *, rpm: float | None = None, tpm: float | None = None) -> None:
        self._gap = 60.0 / rpm if rpm else 0.0
        self._refill = tpm / 60.0 if tpm else 0.0
        self._next = 0.0
        self._balance = 0.0
        self._seen: float | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether estimates of tokens matter."""
        return self._refill > 0

    def wait(self, now: float) -> float:
        """Seconds until a request may start; 0 where it may start now."""
        wait = max(0.0, self._next - now) if self._gap else 0.0
        if self._refill:
            self._accrue(now)
            if self._balance < 0:
                wait = max(wait, -self._balance / self._refill)
        return wait

    def started(self, now: float, estimate: float) -> None:
        """A request of about ``estimate`` tokens starts."""
        if self._gap:
            self._next = max(self._next, now - 1.0) + self._gap
        self._balance -= estimate if self._refill else 0.0

    def correct(self, estimate: float, actual: float | None) -> None:
        """A request ended: ``actual`` tokens were used where ``estimate`` were debited."""
        if self._refill and actual is not None:
            self._balance += estimate - actual

    def _accrue(self, now: float) -> None:
        if self._seen is not None:
            self._balance = min(self._refill, self._balance + (now - self._seen) * self._refill)
        self._seen = now


_THROTTLE_FACTOR = 5  # throttled attempts are the endpoint's wish, so they use up the budget slower


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Budget of one request: attempts, seconds in all, and the exponential backoff between tries.

    Seconds throughout. The wait before attempt k+1 is ``first * 2**(k-1)`` at most ``longest``,
    shortened by up to half by a seeded jitter, and never less than what the endpoint asked for.
    """

    attempts: int = 6
    total: float = 600.0
    first: float = 0.5
    longest: float = 30.0

    @classmethod
    def for_timeout(cls, seconds: float) -> RetryPolicy:
        """The usual budget, with room for a second and a third try that take ``seconds`` each."""
        return cls(total=max(cls().total, 3 * seconds))

    def wait(self, attempt: int, asked: float | None, rng: Random) -> float:
        """Seconds to wait after the failed attempt number ``attempt`` (from 1)."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt - 1, 20))
        jittered: float = ceiling * (0.5 + 0.5 * rng.random())
        return jittered if asked is None else asked + 0.1 * jittered

    def exhausted(self, attempts: int, throttled: int, elapsed: float, wait: float) -> bool:
        """Whether a request is given up rather than tried again after ``wait`` seconds."""
        spent = (attempts - throttled) + throttled / _THROTTLE_FACTOR
        return spent >= self.attempts or elapsed + wait > self.total


class Breaker:
    """Decides that an endpoint is dead: ``seconds`` of failures with not one success between.

    Two more cases open it: ``refusals`` requests refused for good before any success (a suite
    whose every request is refused is misconfigured; later refusals may be a content filter's), and
    ``spent`` requests in a row whose retries were used up.
    """

    def __init__(
        self, seconds: float = 20.0, *, failures: int = 4, refusals: int = 50, spent: int = 20
    ) -> None:
        self._seconds = seconds
        self._failures = failures
        self._refusals = refusals
        self._spent = spent
        self._since: float | None = None
        self._count = 0
        self._refused: int | None = 0
        self._spent_in_a_row = 0
        self._last = ""

    def success(self) -> None:
        """A request was answered."""
        self._since = None
        self._count = 0
        self._refused = None
        self._spent_in_a_row = 0

    def failure(self, now: float, reason: str, announced: float = 0.0) -> None:
        """An attempt failed in a way that says the endpoint may be down.

        Where it asked to be left alone for ``announced`` seconds, that time does not count.
        """
        if self._since is None or announced > 0:
            self._since = max(self._since or now, now + announced)
        self._count += 1
        self._last = reason

    def refusal(self, reason: str) -> None:
        """A request was refused for good."""
        if self._refused is not None:
            self._refused += 1
        self._last = reason

    def exhaustion(self, reason: str) -> None:
        """The retries of a request were used up."""
        self._spent_in_a_row += 1
        self._last = reason

    def verdict(self, now: float) -> str | None:
        """Return why the endpoint is given up, or None while it is not."""
        if self._refused is not None and self._refused >= self._refusals:
            return f"the first {self._refused} requests were all refused; the last: {self._last}"
        if self._spent_in_a_row >= self._spent:
            return (
                f"{self._spent_in_a_row} requests in a row failed after all retries; "
                f"the last: {self._last}"
            )
        if self._since is None or self._count < self._failures:
            return None
        if now - self._since < self._seconds:
            return None
        return (
            f"no request was answered for {now - self._since:.0f} s ({self._count} attempts "
            f"failed); the last: {self._last}"
        )
