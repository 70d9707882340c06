"""Options that a batch cannot heed are refused instead of ignored."""

from __future__ import annotations

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import ModelSpec
from pytest_pbias.plugin.settings import read_spending

ENDPOINT = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--pbias-rpm=5", "--pbias-rpm: the provider decides"),
        ("--pbias-tpm=5", "--pbias-tpm: the provider decides"),
        ("--pbias-timeout=60", "--pbias-timeout: the provider decides"),
        ("--pbias-concurrency=8", "--pbias-concurrency: the provider decides"),
        ("--pbias-budget=5tokens", "--pbias-budget cannot stop a batch"),
    ],
)
def test_what_a_batch_cannot_heed_is_a_usage_error(
    option: str, said: str, pytester: pytest.Pytester
) -> None:
    model = _model()
    read_spending(pytester.parseconfig(option), model)
    with pytest.raises(ConfigurationError, match=said):
        read_spending(pytester.parseconfig("--pbias-batch", option), model)


def test_an_ini_file_gives_such_an_option_as_well(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\npbias_rpm = 5\n")
    with pytest.raises(ConfigurationError, match="--pbias-rpm: the provider decides"):
        read_spending(pytester.parseconfig("--pbias-batch"), _model())


def _model() -> ModelSpec:
    return ModelSpec(
        name="tiny",
        served_name="tiny",
        base_url=ENDPOINT,
        api_key_env=None,
        kind="endpoint",
        served_identity="tiny",
        revision="",
    )
