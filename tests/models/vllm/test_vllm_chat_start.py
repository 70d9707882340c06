"""How conversations start, with a tiny tokenizer that is made to go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.models.vllm.chat_start import chat_start_trouble
from tests.fakes.running import FakeServer

TURNS = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


@pytest.fixture
def trouble(tmp_path: Path, fake_server: Callable[..., FakeServer]) -> Callable[..., str | None]:
    """What is said of a tokenizer, with or without <s> before texts, and of its template."""
    pytest.importorskip("transformers", reason="the extra 'fixtures' is not installed")

    def find(template: str, *, adds: bool = True, special: bool = False) -> str | None:
        folder = tmp_path / "model"
        _make_tokenizer(folder, template, adds)
        server = fake_server(models=["m"], tokenizer=str(folder), special=special)
        return chat_start_trouble(server.base, "m")

    return find


def _make_tokenizer(folder: Path, template: str, adds: bool) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words: dict[str, Any] = {"<s>": 0, "<unk>": 1, "Hello": 2}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if adds:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>", chat_template=template
    )
    fast.save_pretrained(str(folder))


def test_a_template_that_starts_as_it_should_is_no_trouble(
    trouble: Callable[..., str | None],
) -> None:
    assert trouble("{{ bos_token }}" + TURNS) is None


def test_a_template_that_starts_twice_is(trouble: Callable[..., str | None]) -> None:
    said = trouble("{{ bos_token }}{{ bos_token }}" + TURNS)
    assert said is not None
    assert said.startswith("every conversation starts with token 0 twice")


def test_template_and_tokenizer_that_both_start_it_are(
    trouble: Callable[..., str | None],
) -> None:
    said = trouble("{{ bos_token }}" + TURNS, special=True)
    assert said is not None
    assert "token 0 twice" in said


def test_a_template_that_does_not_start_is(trouble: Callable[..., str | None]) -> None:
    said = trouble(TURNS)
    assert said is not None
    assert said.startswith("conversations start without token 0")


def test_a_model_without_such_a_token_is_no_trouble(trouble: Callable[..., str | None]) -> None:
    assert trouble(TURNS, adds=False) is None


def test_a_server_that_does_not_tell_is_no_trouble() -> None:
    assert chat_start_trouble("http://127.0.0.1:9", "m") is None
