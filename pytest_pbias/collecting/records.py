"""Requests, responses and failures, and how far the collecting is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TypedDict

from pytest_pbias.prompts.chat import Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of one request. ``temperature`` 0 is greedy; ``top_k`` 0 means unset."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0


class ChatParameters(TypedDict):
    """Sampling parameters and seed under the names that askers take them by."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int


@dataclass(frozen=True, slots=True)
class Request:
    """One chat completion to ask, with the key its response is stored under."""

    key: str
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int

    def parameters(self) -> ChatParameters:
        """What an endpoint is told beside the messages."""
        sampling = self.sampling
        return {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, as stored. ``latency`` in seconds; token counts are None where not reported."""

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    latency: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that finally failed: a one-line reason, and how often it was tried."""

    key: str
    reason: str
    attempts: int


def prompt_hash(messages: tuple[Message, ...]) -> str:
    """SHA-256 (hex) of the chat, independent of sampling and model."""
    text = json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def request_key(
    served_identity: str, prompt: str, sampling: Sampling, *, seed: int, repeat: int
) -> str:
    """Key of a request: a hash over everything that can change its answer.

    ``served_identity`` is the weights hash or, for an endpoint, its address and model name;
    ``prompt`` is :func:`prompt_hash` of the messages.
    """
    head, middle = _key_parts(served_identity, sampling)
    # What json.dumps gives for (served_identity, prompt, sampling, seed, run).
    return hashlib.sha256(
        f"{head}{json.dumps(prompt)}{middle}{seed}, {repeat}]".encode()
    ).hexdigest()


@lru_cache(maxsize=64)
def _key_parts(served_identity: str, sampling: Sampling) -> tuple[str, str]:
    shared = json.dumps(asdict(sampling), sort_keys=True)
    return f"[{json.dumps(served_identity)}, ", f", {shared}, "


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
