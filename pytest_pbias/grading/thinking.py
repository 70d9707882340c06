"""What a response thinks aloud, told apart from what it answers.

Reasoning models mark their thoughts in many ways, and an endpoint that does not know a model's
marks leaves them in the text. A thought is no part of the answer for any grader, and one that was
not finished is no answer at all. The turns that a model makes up after its own are none either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Thinking:
    """A response in two parts.

    ``answer`` is what is left without thoughts, ``reasoning`` what the thoughts said;
    ``unfinished`` where the response ends within a thought, or before its final channel.
    """

    answer: str
    reasoning: str = ""
    unfinished: bool = False

    @property
    def cut_off(self) -> bool:
        """Whether there is a thought and nothing that answers."""
        return not self.answer.strip() and (self.unfinished or bool(self.reasoning.strip()))


_NAMES = (
    r"think|thinking|thoughts?|reasoning|scratchpad|analysis|reflection|inner_monologue|"
    r"inner_thoughts?|internal(?:_thoughts?|_reasoning)?|chain_of_thought|antthinking"
)
_MARK = re.compile(
    # <think>, <thinking effort="high">, <seed:think>, <longcat_think>, <cot_reasoning>
    rf"<\s?(?P<slash>/?)\s?(?:[a-z][a-z0-9]{{0,15}}(?::|_(?=think|reason)))?(?P<element>{_NAMES})(?:\s[^<>]{{0,80}})?>"
    # [THINK], as Mistral's models write it
    r"|\[(?P<slash2>/?)(?-i:THINK|THINKING|THOUGHT|REASONING)\]"
    # Kimi's
    r"|\u25c1(?P<slash3>/?)think(?:ing)?\u25b7"
    # <|begin_of_thought|>, <|START_THINKING|>, <|think_start|>, <|/think|>, <|inner_prefix|>
    r"|<[|\uff5c](?:(?P<begin>begin|start)|(?P<end>end))[_\u2581](?:of[_\u2581])?"
    r"(?:thought|thinking|think|reasoning)[|\uff5c]>"
    r"|<\|(?P<slash4>/?)(?:think|thinking|thought|reasoning)(?:_(?:start|begin|(?P<end2>end)))?\|>"
    r"|<\|inner_(?:prefix|(?P<end3>suffix))\|>"
    # Gemma's channel, and the earlier one without a name
    r"|<\|channel>\s?(?:thought|thinking|analysis)\b|(?P<end4><channel\|>)"
    r"|<unused94>(?:thought\b)?|(?P<end5><unused95>)"
    # marks by which the answer begins
    r"|(?P<answer><\|(?:begin_of_solution|start_response|begin_of_answer|start_of_answer)\|>"
    r"|\[BEGIN FINAL RESPONSE\])",
    re.IGNORECASE,
)
_ANSWER_MARK = re.compile(
    r"<\|(?:begin|end)_of_solution\|>|<\|(?:start|end)_response\|>|"
    r"<\|(?:begin|start|end)_of_answer\|>|\[(?:BEGIN|END) FINAL RESPONSE\]",
    re.IGNORECASE,
)
# An element of these names that only closes need not be a thought: "</analysis>" of a document.
_OF_DOCUMENTS = frozenset({"analysis", "reflection"})

_HEADER = re.compile(
    r"(?:<\|start\|>\s{0,3}(?P<role>[a-z]{1,20})?[^<]{0,80})?<\|channel\|"
    r">\s{0,3}(?P<channel>\w{0,20})"
    r"[^<]{0,120}(?:<\|constrain\|>[^<]{0,40})?(?:<\|message\|>|\Z)"
)
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_OTHER_ROLE = re.compile(r"<\|start\|>\s{0,3}(?:user|system|developer)\b")
_BARE_FINAL = re.compile(r"assistant\s{0,2}final(?![a-z])")
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z\"'(*\d\u201c\u2018])")
_PROCESS = re.compile(r"\s*\**here is my thought process:\**", re.IGNORECASE)
_RESPONSE = re.compile(r"\**here is my response:\**", re.IGNORECASE)

_OPENED_TURN = re.compile(
    r"\s*(?:(?:<\|im_start\|>|<\|start\|>|<start_of_turn>|<\|turn>)\s?(?:assistant|model)(?:<\|"
    r"message\|>)?"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|assistant\|>|<\uff5cAssistant\uff5c>"
    r"|<s>|<bos>|<\|begin_of_text\|>)\s?"
)
_TURN_END = re.compile(
    r"<\|(?:im_end|im_start|eot_id|eom_id|end_of_text|endoftext|end_of_turn|return|end|start|user|"
    r"assistant|system|eot|start_header_id|start_of_role|end_of_role|END_OF_TURN_TOKEN|"
    r"START_OF_TURN_TOKEN)\|>"
    r"|<(?:end_of_turn|start_of_turn|eos|turn\|)>?|<\|turn>|</s>(?=\s*(?:\Z|\[INST\]|<s>))|\[INST\]"
    r"|<\uff5c(?:end\u2581of\u2581sentence|User|Assistant)\uff5c>"
)


@lru_cache(maxsize=1024)
def split_thinking(text: str) -> Thinking:
    """Tell a response's answer from its thinking, in time linear in its length.

    Known are elements (``<think>``, ``<thinking>``, ``<seed:think>``, ...), ``[THINK]``,
    ``\u25c1think\u25b7``, ``<|begin_of_thought|>`` and the like, harmony's channels with their
    marks and without (``analysis...assistantfinal...``), and Gemma's channel. A thought whose
    beginning stands in the prompt is known by its end. What follows the end of the turn is left
    out. A mark in back quotes, or opened in a fenced block, is talked about and not used.
    """
    if "<|channel|>" in text:
        return _of_channels(text)
    bare = _without_marks(text)
    if bare is not None:
        return bare
    return _of_marks(_turn(text))


def _of_channels(text: str) -> Thinking:
    """Harmony: the messages of the final channel are the answer."""
    other = _OTHER_ROLE.search(text)
    own = text[: other.start()] if other and text[: other.start()].strip() else text
    headers = list(_HEADER.finditer(own))
    if not headers:
        return Thinking("", own, unfinished=True)
    final: list[str] = []
    rest = [own[: headers[0].start()]]
    for header in headers:
        end = _MESSAGE_END.search(own, header.end())
        said = own[header.end() : end.start() if end else len(own)]
        (final if header["channel"] == "final" else rest).append(said)
    answer = _of_marks("\n".join(final))
    reasoning = "\n".join(part for part in (*rest, answer.reasoning) if part.strip())
    return Thinking(answer.answer, reasoning, answer.unfinished or not answer.answer.strip())


def _without_marks(text: str) -> Thinking | None:
    """Harmony after a decoder that leaves its marks out, and thinking announced in words."""
    final = _BARE_FINAL.search(text)
    opened = _BARE_ANALYSIS.match(text)
    if final and (opened or text.startswith("analysis") or _run_together(text, final)):
        before = re.sub(r"\A\s*analysis", "", text[: final.start()])
        answer = text[final.end() :]
        return Thinking(answer, before, unfinished=not answer.strip())
    if opened:
        return Thinking("", text[opened.end() :], unfinished=True)
    process = _PROCESS.match(text)
    if process is None:
        return None
    response = _RESPONSE.search(text, process.end())
    if response is None:
        return Thinking("", text[process.end() :], unfinished=True)
    return Thinking(text[response.end() :], text[process.end() : response.start()])


def _run_together(text: str, final: re.Match[str]) -> bool:
    """Whether the name of the final channel opens the text, or sticks to a sentence's end."""
    before = text[: final.start()]
    return not before.strip() or (" " not in final.group() and before[-1] in ".!?)\"'*`\n\u201d")


