"""DPO with LoRA (TRL, PEFT): from pairs to an adapter and a merged model that can be served."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.training.heldout import Check
from pytest_pbias.training.job import CHECKPOINTS, TrainingJob, prepare_folder
from pytest_pbias.training.lengths import with_short_prompts
from pytest_pbias.training.pairs import PreferencePair
from pytest_pbias.training.processes import Processes
from pytest_pbias.training.quantization import weights_config
from pytest_pbias.training.saving import require_runtime_builder

if TYPE_CHECKING:
    from trl.trainer.dpo_config import DPOConfig

_NEEDED = ("torch", "transformers", "trl", "peft", "accelerate")


@dataclass(frozen=True)
class Trained:
    """A finished training: ``step`` is the one whose weights were kept."""

    folder: Path
    step: int
    steps: int
    losses: tuple[tuple[int, float], ...]
    checks: tuple[Check, ...]


def require_training_extra() -> None:
    """Refuse to go on without the training libraries.

    Raises:
        ConfigurationError: one of them is not installed.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"training needs {', '.join(missing)}: pip install 'pytest-pbias[train]'"
        )


def train_dpo(job: TrainingJob, say: Callable[[str], None]) -> Trained:
    """Train, keep the best checkpoint, and write adapter and merged model below ``job.out``.

    ``say`` receives one line of progress at a time; how far it is stands on stderr meanwhile.

    Raises:
        ConfigurationError: an extra is missing, the folder holds another training, or the model
            cannot be trained.
        InfrastructureError: memory ran out.
    """
    require_training_extra()
    require_runtime_builder(job.model)
    processes = Processes.launched()
    checkpoint, threads = prepare_folder(job, processes)
    with one_line_when_out_of_memory(), _reproducible(job, threads) as cpu:
        return _train(job, checkpoint, say, cpu=cpu, processes=processes)


@contextlib.contextmanager
def _reproducible(job: TrainingJob, threads: int) -> Iterator[bool]:
    """Same seed, same weights, on a CPU; yields whether it is one that trains."""
    import torch

    from pytest_pbias.training.determinism import deterministic_sums

    if not job.cpu and torch.cuda.is_available():
        yield False
    else:
        with deterministic_sums(threads, job.seed):
            yield True


