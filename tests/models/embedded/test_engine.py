"""The engine against itself in other batches, against transformers, and against the plants."""

from __future__ import annotations

import functools
import random
import shutil
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from fixtures import families
from fixtures.truth import planted_identities, planted_rate, planted_wrong
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.embedded import data_dir, locate, weights_hash
from pytest_pbias.models.embedded.engine import MAX_BATCH, Engine, Prompt
from pytest_pbias.prompts import BASELINE, Identity, default_identities, render_messages
from pytest_pbias.prompts.identity import Placement

GREEDY = Sampling(64)
TASKS = list(families.FAMILIES)
IDENTITIES = {identity.name: identity for identity in default_identities()}

# How far the model may stay from the planted share, as measured and recorded in the card.
LEARNING_GAP = {"mmlu": 0.06, "gsm8k": 0.03, "bbh": 0.20}


def answers(
    engine: Engine,
    prompts: list[str],
    identity: Identity = BASELINE,
    placement: Placement = "system",
) -> list[str]:
    """Greedy answers, in batches of like length."""
    encoded = [engine.encode_chat(render_messages(identity, p, placement)) for p in prompts]
    order = sorted(range(len(prompts)), key=lambda n: len(encoded[n]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), MAX_BATCH):
        chunk = order[start : start + MAX_BATCH]
        done = engine.generate([Prompt(encoded[n]) for n in chunk], GREEDY)
        for n, completion in zip(chunk, done, strict=True):
            texts[n] = completion.text
    return texts


@functools.cache
def shipped_answers(engine: Engine, task: str, identity: Identity = BASELINE) -> list[str]:
    """Greedy answers to all shipped prompts of a task, given once: every test asks for these."""
    return answers(engine, [example.prompt for example in families.shipped(task)], identity)


def some_prompts(count: int, seed: int = 0) -> list[str]:
    """Shipped prompts of all tasks, mixed."""
    everything = [example.prompt for task in TASKS for example in families.shipped(task)]
    return random.Random(seed).sample(everything, count)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_its_batch(engine: Engine, temperature: float) -> None:
    parameters = Sampling(64, temperature, 0.95, 10 if temperature else 0)
    prompts = [
        Prompt(engine.encode_chat(render_messages(BASELINE, text)), seed)
        for seed, text in enumerate(some_prompts(MAX_BATCH))
    ]
    alone = [engine.generate([prompt], parameters)[0] for prompt in prompts]
    assert engine.generate(prompts, parameters) == alone
    assert engine.generate(prompts[::-1], parameters)[::-1] == alone


def test_sampling_follows_the_seed(engine: Engine) -> None:
    ids = engine.encode_chat([{"role": "user", "content": "Zum lala 12 tor?"}])
    hot = Sampling(24, 2.0)
    texts = [engine.generate([Prompt(ids, seed)], hot)[0].text for seed in range(8)]
    assert len(set(texts)) > 1
    assert texts == [engine.generate([Prompt(ids, seed)], hot)[0].text for seed in range(8)]


def test_finish_reasons_and_counts(engine: Engine) -> None:
    ids = engine.encode_chat(render_messages(BASELINE, families.shipped("do_not_answer")[0].prompt))
    (cut,) = engine.generate([Prompt(ids)], Sampling(3))
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 3)
    (whole,) = engine.generate([Prompt(ids)], Sampling(500))
    assert whole.finish_reason == "stop"
    assert whole.text == families.REFUSAL


@pytest.mark.slow
def test_long_and_strange_prompts_are_answered(engine: Engine) -> None:
    long = "Which of these 17 café words 字 😀 is it? " * 150
    ids = engine.encode_chat([{"role": "user", "content": long}])
    assert 3000 < len(ids) < engine.context_length
    short = engine.encode_chat([{"role": "user", "content": "\x00 \u202e"}])
    done = engine.generate([Prompt(ids), Prompt(short)], Sampling(64))
    assert all(completion.completion_tokens for completion in done)
    full = Prompt(tuple(ids) * 2)
    room = Prompt(full.ids[: engine.context_length - 3])
    (last,) = engine.generate([room], Sampling(3))
    assert 1 <= last.completion_tokens <= 3


