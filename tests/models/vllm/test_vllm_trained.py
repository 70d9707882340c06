"""What `pbias train` leaves, served by a real vLLM: the merged model, and an adapter on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.outcomes import OutcomeTable

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "gsm8k"], identities=["a senior citizen", "a man"])
def test_small(cell):
    cell.check()
"""
ANSWER_TOKENS = 24
Answers = Mapping[tuple[str, str, str], str]


def _adapt(model: Any, seed: int) -> Any:
    """A model with an adapter of a rank that vLLM has no exact room for, weights drawn."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=5,
        lora_alpha=5,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        init_lora_weights="gaussian",
    )
    adapted = get_peft_model(model, config)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights.data, std=0.05)
    return adapted


def _load(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _train(base: Path, out: Path) -> tuple[Path, Path]:
    """A merged model as a training leaves it, and an adapter on top of it."""
    from transformers import AutoTokenizer

    from pytest_pbias.training.saving import save_trained

    tokenizer = AutoTokenizer.from_pretrained(base)
    merged = out / "fair-llama"
    save_trained(
        _adapt(_load(base), 1), tokenizer, str(base), merged, step=1, checkpoint=out / "none"
    )
    tuned = out / "fairer"
    _adapt(_load(merged), 2).save_pretrained(str(tuned))
    return merged, tuned


def _greedy(model: Any, folder: Path, prompts: dict[Any, list[dict[str, str]]]) -> dict[Any, str]:
    """The answers of transformers, one prompt at a time."""
    import torch
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    answers = {}
    for key, messages in prompts.items():
        encoded = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            tokens = model.generate(**encoded, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        new = tokens[0][encoded["input_ids"].shape[1] :]
        answers[key] = tokenizer.decode(new, skip_special_tokens=True)
    return answers


def _same(ours: Answers, theirs: Answers) -> float:
    assert ours.keys() == theirs.keys()
    return sum(ours[key] == theirs[key] for key in theirs) / len(theirs)


@pytest.fixture
def peft() -> None:
    """Imports it before pytester: what is forgotten after the test cannot be imported again."""
    pytest.importorskip("peft", reason="the extra 'train' is not installed")


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers and PEFT among themselves
def test_a_merged_model_and_an_adapter_answer_as_transformers_does(
    peft: None,
    pytester: pytest.Pytester,
    cpu_vllm: str,
    weights: Callable[[Path], Path],
    arguments: Callable[..., list[str]],
    wait_until_gone: Callable[..., None],
    answers: Callable[[Path], Answers],
    conversations: Callable[..., dict[Any, list[dict[str, str]]]],
) -> None:
    merged, tuned = _train(weights(pytester.path), pytester.path)
    pytester.makepyfile(test_suite=SUITE)
    small = ["--pbias-limit=10", f"--pbias-max-tokens={ANSWER_TOKENS}"]
    command = [
        *(sys.executable, "-m", "pytest", *arguments(merged, *small)),
        *(f"--pbias-lora={tuned}", "--pbias-table=tuned.parquet"),
    ]
    said = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True).stdout
    assert "beginning-of-text" not in said  # the chat template has it once
    table = OutcomeTable.read(pytester.path / "tuned.parquet")
    server = table.info.server
    assert server is not None
    assert server.adapter is not None
    assert server.adapter.rank == 5
    assert server.model == "fairer"
    assert server.dtype == "float32"
    assert "+fairer" in table.unique("model")[0]
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *arguments(merged, *small)),
            *("--pbias-placement=system", "--pbias-table=merged.parquet"),
        ],
        cwd=pytester.path,
        capture_output=True,
    )

    from peft import PeftModel

    prompts = conversations(["do_not_answer", "gsm8k"], ["a senior citizen", "a man"], 10)
    of_merged = _greedy(_load(merged), merged, prompts)
    of_tuned = _greedy(PeftModel.from_pretrained(_load(merged), str(tuned)), merged, prompts)
    assert len(set(of_merged.values())) > 10
    assert _same(answers(pytester.path / "merged.parquet"), of_merged) == 1.0
    assert _same(answers(pytester.path / "tuned.parquet"), of_tuned) == 1.0
    assert _same(answers(pytester.path / "tuned.parquet"), of_merged) < 0.9
