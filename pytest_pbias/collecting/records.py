"""Keys of responses and of grades, what became of requests, and how far collecting is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from pytest_pbias.models.chat import Handed, Sampling
from pytest_pbias.prompts import identity_to_plain
from pytest_pbias.prompts.chat import Message


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


def handed_hash(prompt: str, handed: Handed, names: Collection[str]) -> str:
    """SHA-256 (hex) of a chat with what an application gets beside it: what ``names`` say of it."""
    item = handed.item
    values: dict[str, object] = {
        "identity": identity_to_plain(handed.identity),
        "cue": handed.cue,
        "item": (item.id, item.cluster, item.prompt),
    }
    text = json.dumps([prompt, {name: values[name] for name in sorted(names)}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def request_key(
    served_identity: str, prompt: str, sampling: Sampling, *, seed: int, repeat: int
) -> str:
    """Key of a request: a hash over everything that can change its answer.

    ``served_identity`` is the weights hash or, for an endpoint, its address and model name;
    ``prompt`` is :func:`prompt_hash` of the messages, or :func:`handed_hash`.
    """
    head, middle = _key_parts(served_identity, sampling)
    # What json.dumps gives for (served_identity, prompt, sampling, seed, repeat).
    return hashlib.sha256(
        f"{head}{json.dumps(prompt)}{middle}{seed}, {repeat}]".encode()
    ).hexdigest()


@lru_cache(maxsize=64)
def _key_parts(served_identity: str, sampling: Sampling) -> tuple[str, str]:
    shared = json.dumps(sampling.keyed(), sort_keys=True)
    return f"[{json.dumps(served_identity)}, ", f", {shared}, "


def grade_key(grader: str, version: str, item: str, text: str) -> str:
    """Key of a cached grade: grader, its version, the item's identity, and the response text.

    ``item`` must change whenever the item's prompt or reference does.
    """
    parts = [part.encode("utf-8", "surrogatepass") for part in (grader, version, item, text)]
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.blake2b(joined, digest_size=20).hexdigest()


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
    limit: int
    rate: float
    eta: float | None
    prompt_tokens: int
    completion_tokens: int
