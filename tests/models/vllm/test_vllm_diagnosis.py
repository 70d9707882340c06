"""What is made of a server's log, in lines as vLLM writes them."""

from __future__ import annotations

from pathlib import Path

from pytest_pbias.models.vllm.diagnosis import trouble

LOG = Path("vllm.log")
CAUSE = "AssertionError: Not enough allowed NUMA nodes to bind threads of 2 local CPUWorkers."
FAILED = f"""\
(EngineCore pid=7) ERROR 11-21 11:43:05 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-21 11:43:05 [core.py:1510] {CAUSE}
{CAUSE}
    raise RuntimeError(
EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
INFO:     127.0.0.1:46950 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""


def test_the_process_that_failed_is_quoted_rather_than_those_above_it() -> None:
    assert trouble(FAILED, LOG) == f"{CAUSE} (log: vllm.log)"


def test_what_is_passed_on_is_better_than_nothing() -> None:
    last = FAILED.splitlines()[-1]
    assert trouble(last, LOG) == f"{last} (log: vllm.log)"


def test_the_last_line_stands_in_for_an_error() -> None:
    assert trouble("one\n\x1b[31mtwo\x1b[0m\n\n", LOG) == "two (log: vllm.log)"
    assert trouble("", LOG) == "it wrote nothing (log: vllm.log)"
    assert trouble("huggingface: GatedRepoError, gated repo\n", LOG).startswith(
        "the model is gated"
    )
