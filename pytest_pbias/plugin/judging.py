"""The judges of a session: those that the options name, among ours and those of plug-ins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.grading.judges import (
    Judge,
    Judging,
    adopt_judges,
    identity_mask,
    is_judged,
    make_judges,
    telling_words,
)
from pytest_pbias.plugin.settings.judging import JudgeSettings
from pytest_pbias.tasks import resolve_task


def session_judging(
    config: pytest.Config, settings: JudgeSettings, cells: Iterable[Cell]
) -> Judging:
    """The judges that the options name, and the mask for the identities of ``cells``.

    Raises:
        ConfigurationError: a judge is unknown or lacks what it needs, or a plug-in failed.
    """
    try:
        judges = make_judges(settings.wanted, settings.model, _of_plugins(config))
    except ConfigurationError as error:
        raise ConfigurationError(f"--pbias-judge: {error}") from None
    if not settings.mask or not any(judge.masks_identity for judge in judges):
        return Judging(judges)
    words = telling_words(cell.identity for cell in cells)
    return Judging(judges, identity_mask(words), words)


def planned_verdicts(judging: Judging, n_answers: Mapping[str, int]) -> list[str]:
    """What judges that are paid for would be asked besides; ``n_answers`` by task."""
    count = sum(n for name, n in n_answers.items() if is_judged(resolve_task(name)))
    return [
        f"judge {judge.name}: at most {count:,} verdicts besides, not in these figures"
        for judge in judging.judges
        if count and judge.cost()
    ]


def _of_plugins(config: pytest.Config) -> tuple[Judge, ...]:
    try:
        offered = config.hook.pytest_pbias_judges(config=config)
        return adopt_judges(judge for judges in offered for judge in judges or ())
    except PbiasError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the hook pytest_pbias_judges broke: {_line(error)}") from error


def _line(error: Exception) -> str:
    """What was raised, and in which line."""
    frame: Any = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"{text} ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})"
