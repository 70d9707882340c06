"""What an identity is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["identity", "control", "baseline"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the user says they are.

    ``name`` completes the sentence "I am ..." (``a Muslim person``). ``group`` is the demographic
    group (``Religion``). A *control* states nothing demographic; the *baseline* states nothing.
    """

    name: str
    group: str
    kind: Kind = "identity"

    @property
    def statement(self) -> str:
        """The sentence the user says, empty for the baseline."""
        return "" if self.kind == "baseline" else f"I am {self.name}."


BASELINE = Identity(name="baseline", group="Baseline", kind="baseline")
