from __future__ import annotations

import pytest

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["mmlu"], identities=["a man"])
def test_small(cell):
    pass
"""


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--pbias-split=mmlu", "--pbias-split: 'mmlu' is not of the form NAME=VALUE"),
        ("--pbias-split=mmul=test", "unknown task 'mmul': did you mean 'mmlu'?"),
        ("--pbias-split=mmlu=val", "has no split 'val': choose from dev, validation, test"),
        ("--pbias-shots=-1", "--pbias-shots: '-1' is not a whole number of at least 0"),
    ],
)
def test_a_wrong_choice_of_data_is_one_line(
    pytester: pytest.Pytester, option: str, said: str
) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("--pbias-model=embedded", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.stderr.lines if line.strip()]
    assert len(errors) == 1
    assert said in errors[0]


def test_offline_without_a_cache_is_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(pytester.path / "home"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(pytester.path / "home" / "datasets"))
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        "--pbias-model=x", "--pbias-base-url=http://127.0.0.1:9/v1", "--pbias-offline"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--pbias-offline: *is not in the hub's cache*"])
