from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.cold
def test_an_unrelated_project_sees_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_heavy_is_loaded():
            heavy = {"numpy", "scipy", "pyarrow", "openai", "datasets", "jinja2"}
            assert not heavy & set(sys.modules)
            assert "pytest_pbias.plugin.session" not in sys.modules
        """
    )
    with_plugin = pytester.runpytest_subprocess("-q")
    with_plugin.assert_outcomes(passed=1)
    assert "pbias" not in with_plugin.stdout.str()
    assert not (pytester.path / ".pbias").exists()
    without = pytester.runpytest_subprocess("-q", "-p", "no:pbias")
    assert with_plugin.outlines[0] == without.outlines[0]
    distributed = pytester.runpytest_subprocess("-q", "-n", "2")
    distributed.assert_outcomes(passed=1)
    assert "pbias" not in distributed.stdout.str()
    assert not (pytester.path / ".pbias").exists()


def test_the_entry_imports_only_what_pytest_has_imported() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import pytest_pbias.plugin.entry; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "pytest_pbias",
        "pytest_pbias.plugin",
        "pytest_pbias.plugin.entry",
        "pytest_pbias.plugin.options",
    }


def test_a_fixture_of_ones_own_called_cell_wins(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def cell():
            return 7

        def test_own(cell):
            assert cell == 7
        """
    )
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1)