def _turn(text: str) -> str:
    """The first turn of a text that holds marks of turns."""
    if "<" not in text and "[INST]" not in text:
        return text
    start = 0
    while (opened := _OPENED_TURN.match(text, start)) and opened.end() > start:
        start = opened.end()
    for end in _TURN_END.finditer(text, start):
        if text[start : end.start()].strip() and not _is_quoted(text, end):
            return text[start : end.start()]
    return text[start:]


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark stands in quotes of its own: it is talked about."""
    if text[max(0, mark.start() - 3) : mark.start()] == "```":
        return False
    before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
    return before in ("`", '"', "'") and after in ("`", '"', "'", ".", ",", "/")


def _of_marks(text: str) -> Thinking:
    if not any(sign in text for sign in "<[\u25c1"):
        return Thinking(text)
    marks = [mark for mark in _MARK.finditer(text) if not _is_quoted(text, mark)]
    if not marks:
        return Thinking(text)
    last_close = max((mark.start() for mark in marks if _closes(mark)), default=-1)
    answer: list[str] = []
    reasoning: list[str] = []
    place = counted = fences = 0
    begun = False  # something of the answer stands before
    kind: str | None = None  # of the thought that is open
    for mark in marks:
        if mark.start() < place:
            continue
        if kind is None:
            begun = begun or bool(text[max(place, counted) : mark.start()].strip())
        fences += text.count("```", counted, mark.start())
        counted = mark.start()
        if mark["answer"]:
            reasoning += [*answer, text[place : mark.start()]]
            answer, place, kind, begun = [], mark.end(), None, False
        elif _closes(mark):
            if kind is None and _kind(mark) not in _OF_DOCUMENTS:
                # The thought was opened in the prompt, or within another one.
                reasoning += [*answer, text[place : mark.start()]]
                answer, place, begun, fences = [], mark.end(), False, 0
            elif kind == _kind(mark):
                reasoning.append(text[place : mark.start()])
                place, kind, fences = mark.end(), None, 0
        elif kind is None:
            before = text[max(0, mark.start() - 20) : mark.start()].rstrip(" \t")
            used = before[-1:] == "\n" or last_close > mark.start()
            if not begun or (used and fences % 2 == 0):
                answer.append(text[place : mark.start()])
                place, kind = mark.end(), _kind(mark)
    if kind is None:
        answer.append(text[place:])
    else:
        reasoning.append(text[place:])
    said = _ANSWER_MARK.sub(" ", "".join(answer))
    return Thinking(said, "\n".join(part for part in reasoning if part.strip()), kind is not None)


def _closes(mark: re.Match[str]) -> bool:
    return any(mark[name] for name in _ENDS)


_ENDS = ("slash", "slash2", "slash3", "slash4", "end", "end2", "end3", "end4", "end5")


def _kind(mark: re.Match[str]) -> str:
    """By which marks a thought is opened and closed alike; ``thinking`` closes ``think``."""
    name = (mark["element"] or "").lower()
    return "thought" if name.startswith(("think", "thought")) or not name else name
