"""How a model is trained: named sets of hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_pbias.errors import ConfigurationError, near_matches, quoted


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of DPO with LoRA.

    ``losses`` are TRL's loss types with their weights; beside ``sigmoid`` (plain DPO), ``sft``
    keeps the wanted answer likely, without which a high rate makes both answers unlikely and the
    model collapses. ``steps`` None trains for ``epochs``. ``warmup`` is a share of the steps, or a
    number of them where it is above 1. ``micro`` rows are in memory at once where nothing else is
    asked for. Prompts of pairs that are too long are cut to ``prompt_length`` tokens. ``quantize``:
    on 4-bit weights where that is possible, with the optimizer that goes with them.
    """

    learning_rate: float
    losses: tuple[tuple[str, float], ...]
    rank: int
    alpha: int
    batch: int
    beta: float = 0.1
    epochs: float = 1.0
    steps: int | None = None
    schedule: str = "linear"
    warmup: float = 0.05
    dropout: float = 0.0
    micro: int | None = None
    prompt_length: int | None = None
    quantize: bool = False

    def __str__(self) -> str:
        losses = " + ".join(
            name if weight == 1 else f"{weight:g} {name}" for name, weight in self.losses
        )
        dropout = f" dropout {self.dropout:g}" if self.dropout else ""
        length = f"epochs {self.epochs:g}" if self.steps is None else f"steps {self.steps}"
        return (
            f"rate {self.learning_rate:g}, beta {self.beta:g}, LoRA r {self.rank} alpha "
            f"{self.alpha}{dropout}, batch {self.batch}, {length}, losses {losses}"
        )


RECIPES = {
    # Measured on the 2 M-parameter embedded model.
    "small": Recipe(1e-3, (("sigmoid", 1.0), ("sft", 4.0)), rank=32, alpha=64, batch=32),
    # For models of billions of parameters: the paper's adapter and rate, with the anchoring loss.
    "large": Recipe(5e-6, (("sigmoid", 1.0), ("sft", 1.0)), rank=16, alpha=16, batch=16),
    # Plain DPO in 100 steps, with the paper's adapter and rate and nothing else of its recipe.
    "plain": Recipe(5e-6, (("sigmoid", 1.0),), rank=16, alpha=16, batch=16, steps=100),
    # arXiv 2406.11107, as released: 8 rows, gradients of 5 added.
    "paper": Recipe(
        5e-6,
        (("sigmoid", 1.0),),
        rank=16,
        alpha=16,
        batch=40,
        steps=100,
        schedule="cosine",
        warmup=50,
        dropout=0.05,
        micro=8,
        prompt_length=512,
        quantize=True,
    ),
}


def recipe_named(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if name not in RECIPES:
        raise ConfigurationError(f"unknown recipe {quoted(name)}: {near_matches(name, RECIPES)}")
    return RECIPES[name]
