"""What tokens cost: prices as data, budgets, and the estimate before a token is spent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.files.toml_file import Table, Text, parse_toml, read_text, validated

_BUDGET = re.compile(r"^\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z$€]+)\s*$")
_TOKEN_UNITS = {"token", "tokens", "tok"}
_SIGNS = {"$": "USD", "€": "EUR"}
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a model, in ``currency`` per million tokens."""

    input: float
    output: float
    currency: str

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens used, and their list price in ``currency`` where it is known; of how many replies."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    amount: float | None = None
    currency: str | None = None
    replies: int | None = None

    @classmethod
    def at(
        cls,
        price: Price | None,
        prompt_tokens: int,
        completion_tokens: int,
        *,
        replies: int | None = None,
    ) -> Spent:
        """So many tokens at a price, None where it is unknown."""
        if price is None:
            return cls(prompt_tokens, completion_tokens, replies=replies)
        amount = price.of(prompt_tokens, completion_tokens)
        return cls(prompt_tokens, completion_tokens, amount, price.currency, replies)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a run may spend: an amount of money in ``unit``, or of tokens."""

    amount: float
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:,.10g} {self.unit}"


def find_price(model: str, extra: Path | None = None) -> Price | None:
    """Price of a served model: from ``extra`` first, else from the table shipped; None if unknown.

    Raises:
        ConfigurationError: the file cannot be read or is not a price table.
    """
    shipped = resources.files("pytest_pbias.collecting").joinpath("prices.toml").read_text("utf-8")
    tables = [_read_table(shipped, "prices.toml")]
    if extra is not None:
        tables.insert(0, _read_table(read_text(extra, str(extra)), str(extra)))
    for table in tables:
        matching = [name for name in table if _names(name, model)]
        if matching:
            return table[max(matching, key=len)]
    return None


def _names(entry: str, model: str) -> bool:
    """Whether a price's name is the model's, or the model is a dated version of it."""
    return model == entry or re.fullmatch(re.escape(entry) + r"-\d[\d-]*", model) is not None


class _PriceTable(Table):
    input: Amount
    output: Amount


class PriceDocument(Table):
    """A price table: per million tokens, by model."""

    currency: Text
    models: dict[str, _PriceTable]


def _read_table(text: str, shown: str) -> dict[str, Price]:
    document = validated(PriceDocument, parse_toml(text, shown), shown)
    return {
        name: Price(price.input, price.output, document.currency)
        for name, price in document.models.items()
    }


def parse_budget(text: str) -> Budget:
    """Read ``5USD``, ``$5`` or ``200000 tokens``.

    Raises:
        ConfigurationError: it is none of these.
    """
    for sign, name in _SIGNS.items():
        if text.strip().startswith(sign):
            text = text.strip().removeprefix(sign) + name
    found = _BUDGET.match(text)
    amount = float(found[1].replace("_", "").replace(",", "")) if found else 0.0
    if found is None or amount <= 0:
        raise ConfigurationError(
            f"{text!r} is neither like 5USD nor 200000tokens", setting="budget"
        )
    unit = found[2].lower()
    if unit in _TOKEN_UNITS:
        return Budget(amount, "tokens")
    return Budget(amount, _SIGNS.get(found[2], found[2].upper()))


def spending_check(budget: Budget, price: Price | None) -> Callable[[int, int], str | None]:
    """A function of the prompt and completion tokens used: the reason to stop, or None.

    Raises:
        ConfigurationError: the budget is money and the price is unknown or in another currency.
    """
    if budget.unit == "tokens":
        price = Price(1e6, 1e6, "tokens")
    elif price is None:
        raise ConfigurationError(
            f"the model's price, which a budget of {budget} needs, is not known: give a file with "
            "it, or a budget in tokens",
            setting="prices",
        )
    elif price.currency != budget.unit:
        raise ConfigurationError(
            f"the budget is {budget} and the model's price is in {price.currency}",
            setting="budget",
        )
    known = price

    def check(prompt_tokens: int, completion_tokens: int) -> str | None:
        if known.of(prompt_tokens, completion_tokens) < budget.amount:
            return None
        return (
            f"the budget of {budget} is spent; run again with a larger one to ask what is missing"
        )

    return check
