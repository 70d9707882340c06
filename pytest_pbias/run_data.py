"""The questions of a stored run, found again in the data sets that it asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.tasks import Item, Task, load_task


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the tasks' data is, as in the run; ``shots`` None: as many as the run noted."""

    data_dir: Path | None = None
    shots: int | None = None
    seed: int | None = None
    offline: bool = False


def items_of_run(task: Task, part: OutcomeTable, options: DataOptions) -> dict[str, Item]:
    """The items that a run asked of a task by id, from its data; ``part`` are the task's rows.

    Raises:
        PbiasError: the data is missing, or not what the run asked.
    """
    asked = part.unique("item_id")
    info = part.info
    revision = next(iter(part.unique("data_revision")), "")
    data = load_task(
        task,
        data_dir=_data_dir(task, part, revision, options),
        protocol=_protocol(info),
        seed=int(info.get("seed", 0)) if options.seed is None else options.seed,
        split=revision.partition("#")[2] or None,
        shots=int(info.get("shots", 0)) if options.shots is None else options.shots,
        offline=options.offline,
        option_prefix="--",
    )
    items = {item.id: item for item in data.items}
    lost = [name for name in asked if name not in items]
    if lost:
        raise DataError(
            f"{len(lost)} of {len(asked)} items that the run asked of {task.name!r} are not in "
            f"this data (the first is {lost[0]!r}): give the run's own with --data-dir"
        )
    return items


def _protocol(info: Mapping[str, Any]) -> Literal["default", "paper"]:
    protocol = info.get("protocol", "default")
    if protocol not in ("default", "paper"):
        raise DataError(f"the run has the protocol {protocol!r}, which this version does not know")
    return cast("Literal['default', 'paper']", protocol)


def _data_dir(task: Task, part: OutcomeTable, revision: str, options: DataOptions) -> Path | None:
    """The folder given, that of the embedded model where it was asked, or None for the hub."""
    if options.data_dir is not None:
        if not options.data_dir.is_dir():
            raise ConfigurationError(f"--data-dir: there is no folder {options.data_dir}")
        return options.data_dir
    if "embedded" in part.unique("model"):
        from pytest_pbias.models.embedded import data_dir

        return data_dir()
    if revision.partition("#")[0] == "local":
        raise ConfigurationError(
            f"the run read {task.name!r} from a local folder: say where it is with --data-dir"
        )
    return None
