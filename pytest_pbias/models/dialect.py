"""What an endpoint takes of a request: learned from what it refuses, and said in another way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pytest_pbias.models.chat import EndpointError, Sampling

# What may be left out, that which changes answers least first: where a server takes one of two
# fields, the first of them goes.
_OPTIONAL = ("top_k", "top_p", "seed", "stop", "response_format", "temperature")
_LIMITS = ("max_tokens", "max_completion_tokens")
_DEPTH, _LONGEST = 6, 4000

_REFUSING = re.compile(
    r"unsupported|n[o']t (?:\w+ ){0,3}support|n[o']t (?:\w+ ){0,2}(?:permitted|allowed|accept\w*|"
    r"available|recognized|recognised|implemented|enabled|valid)|unrecogni[sz]ed|unknown|unexpected|"
    r"invalid|forbidden|deprecated|no longer|only \w+|cannot|can't|must|should (?:be|not)|extra |"
    r"incompatible|disallow|unable|conflict|restricted|fixed|remove|out of range|less than|"
    r"greater than|strictly|not in range",
    re.IGNORECASE,
)
_ONE_OF_TWO = re.compile(
    r"cannot both|both be|together|at the same time|simultaneously|mutually exclusive|only one of|"
    r"not both|conflict",
    re.IGNORECASE,
)
# A small limit, or a long prompt: the field is known.
_TOO_MUCH = re.compile(r"context length|too large|at most|maximum|too long|exceed|higher", re.I)
_SYSTEM = re.compile(
    r"system[ _-]?(?:role|message|prompt|instruction|turn)|developer (?:instruction|role|message)|"
    r"roles? (?:\w+ ){0,2}['\"`]?(?:system|developer)|['\"`](?:system|developer)['\"`]|"
    r"roles? must alternate|(?:unexpected|unknown|invalid|unsupported|first)[^.]{0,40} role|"
    r"(?:must|should) (?:start|begin) with (?:a |the )?['\"`]?user",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an endpoint wants its requests.

    ``left_out`` are fields that it does not take; ``limit`` is its name of the token limit;
    ``joins_system``: a system message stands in front of the user's, a blank line between, as in
    chat templates without a system role.
    """

    left_out: frozenset[str] = frozenset()
    limit: str = _LIMITS[0]
    joins_system: bool = False

    def said(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request body as the endpoint takes it."""
        said = {name: value for name, value in body.items() if name not in self.left_out}
        if self.limit != _LIMITS[0] and _LIMITS[0] in said:
            said[self.limit] = said.pop(_LIMITS[0])
        if self.joins_system and "messages" in said:
            said["messages"] = _joined(said["messages"])
        return said

    def after(self, fault: EndpointError, body: Mapping[str, Any]) -> Dialect | None:
        """What the refusal of ``body`` teaches: a dialect that asks for less, None where nothing.

        ``body`` was said in this dialect. Each step leaves out, renames or joins something that was
        not before, so there are few.
        """
        if fault.kind != "refused" and fault.status not in (500, 501):
            return None
        told = fault.said if fault.said is not None else fault.reason
        text = " ".join(_texts(told))[:_LONGEST]
        names = _optional_in(body) if fault.kind == "refused" else ("response_format",)
        for name in _refused_fields(told, text, (*names, *_LIMITS)):
            if name in names and name in body:
                return replace(self, left_out=self.left_out | {name})
            if name in _LIMITS and name in body and self.limit == _LIMITS[0]:
                return replace(self, limit=_LIMITS[1])
        if _has_system(body) and _SYSTEM.search(text) and not self.joins_system:
            return replace(self, joins_system=True)
        return None

    def __or__(self, other: Dialect) -> Dialect:
        """What both take."""
        return Dialect(
            self.left_out | other.left_out,
            other.limit if self.limit == _LIMITS[0] else self.limit,
            self.joins_system or other.joins_system,
        )

    def notes(self) -> tuple[str, ...]:
        """What people are told of it, a line each."""
        if self == NO_FIELDS:
            return ()
        lines = []
        if "temperature" in self.left_out:
            lines.append(
                "the endpoint takes no temperature: its answers are drawn as it likes, and greedy "
                "ones could not be had"
            )
        if rest := sorted(self.left_out - {"temperature"}):
            lines.append(f"left out, because the endpoint does not take it: {', '.join(rest)}")
        if self.joins_system:
            lines.append("the endpoint takes no system message: it stands in front of the user's")
        return tuple(lines)


PLAIN = Dialect()
NO_FIELDS = Dialect(frozenset((*(field.name for field in fields(Sampling)), "seed")))
"""Nothing but the conversation: applications draw their answers as they like."""


def _optional_in(body: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _OPTIONAL if name in body)


def _has_system(body: Mapping[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body.get("messages", ()))


def _joined(messages: Iterable[Mapping[str, str]]) -> tuple[dict[str, str], ...]:
    """The messages with each system message put before the user's that follows it."""
    joined: list[dict[str, str]] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(message["content"])
        elif waiting and message["role"] == "user":
            content = "\n\n".join((*waiting, message["content"]))
            joined.append({"role": "user", "content": content})
            waiting = []
        else:
            joined.append(dict(message))
    if waiting:
        joined.append({"role": "user", "content": "\n\n".join(waiting)})
    return tuple(joined)


def _refused_fields(told: object, text: str, names: tuple[str, ...]) -> list[str]:
    """The fields that an error names as not taken, the one to give up first in front."""
    marked = [name for name in _marked(told) if name in names]
    if marked and not set(marked) <= set(_LIMITS):
        return marked
    found: list[str] = []
    for sentence in re.split(r"(?<=[.;!?])\s+|\n", text):
        if not _REFUSING.search(sentence):
            continue
        mentions = {
            name: place.start()
            for name in names
            if (place := re.search(rf"(?<![\w-]){name}(?![\w-])", sentence))
        }
        both = _ONE_OF_TWO.search(sentence) and len(mentions) > 1
        order = (
            [name for name in names if name in mentions]
            if both
            else sorted(mentions, key=lambda name: mentions[name])
        )
        found += order
    limited = "max_completion_tokens" in text or not _TOO_MUCH.search(text)
    return [name for name in dict.fromkeys((*marked, *found)) if limited or name not in _LIMITS]


def _marked(told: object, depth: int = 0) -> Iterator[str]:
    """Fields that an error names in a place made for it: ``param``, or pydantic's ``loc``."""
    if depth == _DEPTH:
        return
    if isinstance(told, list):
        for one in told[:_DEPTH]:
            yield from _marked(one, depth + 1)
    if isinstance(told, dict):
        for name in ("param", "loc", "field", "parameter", "path"):
            place = told.get(name)
            last = place[-1] if isinstance(place, list) and place else place
            if isinstance(last, str):
                yield last.rpartition(".")[2]
        for value in told.values():
            if isinstance(value, dict | list):
                yield from _marked(value, depth + 1)


def _texts(told: object, depth: int = 0) -> Iterator[str]:
    """The texts of an error, which may itself be JSON in a text."""
    if isinstance(told, str):
        yield told[:_LONGEST]
    elif depth < _DEPTH and isinstance(told, list):
        for one in told[:_DEPTH]:
            yield from _texts(one, depth + 1)
    elif depth < _DEPTH and isinstance(told, dict):
        for name, value in told.items():
            if name not in ("code", "type", "param", "loc", "input", "ctx", "url", "request_id"):
                yield from _texts(value, depth + 1)


def write_dialect(dialect: Dialect) -> str:
    """The text that :func:`read_dialect` reads: JSON."""
    return json.dumps(asdict(dialect) | {"left_out": sorted(dialect.left_out)})


def read_dialect(text: str | None) -> Dialect:
    """A dialect as it is kept as text; the usual one where there is none."""
    if text is None:
        return PLAIN
    fields = json.loads(text)
    return Dialect(**fields | {"left_out": frozenset(fields["left_out"])})
