"""What happens while a model trains: progress lines, held-out checks, early stopping."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pytest_pbias.files.writing import save_text
from pytest_pbias.training.heldout import Check, HeldOut, respond
from pytest_pbias.training.processes import Processes

_EVERY = 30.0  # seconds between lines where no terminal shows them
_WIDTH = 79


class StatusLine:
    """How far a training is, on stderr: one line that a terminal rewrites, else one now and then.

    ``say`` is for what stays; it goes through here, so that a line which is rewritten gives way.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        silent: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._silent = silent
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._last = clock()
        self._shown = False

    def say(self, text: str) -> None:
        """Say what stays."""
        self.clear()
        self._say(text)

    def show(self, text: str) -> None:
        """Say how far it is; the next call may replace it, or come too early to be seen."""
        if self._silent:
            return
        if self._stream.isatty():
            print(f"\r{text[:_WIDTH]:<{_WIDTH}}", end="", file=self._stream, flush=True)
            self._shown = True
        elif self._clock() - self._last >= _EVERY:
            self._last = self._clock()
            print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Take a rewritten line away."""
        if self._shown:
            print(f"\r{'':<{_WIDTH}}\r", end="", file=self._stream, flush=True)
            self._shown = False


class ProgressLines(TrainerCallback):  # type: ignore[misc]  # Any to mypy
    """How far training is: done, loss, time left; a line stays at each logging step."""

    def __init__(self, status: StatusLine) -> None:
        self._status = status
        self._start = (0, time.monotonic())
        self._loss = ""

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
        self._loss = f", loss {float(logs['loss']):.4f}"
        self._status.say(self._line(state))

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show that a step with added gradients is under way."""
        if state.is_world_process_zero:
            self._status.show(self._line(state))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show how far training is, with the loss that was logged last."""
        if state.is_world_process_zero:
            self._status.show(self._line(state))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the terminal's line empty."""
        self._status.clear()

    def _line(self, state: TrainerState) -> str:
        step, started = self._start
        done = state.global_step - step
        line = f"step {state.global_step}/{state.max_steps}{self._loss}"
        if not done:
            return line
        left = (time.monotonic() - started) / done * (state.max_steps - state.global_step)
        return f"{line}, {left:,.0f} s left" if left < 600 else f"{line}, {left / 60:.0f} min left"


class HeldOutChecks(TrainerCallback):  # type: ignore[misc]  # Any to mypy
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
        status: StatusLine,
    ) -> None:
        self._heldout = heldout
        self._tokenizer = tokenizer
        self._path = path
        self._every = every
        self._patience = patience
        self._processes = processes
        self._status = status
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
            self._status.say(f"held-out PB has not improved since step {best.step}: stopped")
            control.should_training_stop = True
        return control

    def _check(self, state: TrainerState, model: Any) -> None:
        def told(done: int, total: int) -> None:
            self._status.show(f"step {state.global_step}: held-out answers {done:,} of {total:,}")

        responses = respond(model, self._tokenizer, self._heldout, self._processes, told=told)
        check = self._heldout.check(state.global_step, responses)
        self.checks.append(check)
        if self._processes.is_main_process:
            text = "".join(json.dumps(asdict(check)) + "\n" for check in self.checks)
            save_text(self._path, text, "the checks")
            self._status.say(
                f"step {check.step}: held-out PB {check.bias:.1f}, mean rate {check.rate:.1f}, "
                f"baseline {check.baseline:.1f}"
            )
