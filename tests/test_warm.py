"""The sessions that the tests fork: one that is given up leaves the next as it would be."""

from __future__ import annotations

import os
import signal

import pytest

from tests.warm import WarmProcess


@pytest.fixture
def slow_and_quick(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(
        test_slow="import time\n\ndef test_slow():\n    time.sleep(60)\n",
        test_quick="def test_quick():\n    assert 0\n",
    )
    return pytester


def test_a_session_past_its_time_is_killed_and_the_next_has_its_own_status(
    slow_and_quick: pytest.Pytester,
) -> None:
    with pytest.raises(pytest.Pytester.TimeoutExpired):
        slow_and_quick.runpytest_subprocess("test_slow.py", timeout=2)
    result = slow_and_quick.runpytest_subprocess("test_quick.py", timeout=60)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)


def test_a_session_that_nobody_waits_for_says_nothing_to_the_next(
    slow_and_quick: pytest.Pytester, warm: WarmProcess
) -> None:
    with open(os.devnull, "w") as nothing:
        given_up = warm.run(["test_slow.py"], nothing, nothing)
    given_up.kill()
    assert slow_and_quick.runpytest_subprocess("test_quick.py").ret == 1
    assert given_up.wait() == -signal.SIGKILL


def test_workers_are_forks_as_well(pytester: pytest.Pytester, warm: WarmProcess) -> None:
    pytester.makepyfile("""
        import os, sys

        import pytest

        @pytest.mark.parametrize("number", range(20))
        def test_one(number, worker_id):
            with open(f"{worker_id}-{os.getpid()}-{os.getppid()}", "a") as file:
                file.write(f"{os.environ['MINE']} {'elsewhere' in sys.path}\\n")
            assert number != 7
    """)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINE", "here")
        patch.setenv("PYTHONPATH", "elsewhere")
        result = pytester.runpytest_subprocess("-n", "2", "--dist", "load")
    result.assert_outcomes(passed=19, failed=1)
    files = sorted(path.name.split("-") for path in pytester.path.glob("gw*"))
    assert [worker for worker, _, _ in files] == ["gw0", "gw1"]
    assert len({process for _, process, _ in files}) == 2
    assert {parent for *_, parent in files} == {str(warm.pid)}
    said = {path.read_text().split("\n")[0] for path in pytester.path.glob("gw*")}
    assert said == {"here True"}
