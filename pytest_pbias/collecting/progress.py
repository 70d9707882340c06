"""How far a collector is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot. ``rate`` in answers a second, ``eta`` in seconds (None where unknown).

    ``done`` counts settled keys: answered now, found in the store (``cached``), or ``failed``.
    What is planned twice is asked once, and counts as found the second time.
    ``total`` is None while the length of the request stream is unknown.
    """

    state: str
    done: int
    total: int | None
    cached: int
    failed: int
    retries: int
    in_flight: int
    limit: int
    rate: float
    eta: float | None
    prompt_tokens: int
    completion_tokens: int
