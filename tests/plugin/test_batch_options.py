"""Options that a batch cannot heed are refused instead of ignored."""

from __future__ import annotations

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.plugin.options import described
from pytest_pbias.plugin.settings import Settings, read_settings

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
    _settings(pytester, option)
    with pytest.raises(ConfigurationError) as caught:
        _settings(pytester, "--pbias-batch", option)
    assert said in described(caught.value)


def test_an_ini_file_gives_such_an_option_as_well(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\npbias_rpm = 5\n")
    with pytest.raises(ConfigurationError) as caught:
        _settings(pytester, "--pbias-batch")
    assert "--pbias-rpm: the provider decides" in described(caught.value)


def _settings(pytester: pytest.Pytester, *options: str) -> Settings:
    model = ("--pbias-model=tiny", f"--pbias-base-url={ENDPOINT}", "--pbias-plan")
    return read_settings(pytester.parseconfig(*model, *options), None)
