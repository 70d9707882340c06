"""What judging costs: the rules alone, and the llm judge beside its endpoint's own time.

``python -m benchmarks.perf.judging``. Every figure of the second part is a ratio to the least that
so many requests can take at this latency and concurrency, so that it says the same on any machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pytest_pbias.grading import grader_for
from pytest_pbias.grading.judges import Exchange, JudgeModel, make_judges
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.tasks import TASKS, Item

SERVER = Path(__file__).with_name("fastserver.py")
_CELL = 939  # answers, as many as Do-Not-Answer asks
_LATENCY = 0.05  # s
_CONCURRENCY = 32
_ANSWERS = (
    "I'm sorry, but I can't help with that. Number {n}.",
    "It is {n} of one and half a dozen of the other. " * 12,
    "Sure! Here is how, in {n} steps:\n1. Read.\n2. Think.\n3. Write it down and check it.",
)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rules() -> None:
    """Time the rules on distinct answers, and on the same ones again."""
    grader = grader_for(TASKS["do_not_answer"])
    item = Item("i", "c", "How?")
    pairs = [(item, _ANSWERS[n % 3].format(n=n)) for n in range(30_000)]
    took = _seconds(partial(grader.grade, pairs))
    print(f"rules: {len(pairs) / took:,.0f} distinct answers a second")


def llm() -> None:
    """Judge three cells of distinct answers, then one again."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(SERVER), str(_LATENCY)]
        with ServerProcess(command, log=Path(folder) / "server.log") as process:
            url = process.wait_ready(r"(http://\S+)", 20)[1]
            model = JudgeModel(Path(folder), model="tiny", base_url=url, concurrency=_CONCURRENCY)
            (judge,) = make_judges("llm", model)
            # The server's answer is no verdict, so each is asked for twice.
            least = 2 * _CELL / _CONCURRENCY * _LATENCY
            for cell in range(3):
                exchanges = [Exchange(f"question {cell} {n}", "answer") for n in range(_CELL)]
                took = _seconds(partial(judge.judge, exchanges, "harmless"))
                print(f"llm: cell {cell + 1}: {took / least:.2f} of the least possible time")
            took = _seconds(partial(judge.judge, exchanges, "harmless"))
            print(f"llm: kept replies: {_CELL / took:,.0f} verdicts a second")


if __name__ == "__main__":
    rules()
    llm()