@contextlib.contextmanager
def one_line_when_out_of_memory() -> Iterator[None]:
    """Turn every form of "out of memory" into one line that says what to change.

    Raises:
        InfrastructureError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        told = ("out of memory", "can't allocate memory", "not enough memory")
        if isinstance(error, MemoryError) or any(words in text for words in told):
            raise InfrastructureError(
                "training ran out of memory: take fewer rows at once, allow pairs fewer tokens, or "
                "train a smaller model; when resumed, it goes on from the last checkpoint",
                setting="micro-batch",
            ) from None
        raise


def _train(
    job: TrainingJob,
    checkpoint: str | None,
    say: Callable[[str], None],
    *,
    cpu: bool,
    processes: Processes,
) -> Trained:
    import datasets
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl.trainer.dpo_trainer import DPOTrainer

    from pytest_pbias.training.callbacks import HeldOutChecks, ProgressLines, StatusLine
    from pytest_pbias.training.saving import save_trained

    quiet_libraries()
    model, tokenizer = load_model(job.model, cpu=cpu, quantized=job.quantized)
    recipe = job.recipe
    pairs = job.pairs
    if recipe.prompt_length is not None:
        pairs = with_short_prompts(
            pairs, tokenizer, prompt=recipe.prompt_length, whole=job.max_length
        )
    status = StatusLine(say, silent=not processes.is_main_process)
    checks = None
    if job.heldout is not None:
        checks = HeldOutChecks(
            job.heldout,
            tokenizer,
            job.out / "checks.jsonl",
            every=job.save_every,
            patience=job.patience,
            processes=processes,
            status=status,
        )
    trainer = DPOTrainer(
        model,
        args=_arguments(job, cpu=cpu, processes=processes),
        train_dataset=datasets.Dataset.from_list(_rows(pairs)),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[ProgressLines(status), *([checks] if checks is not None else [])],
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        status.clear()
    state = trainer.state
    best = checks.best if checks is not None else None
    step = state.global_step if best is None else best.step
    if processes.is_main_process:
        kept = job.out / CHECKPOINTS / f"checkpoint-{step}"
        save_trained(
            trainer.model,
            tokenizer,
            job.model,
            job.out,
            step=step,
            checkpoint=kept,
            quantized=job.quantized,
        )
    losses = [(log["step"], log["loss"]) for log in state.log_history if "loss" in log]
    return Trained(
        job.out,
        step,
        state.global_step,
        tuple((int(step), float(loss)) for step, loss in losses),
        tuple(checks.checks) if checks is not None else (),
    )


def _rows(pairs: Sequence[PreferencePair]) -> list[dict[str, Any]]:
    def turn(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    return [
        {
            "prompt": [turn(message["role"], message["content"]) for message in pair.messages],
            "chosen": [turn("assistant", pair.chosen)],
            "rejected": [turn("assistant", pair.rejected)],
        }
        for pair in pairs
    ]


def _arguments(job: TrainingJob, *, cpu: bool, processes: Processes) -> DPOConfig:
    from transformers.training_args import OptimizerNames
    from trl.trainer.dpo_config import DPOConfig

    recipe = job.recipe
    micro, accumulated = processes.batching(recipe.batch, job.micro_batch or recipe.micro)
    arguments = DPOConfig(
        output_dir=str(job.out / CHECKPOINTS),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulated,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        beta=recipe.beta,
        loss_type=[name for name, _ in recipe.losses],
        loss_weights=[weight for _, weight in recipe.losses],
        max_length=job.max_length,
        save_steps=job.save_every,
        logging_steps=min(10, job.save_every),
        logging_first_step=True,
        seed=job.seed,
        data_seed=job.seed,
        use_cpu=cpu,
        bf16=not cpu and not job.quantized,
        fp16=not cpu and job.quantized,
        gradient_checkpointing=not cpu,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
    )
    if job.quantized and not cpu:
        arguments.optim = OptimizerNames.PAGED_ADAMW
    # Left alone, the trainer spreads one process over all GPUs and multiplies the batch by them.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def quiet_libraries() -> None:
    """Keep bars and notices about coming versions out of the progress lines; errors stay."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def load_model(name: str, *, cpu: bool, quantized: bool = False) -> tuple[Any, Any]:
    """A model and its tokenizer, checked for what DPO needs; ``quantized``: in 4-bit NF4.

    Raises:
        ConfigurationError: it cannot be loaded, or its chat template lacks the end token.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    tokenizer = load_tokenizer(name)
    dtype = torch.float32 if cpu else torch.float16 if quantized else torch.bfloat16
    config: Any = BitsAndBytesConfig  # untyped in transformers
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            attn_implementation="eager" if cpu else "sdpa",
            **({"quantization_config": config(**weights_config(cpu=cpu))} if quantized else {}),
        )
    except (OSError, ValueError, KeyError) as error:
        raise _not_loaded(name, error) from None
    return model, tokenizer


def load_tokenizer(name: str) -> Any:
    """A model's tokenizer, checked for what DPO needs; soon done, unlike loading the weights.

    Raises:
        ConfigurationError: it cannot be loaded, or its chat template lacks the end token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise _not_loaded(name, error) from None
    if tokenizer.chat_template is None:
        raise ConfigurationError(f"model {name} has no chat template: train a chat model")
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    if tokenizer.eos_token not in tokenizer.apply_chat_template(chat, tokenize=False)[-60:]:
        raise ConfigurationError(
            f"model {name}: its chat template does not end an answer with {tokenizer.eos_token}: "
            "a model trained with it would never stop; mend the template first"
        )
    return tokenizer


def _not_loaded(name: str, error: Exception) -> ConfigurationError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ConfigurationError(f"model {name} cannot be loaded: {reason}")
