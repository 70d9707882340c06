"""Pairs that are too long, made shorter as the paper's training does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_pbias.training.pairs import PreferencePair


def with_short_prompts(
    pairs: Sequence[PreferencePair], tokenizer: Any, *, prompt: int, whole: int
) -> tuple[PreferencePair, ...]:
    """The pairs, those of more than ``whole`` tokens with a prompt of at most ``prompt``.

    The prompt keeps its end. The released training cuts the whole text from the left, the system
    message first; here the question loses its beginning and the rest of the chat stays, so that
    whom a pair states is never cut off. Answers are cut at their end where the pair is still too
    long, by the trainer.
    """
    return tuple(_shortened(pair, tokenizer, prompt, whole) for pair in pairs)


def _shortened(pair: PreferencePair, tokenizer: Any, prompt: int, whole: int) -> PreferencePair:
    used = _tokens_of_chat(pair, tokenizer)
    longest = max(_tokens(text, tokenizer) for text in (pair.chosen, pair.rejected))
    if used <= prompt or used + longest <= whole:
        return pair
    *before, question = pair.messages
    tokens = tokenizer(question["content"], add_special_tokens=False)["input_ids"]
    # What is decoded may count otherwise when it is read again: cut on until it fits.
    kept = len(tokens)
    while kept > 0 and used > prompt:
        kept = max(0, kept - (used - prompt))
        text = tokenizer.decode(tokens[len(tokens) - kept :], skip_special_tokens=False)
        pair = replace(pair, messages=(*before, {"role": "user", "content": text}))
        used = _tokens_of_chat(pair, tokenizer)
    return pair


def _tokens_of_chat(pair: PreferencePair, tokenizer: Any) -> int:
    text = tokenizer.apply_chat_template(
        [dict(turn) for turn in pair.messages], tokenize=False, add_generation_prompt=True
    )
    return _tokens(text, tokenizer)


def _tokens(text: str, tokenizer: Any) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
