"""What happens while a model trains: progress lines, held-out checks, early stopping."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pytest_pbias.files.writing import save_text
from pytest_pbias.training.heldout import Check, HeldOut, respond
from pytest_pbias.training.processes import Processes


class ProgressLines(TrainerCallback):
    """One line a logging step: done, loss, time left."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._start = (0, time.monotonic())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remember where training started: a resumed one does not start at 0."""
        self._start = (state.global_step, time.monotonic())

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Say how far training is."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        step, started = self._start
        pace = (time.monotonic() - started) / max(1, state.global_step - step)
        left = pace * (state.max_steps - state.global_step)
        self._say(
            f"step {state.global_step}/{state.max_steps}, loss {float(logs['loss']):.4f}, "
            f"{left / 60:.1f} min left"
        )


class HeldOutChecks(TrainerCallback):
    """Measures held-out PB every ``every`` steps and stops once it no longer falls.

    The cost of a check is PB plus what the rates lost, so that a collapsing model is never the
    best one. Checks are kept in ``path``, for a training that resumes.
    """

    def __init__(
        self,
        heldout: HeldOut,
        tokenizer: Any,
        path: Path,
        *,
        every: int,
        patience: int,
        processes: Processes,
        say: Callable[[str], None],
    ) -> None:
        self._heldout = heldout
        self._tokenizer = tokenizer
        self._path = path
        self._every = every
        self._patience = patience
        self._processes = processes
        self._say = say
        self.checks: list[Check] = []

    @property
    def best(self) -> Check | None:
        """The check with the least cost; None where nothing was checked."""
        if not self.checks:
            return None
        before = self.checks[0]
        return min(self.checks, key=lambda check: (check.cost(before), check.step))

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Check the model as it is, or read the checks of the training that is resumed."""
        if state.global_step and self._path.exists():
            lines = self._path.read_text("utf-8").splitlines()
            known = [Check(**json.loads(line)) for line in lines]
            self.checks = [check for check in known if check.step <= state.global_step]
        else:
            self._check(state, model)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> TrainerControl:
        """Check; stop where the best check is ``patience`` checks old."""
        if state.global_step % self._every and state.global_step != state.max_steps:
            return control
        self._check(state, model)
        control.should_save = True
        best = self.best
        assert best is not None
        if sum(check.step > best.step for check in self.checks) >= self._patience:
            self._say(f"held-out PB has not improved since step {best.step}: stopped")
            control.should_training_stop = True
        return control

    def _check(self, state: TrainerState, model: Any) -> None:
        responses = respond(model, self._tokenizer, self._heldout, self._processes)
        check = self._heldout.check(state.global_step, responses)
        self.checks.append(check)
        if self._processes.is_main_process:
            text = "".join(json.dumps(asdict(check)) + "\n" for check in self.checks)
            save_text(self._path, text, "the checks")
            self._say(
                f"step {check.step}: held-out PB {check.bias:.1f}, mean rate {check.rate:.1f}, "
                f"baseline {check.baseline:.1f}"
            )
