"""Workers and the controller meet in the store's folder, and leave nothing there."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

# They count what is asked.
pytestmark = pytest.mark.usefixtures("only_listed")


@pytest.mark.slow
def test_a_store_beside_the_invocation(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]")
    path = pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pbias(tasks=["gsm8k"], identities=["a man"])
        def test_small(cell):
            pass
        """
    )
    folder = pytester.mkdir("sub")
    pytester.chdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = pytester.runpytest_subprocess(
            *("-n", "2", "--pbias-model=embedded", "--pbias-limit=3", "--pbias-store=answers", path)
        )
    assert run.parseoutcomes()["passed"] == 1
    assert [one.name for one in folder.iterdir()] == ["answers"]
    assert len(list(folder.glob("answers/runs/*.parquet"))) == 1
    assert not list(folder.glob("answers/sessions/*"))
    assert not (pytester.path / "answers").exists()
