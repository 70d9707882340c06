"""Generation with onnxruntime-genai: batches of chats in, texts out.

Rows of a batch are padded on the right, and the runtime masks the padding, so the text of a row
does not depend on the rows beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.embedded import RUNTIME_FOLDER
from pytest_pbias.prompts.chat import Message

MAX_BATCH = 32
"""Rows generated together."""

FIRST_STRETCH = 40
"""New tokens reserved at first; rows that need more are generated again with all they may have.

The key-value cache is reserved for the longest possible answer, and most answers are short.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a rendered chat, and the seed of its sampling."""

    ids: tuple[int, ...]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """A generated text; ``finish_reason`` is ``stop`` or ``length``."""

    text: str
    finish_reason: str
    completion_tokens: int


class Engine:
    """A loaded model. One thread may generate at a time; encoding is safe beside it."""

    def __init__(self, folder: Path) -> None:
        """Load the runtime form below ``folder``.

        Raises:
            ConfigurationError: onnxruntime-genai is not installed, or the folder holds no model.
        """
        try:
            import onnxruntime_genai as og
        except ImportError as error:
            raise ConfigurationError(
                "the embedded model needs onnxruntime-genai; "
                "run: pip install 'pytest-pbias[embedded]'"
            ) from error
        runtime = folder / RUNTIME_FOLDER
        try:
            self._model = og.Model(str(runtime))
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ConfigurationError(
                f"cannot load the embedded model in {runtime}: {reason}"
            ) from error
        self._og = og
        self._tokenizer = og.Tokenizer(self._model)
        self._encoder = og.Tokenizer(self._model)
        settings = json.loads((runtime / "genai_config.json").read_text("utf-8"))["model"]
        self.context_length: int = settings["context_length"]
        self.end_token: int = settings["eos_token_id"]
        self._pad: int = settings["pad_token_id"]

    def encode_chat(self, messages: Sequence[Mapping[str, str] | Message]) -> tuple[int, ...]:
        """Render a chat with the model's template and return its token ids."""
        text = self._encoder.apply_chat_template(
            json.dumps([dict(message) for message in messages]), add_generation_prompt=True
        )
        return tuple(int(token) for token in self._encoder.encode(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``; the end token has none."""
        kept = [token for token in tokens if token != self.end_token]
        return str(self._tokenizer.decode(np.array(kept, np.int32))) if kept else ""

    def next_logits(self, ids: Sequence[int]) -> npt.NDArray[np.float64]:
        """Logits of the token after ``ids``, shape (vocabulary,)."""
        search = self._og.GeneratorParams(self._model)
        search.set_search_options(do_sample=False, max_length=len(ids) + 1, batch_size=1)
        generator = self._og.Generator(self._model, search)
        generator.append_tokens(np.array([ids], np.int32))
        return np.asarray(generator.get_logits(), np.float64).reshape(-1)

    def generate(self, prompts: Sequence[Prompt], parameters: Sampling) -> list[Completion]:
        """Answer up to :data:`MAX_BATCH` prompts, in their order.

        Greedy answers depend on the prompt only, sampled ones on the prompt and its seed.
        """
        stretch = min(FIRST_STRETCH, parameters.max_tokens)
        rows = self._run(prompts, parameters, stretch)
        if stretch < parameters.max_tokens:
            unfinished = [n for n, row in enumerate(rows) if row[-1:] != [self.end_token]]
            if unfinished:
                again = [prompts[n] for n in unfinished]
                for n, row in zip(
                    unfinished, self._run(again, parameters, parameters.max_tokens), strict=True
                ):
                    rows[n] = row
        return [self._completion(row) for row in rows]

    def _run(
        self, prompts: Sequence[Prompt], parameters: Sampling, new_tokens: int
    ) -> list[list[int]]:
        """New tokens of each prompt, up to and with the end token."""
        longest = max(len(prompt.ids) for prompt in prompts)
        limit = min(longest + new_tokens, self.context_length)
        room = limit - longest
        ids = np.full((len(prompts), longest), self._pad, np.int32)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt.ids)] = prompt.ids
        search = self._og.GeneratorParams(self._model)
        search.set_search_options(do_sample=False, max_length=limit, batch_size=len(prompts))
        generator = self._og.Generator(self._model, search)
        generator.append_tokens(ids)
        sampler = _Sampler(prompts, parameters) if parameters.temperature > 0 else None
        while not generator.is_done():
            if sampler is not None:
                generator.set_logits(sampler.choose(generator.get_logits()))
            generator.generate_next_token()
        return [
            self._cut([int(token) for token in generator.get_sequence(row)[longest:]], room)
            for row in range(len(prompts))
        ]

    def _cut(self, tokens: list[int], room: int) -> list[int]:
        """Keep what counts; a single row that stopped early comes without its end token."""
        if self.end_token in tokens:
            return tokens[: tokens.index(self.end_token) + 1]
        return [*tokens, self.end_token] if len(tokens) < room else tokens

    def _completion(self, tokens: list[int]) -> Completion:
        finished = tokens[-1:] == [self.end_token]
        text = self.decode(tokens)
        return Completion(text, "stop" if finished else "length", len(tokens))


class _Sampler:
    """Seeded sampling, one independent stream a row."""

    def __init__(self, prompts: Sequence[Prompt], parameters: Sampling) -> None:
        self._parameters = parameters
        self._streams = [_stream(prompt) for prompt in prompts]

    def choose(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Sample a token a row from ``logits`` and return logits that leave only those."""
        shape = logits.shape
        rows = logits.reshape(len(self._streams), -1).astype(np.float64)
        chosen = np.full(rows.shape, -1e9, np.float32)
        for row, stream in enumerate(self._streams):
            chosen[row, self._pick(rows[row], stream.random())] = 0.0
        return chosen.reshape(shape)

    def _pick(self, logits: npt.NDArray[np.float64], draw: float) -> int:
        order = np.argsort(-logits, kind="stable")
        if self._parameters.top_k:
            order = order[: self._parameters.top_k]
        scaled = logits[order] / self._parameters.temperature
        weights = np.exp(scaled - scaled[0])
        cumulative = np.cumsum(weights / weights.sum())
        keep = int(np.searchsorted(cumulative, self._parameters.top_p)) + 1
        cumulative = cumulative[:keep]
        return int(order[np.searchsorted(cumulative, draw * cumulative[-1])])


def _stream(prompt: Prompt) -> np.random.Generator:
    digest = hashlib.sha256(f"{prompt.seed}:{prompt.ids}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big")))
