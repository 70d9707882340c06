"""DPO with LoRA (TRL, PEFT): from pairs to an adapter and a merged model that can be served."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.mitigation.training.heldout import Check, HeldOut
from pytest_pbias.mitigation.training.pairs import PreferencePair
from pytest_pbias.mitigation.training.recipe import Recipe
from pytest_pbias.mitigation.training.reproducing import available_cores

if TYPE_CHECKING:
    from trl.trainer.dpo_config import DPOConfig

CHECKPOINTS = "checkpoints"
_NEEDED = ("torch", "transformers", "trl", "peft", "accelerate")


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on what, how, and where to.

    ``model`` is a folder or a hub id. ``batch`` of the recipe is reached by accumulating
    micro-batches of ``micro_batch``. ``save_every`` counts optimizer steps; held-out checks are
    made as often. ``threads`` are those of a training on the CPU (None: one a core); the weights
    depend on their number, in the last bits at first.
    """

    model: str
    pairs: tuple[PreferencePair, ...]
    recipe: Recipe
    out: Path
    seed: int = 0
    micro_batch: int | None = None
    save_every: int = 50
    patience: int = 2
    max_length: int = 1024
    cpu: bool = False
    threads: int | None = None
    resume: bool = False
    heldout: HeldOut | None = None

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed training must have in common with the one it goes on with."""
        digest = hashlib.sha256(repr(self.pairs).encode("utf-8", "replace")).hexdigest()
        return {
            "model": self.model,
            "pairs": digest,
            "n_pairs": len(self.pairs),
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "seed": self.seed,
            "max_length": self.max_length,
        }


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
            f"training needs {', '.join(missing)}: pip install 'pytest-pbias[mitigate]'"
        )


def train_dpo(job: TrainingJob, say: Callable[[str], None]) -> Trained:
    """Train, keep the best checkpoint, and write adapter and merged model below ``job.out``.

    ``say`` receives one line of progress at a time.

    Raises:
        ConfigurationError: an extra is missing, the folder holds another training, or the model
            cannot be trained.
        InfrastructureError: memory ran out.
    """
    require_training_extra()
    checkpoint, threads = _prepare_folder(job)
    with one_line_when_out_of_memory(), _reproducible(job, threads) as cpu:
        return _train(job, checkpoint, say, cpu=cpu)


@contextlib.contextmanager
def _reproducible(job: TrainingJob, threads: int) -> Iterator[bool]:
    """Same seed, same weights, on a CPU; yields whether it is one that trains."""
    import torch

    from pytest_pbias.mitigation.training.reproducing import same_sums

    if not job.cpu and torch.cuda.is_available():
        yield False
    else:
        with same_sums(threads, job.seed):
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
                "training ran out of memory: lower --micro-batch or --max-length, or train a "
                "smaller model; --resume goes on from the last checkpoint"
            ) from None
        raise


def _prepare_folder(job: TrainingJob) -> tuple[str | None, int]:
    """Write what is trained to the folder.

    Returns the checkpoint to go on from and the number of threads, which a resumed training
    takes from the one that it goes on with unless the job names another.
    """
    note = job.out / "training.json"
    known: dict[str, Any] = {}
    job.out.mkdir(parents=True, exist_ok=True)
    if note.exists():
        if not job.resume:
            raise ConfigurationError(
                f"{job.out} holds a training already: give --resume or another --out"
            )
        known = json.loads(note.read_text("utf-8"))
        changed = [key for key, value in job.fingerprint().items() if known.get(key) != value]
        if changed:
            raise ConfigurationError(
                f"{job.out} holds another training ({', '.join(changed)} differ): "
                "give another --out"
            )
    threads = job.threads or known.get("threads") or available_cores()
    text = json.dumps(job.fingerprint() | {"threads": threads}, indent=1)
    note.write_text(text + "\n", "utf-8")
    found = sorted(
        (job.out / CHECKPOINTS).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
    )
    whole = [path for path in found if (path / "trainer_state.json").exists()]
    return (str(whole[-1]) if job.resume and whole else None), int(threads)


def _train(
    job: TrainingJob, checkpoint: str | None, say: Callable[[str], None], *, cpu: bool
) -> Trained:
    import datasets
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl.trainer.dpo_trainer import DPOTrainer

    from pytest_pbias.mitigation.training.callbacks import HeldOutChecks, ProgressLines
    from pytest_pbias.mitigation.training.saving import save_trained

    quiet_libraries()
    model, tokenizer = load_model(job.model, cpu=cpu)
    recipe = job.recipe
    checks = None
    if job.heldout is not None:
        checks = HeldOutChecks(
            job.heldout,
            tokenizer,
            job.out / "checks.jsonl",
            every=job.save_every,
            patience=job.patience,
            say=say,
        )
    trainer = DPOTrainer(
        model,
        args=_arguments(job, cpu=cpu),
        train_dataset=datasets.Dataset.from_list(_rows(job.pairs)),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[ProgressLines(say), *([checks] if checks is not None else [])],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoint)
    state = trainer.state
    best = checks.best if checks is not None else None
    step = state.global_step if best is None else best.step
    if trainer.is_world_process_zero():
        kept = job.out / CHECKPOINTS / f"checkpoint-{step}"
        save_trained(trainer.model, tokenizer, job.model, job.out, step=step, checkpoint=kept)
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


def _arguments(job: TrainingJob, *, cpu: bool) -> DPOConfig:
    from trl.trainer.dpo_config import DPOConfig

    recipe = job.recipe
    micro = min(job.micro_batch or recipe.batch, recipe.batch)
    return DPOConfig(
        output_dir=str(job.out / CHECKPOINTS),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=-(-recipe.batch // micro),
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
        seed=job.seed,
        data_seed=job.seed,
        use_cpu=cpu,
        bf16=not cpu,
        gradient_checkpointing=not cpu,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
    )


def quiet_libraries() -> None:
    """Keep bars and notices about coming versions out of the progress lines; errors stay."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def load_model(name: str, *, cpu: bool) -> tuple[Any, Any]:
    """A model and its tokenizer, checked for what DPO needs.

    Raises:
        ConfigurationError: it cannot be loaded, or its chat template lacks the end token.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.float32 if cpu else torch.bfloat16
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, attn_implementation="eager" if cpu else "sdpa"
        )
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigurationError(f"model {name} cannot be loaded: {reason}") from None
    if tokenizer.chat_template is None:
        raise ConfigurationError(f"model {name} has no chat template: train a chat model")
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    if tokenizer.eos_token not in tokenizer.apply_chat_template(chat, tokenize=False)[-60:]:
        raise ConfigurationError(
            f"model {name}: its chat template does not end an answer with {tokenizer.eos_token}: "
            "a model trained with it would never stop; mend the template first"
        )
    return model, tokenizer
