"""When a failed request is tried again, and when the whole endpoint is given up."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

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
