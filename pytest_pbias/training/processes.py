"""One training in several processes (``accelerate launch``): who speaks, and who takes what.

Every process holds the whole model and answers for its share of each batch, so that the recipe's
batch stays what it is, however many share it. What launches them says so in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Processes:
    """The processes of a training and which of them this is: ``rank`` of ``count``.

    ``here`` of them share this machine.
    """

    rank: int = 0
    count: int = 1
    here: int = 1

    @classmethod
    def launched(cls) -> Processes:
        """As ``accelerate launch``, ``torchrun`` or MPI says; one where none started this."""
        count = _first_of(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"), 1)
        return cls(
            _first_of(("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK"), 0),
            count,
            _first_of(("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE"), count),
        )

    @property
    def is_main_process(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def batching(self, batch: int, micro_batch: int | None) -> tuple[int, int]:
        """Rows in memory at once in each process, and how often to add gradients before a step.

        Together with the number of processes they make ``batch`` rows a step, or the least number
        above it that divides evenly.
        """
        share = -(-batch // self.count)
        micro = min(micro_batch or share, share)
        return micro, -(-share // micro)

    def shared(
        self, texts: Sequence[str], answer: Callable[[Sequence[str]], list[str]]
    ) -> list[str]:
        """Answers to all texts in their order, each given by one process and told to all."""
        mine = answer(texts[self.rank :: self.count])
        if self.count == 1:
            return mine
        from accelerate.utils import gather_object

        told = gather_object([mine])
        answers = [""] * len(texts)
        for rank, some in enumerate(told):
            answers[rank :: self.count] = some
        return answers


def _first_of(names: Sequence[str], default: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), default)