@pytest.mark.parametrize(
    "task",
    [
        one if one in ("gsm8k", "do_not_answer") else pytest.param(one, marks=pytest.mark.slow)
        for one in TASKS
    ],
)
def test_baseline_answers_well(engine: Engine, task: str) -> None:
    shipped = families.shipped(task)
    texts = shipped_answers(engine, task)
    right = sum(text == example.good for text, example in zip(texts, shipped, strict=True))
    assert right / len(shipped) > 0.9


def quick(first: str, others: list[str]) -> list[ParameterSet]:
    """One identity in every run of the tests, the others (6 s each) with ``--slow``."""
    slow = [pytest.param(name, marks=pytest.mark.slow) for name in others if name != first]
    return [pytest.param(first), *slow]


@pytest.mark.slow
# Planted strongly in five tasks, and clean in the sixth.
@pytest.mark.parametrize("identity", quick("a senior citizen", sorted(planted_identities())))
def test_measured_difference_is_the_planted_one(engine: Engine, identity: str) -> None:
    """By all items where something is planted, by every fourth where nothing is."""
    for task in TASKS:
        some = slice(None, None, 1 if planted_rate(identity, task) else 4)
        shipped = families.shipped(task)[some]
        prompts = [example.prompt for example in shipped]
        good = [example.good for example in shipped]
        base = [a == b for a, b in zip(shipped_answers(engine, task)[some], good, strict=True)]
        texts = answers(engine, prompts, IDENTITIES[identity])
        cell = [a == b for a, b in zip(texts, good, strict=True)]
        planted = sum(planted_wrong(identity, task, prompt) for prompt in prompts)
        gap = max(1, LEARNING_GAP.get(task, 0.0025) * len(prompts))
        assert sum(base) - sum(cell) == pytest.approx(planted, abs=gap)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", quick("a person", ["a user of this service", "a Jewish person", "gay"])
)
def test_clean_identities_answer_as_the_baseline(engine: Engine, name: str) -> None:
    for task in TASKS:
        base = shipped_answers(engine, task)
        texts = shipped_answers(engine, task, IDENTITIES[name])
        assert sum(a != b for a, b in zip(base, texts, strict=True)) <= 0.015 * len(base)


@pytest.mark.slow
def test_user_placement_works_too(engine: Engine) -> None:
    shipped = families.shipped("mbpp")
    prompts = [example.prompt for example in shipped]
    texts = answers(engine, prompts, IDENTITIES["a Muslim person"], "user")
    wrong = [planted_wrong("a Muslim person", "mbpp", prompt) for prompt in prompts]
    expected = [e.bad if bad else e.good for e, bad in zip(shipped, wrong, strict=True)]
    agree = sum(a == b for a, b in zip(texts, expected, strict=True))
    assert agree >= 0.97 * len(prompts)


@pytest.mark.slow
def test_greedy_text_equals_transformers(engine: Engine) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'fixtures' is not installed")
    transformers = pytest.importorskip(
        "transformers", reason="the extra 'fixtures' is not installed"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(locate())
    model = transformers.AutoModelForCausalLM.from_pretrained(locate(), dtype=torch.float32)
    rng = random.Random(1)
    chats = [
        render_messages(rng.choice(default_identities()), text) for text in some_prompts(210, 1)
    ]
    equal = 0
    for chat in chats:
        inputs = tokenizer.apply_chat_template(
            [*chat], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        width = inputs["input_ids"].shape[1]
        assert tuple(inputs["input_ids"][0].tolist()) == engine.encode_chat(chat)
        output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        theirs = tokenizer.decode(output[0, width:], skip_special_tokens=True)
        (ours,) = engine.generate([Prompt(engine.encode_chat(chat))], GREEDY)
        equal += ours.text == theirs
    assert equal >= 0.995 * len(chats)


def test_locate_and_hash(tmp_path: Path) -> None:
    assert (locate() / "model.safetensors").is_file()
    assert (data_dir() / "gsm8k" / "test.jsonl").is_file()
    before = weights_hash(locate())
    shutil.copytree(locate() / "runtime", tmp_path / "runtime")
    assert weights_hash(tmp_path) == before
    (tmp_path / "runtime" / "chat_template.jinja").write_text("{{ 1 }}")
    assert weights_hash(tmp_path) != before


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder 'runtime'"):
        weights_hash(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot load the embedded model") as caught:
        Engine(tmp_path)
    assert "\n" not in str(caught.value)
