from __future__ import annotations

from pathlib import Path

import pytest

from pytest_pbias.collecting.cost import Budget, find_price, parse_budget, spending_check
from pytest_pbias.errors import ConfigurationError


def test_a_dated_version_has_the_price_of_its_model() -> None:
    plain, mini = find_price("gpt-4o"), find_price("gpt-4o-mini")
    assert plain is not None
    assert mini is not None
    assert find_price("gpt-4o-2024-08-06") == plain
    assert find_price("gpt-4o-mini-2024-07-18") == mini
    assert mini.of(1e6, 1e6) < plain.of(1e6, 1e6)
    assert plain.of(2e6, 1e6) == 2 * plain.input + plain.output


def test_an_unknown_model_has_no_price() -> None:
    assert find_price("gpt-4o-audio-preview") is None
    assert find_price("my-model") is None


def test_prices_of_ones_own_come_first(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "EUR"\n[models]\ngpt-4o = { input = 1, output = 2 }\n')
    found = find_price("gpt-4o", path)
    assert found is not None
    assert (found.input, found.output, found.currency) == (1, 2, "EUR")
    assert find_price("gpt-4o-mini", path) == find_price("gpt-4o-mini")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("currency = ", r"prices.toml:1:12: is not TOML"),
        ("[models]\n", "prices.toml: currency: is missing"),
        ('currency = "USD"\n[models]\nx = { input = 1 }\n', "models.x.output: is missing"),
        (
            'currency = "USD"\n[models]\nx = { input = -1, output = 1 }\n',
            "x.input: must be at least 0",
        ),
        (
            'currency = "USD"\n[models]\nx = { input = true, output = 1 }\n',
            "x.input: must be a number",
        ),
    ],
)
def test_bad_price_files_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says) as caught:
        find_price("x", path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find_price("x", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5USD", Budget(5, "USD")),
        ("$2.50", Budget(2.5, "USD")),
        ("3 eur", Budget(3, "EUR")),
        ("200_000 tokens", Budget(200_000, "tokens")),
        ("1,000tok", Budget(1000, "tokens")),
    ],
)
def test_budgets(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "5", "USD", "-5USD", "0USD", "five USD"])
def test_bad_budgets_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="neither like 5USD"):
        parse_budget(text)


def test_money_needs_a_price_in_the_same_currency() -> None:
    price = find_price("gpt-4o")
    with pytest.raises(
        ConfigurationError, match="the model's price, which a budget of 5 USD needs, is not known"
    ):
        spending_check(Budget(5, "USD"), None)
    with pytest.raises(ConfigurationError, match="price is in USD"):
        spending_check(Budget(5, "EUR"), price)
    check = spending_check(Budget(5, "USD"), price)
    assert check(1_000_000, 0) is None
    assert "budget of 5 USD is spent" in str(check(2_000_000, 0))
    tokens = spending_check(Budget(100, "tokens"), None)
    assert tokens(50, 49) is None
    assert tokens(50, 50) is not None
