"""What to train, on what, and the folder that one training owns."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.files.writing import save_text
from pytest_pbias.training.determinism import available_cores
from pytest_pbias.training.heldout import HeldOut
from pytest_pbias.training.pairs import PreferencePair
from pytest_pbias.training.processes import Processes
from pytest_pbias.training.quantization import unlike_released, why_not_quantized
from pytest_pbias.training.recipe import Recipe
from pytest_pbias.training.record import NOTE, read_note

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on what, how, and where to.

    ``model`` is a folder or a hub id. ``batch`` of the recipe is reached by accumulating
    micro-batches of ``micro_batch``, in all processes together. ``save_every`` counts optimizer
    steps; held-out checks are made as often. ``threads`` are those of a process that trains on the
    CPU (None: one a core); the weights depend on their number, in the last bits at first.
    ``variant`` is what was done to the pairs, for the record.
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
    variant: str = ""

    def why_not_quantized(self) -> str:
        """Why this training is not on 4-bit weights though its recipe is; empty where it is."""
        return why_not_quantized(cpu=self.cpu) if self.recipe.quantize else ""

    @property
    def quantized(self) -> bool:
        """Whether the weights that adapters are trained on have 4 bits."""
        return self.recipe.quantize and not self.why_not_quantized()

    @property
    def unlike_released(self) -> str:
        """How 4-bit weights are trained here, where not as released; else empty."""
        return unlike_released(cpu=self.cpu) if self.quantized else ""

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
        } | ({"quantized": self.quantized} if self.recipe.quantize else {})


def known_training(job: TrainingJob) -> dict[str, Any]:
    """The note of the training that ``job`` goes on with; empty where its folder holds none.

    A job without pairs is one that looks before they are gathered: its pairs are not compared.

    Raises:
        ConfigurationError: the folder cannot be one, is the model's own, or holds a training that
            this one does not go on with.
    """
    nearest = next(path for path in (job.out, *job.out.parents) if os.path.exists(path))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"{job.out}: {nearest} is no folder that can be written to", setting="out"
        )
    if Path(job.model).is_dir() and Path(job.model).resolve() == job.out.resolve():
        raise ConfigurationError(
            f"{job.out} is the folder of the model: give another", setting="out"
        )
    known = read_note(job.out)
    if known and not job.resume:
        raise ConfigurationError(
            f"{job.out} holds a training already: resume it or give another folder", setting="out"
        )
    unknown_yet = () if job.pairs else ("pairs", "n_pairs")
    wanted = {key: value for key, value in job.fingerprint().items() if key not in unknown_yet}
    changed = [key for key, value in wanted.items() if known.get(key) != value]
    if known and changed:
        raise ConfigurationError(
            f"{job.out} holds another training ({', '.join(changed)} differ): give another folder",
            setting="out",
        )
    return known


def prepare_folder(job: TrainingJob, processes: Processes) -> tuple[str | None, int]:
    """Write what is trained to the folder, in the process that leads.

    Returns the checkpoint to go on from and the number of threads, which a resumed training
    takes from the one that it goes on with unless the job names another.

    Raises:
        ConfigurationError: the folder holds a training that this one does not go on with.
    """
    known = known_training(job) if processes.is_main_process else read_note(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    share = max(1, available_cores() // processes.here)
    threads = job.threads or known.get("threads") or share
    if processes.is_main_process:
        record = {
            "threads": threads,
            "variant": job.variant,
            "without_quantization": job.why_not_quantized(),
            "unlike_released": job.unlike_released,
        }
        text = json.dumps(job.fingerprint() | record, indent=1)
        note = job.out / NOTE
        save_text(note, text + "\n", "the note")  # whole: the other processes read it at any moment
    found = sorted(
        (job.out / CHECKPOINTS).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
    )
    complete = [path for path in found if _is_whole(path / "trainer_state.json")]
    return (str(complete[-1]) if job.resume and complete else None), int(threads)


def _is_whole(state: Path) -> bool:
    """Whether a checkpoint was written to its end: its state is the last file, and may be cut."""
    try:
        json.loads(state.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True
