"""What collecting costs beside the bare ``openai`` client, side by side on the same server.

``python benchmarks/perf/collecting.py [--requests 16000] [--concurrency 256] [--latency 0 0.05]
[--peers PYTHON] [--larger 160000]``

``collector`` is the collector with its store; ``session`` a whole ``pytest`` run of 160 cells with
everything from the start of Python: collection, grading, statistics, tables and reports.
``--peers`` names a Python that has other harnesses (Inspect AI, lm-evaluation-harness); those it
has are run as well, each from the start of Python. ``--larger`` runs the session once more with so
many requests (a multiple of 16,000) and no latency, and compares its memory.

Each client runs in a process of its own, the server in another (on another core, where there are
two), in turn, ``--repeat`` times; the least of each figure counts. Figures are CPU time of the
client process per request, wall time, and peak memory; what matters is the ratio to the bare
client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
CELL = 100  # requests that one test waits for
QUESTION = "Which of these is right? (A) one (B) two (C) three (D) four. " * 6


def messages(number: int) -> list[dict[str, str]]:
    """A chat about as long as a multiple-choice question under an identity."""
    return [
        {"role": "system", "content": f"You are a helpful assistant. I am person {number % 40}."},
        {"role": "user", "content": f"Question {number}. {QUESTION}"},
    ]


async def bare(url: str, requests: int, concurrency: int) -> None:
    """The least that the ``openai`` client can do: raw post, aiohttp transport, answers dropped."""
    from openai import DEFAULT_CONNECTION_LIMITS, AsyncOpenAI, DefaultAioHttpClient

    limits = type(DEFAULT_CONNECTION_LIMITS)(
        max_connections=concurrency, max_keepalive_connections=concurrency
    )
    http = DefaultAioHttpClient(limits=limits)
    async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0, http_client=http) as client:
        numbers = iter(range(requests))

        async def worker() -> None:
            for number in numbers:
                body = {
                    "model": "tiny",
                    "messages": messages(number),
                    "max_tokens": 512,
                    "temperature": 0.0,
                    "seed": 0,
                }
                answer: Any = await client.post("/chat/completions", cast_to=object, body=body)
                assert answer["choices"][0]["message"]["content"]

        await asyncio.gather(*(worker() for _ in range(concurrency)))


def ours(url: str, requests: int, concurrency: int) -> None:
    """The collector with its store, a waiting thread that reads every cell as tests do."""
    from pytest_pbias.collecting.collector import Collector
    from pytest_pbias.collecting.records import prompt_hash, request_key
    from pytest_pbias.collecting.store import Store
    from pytest_pbias.models.chat import ChatRequest, Sampling
    from pytest_pbias.models.client import Endpoint

    keys: list[str] = []

    def stream() -> Iterator[ChatRequest]:
        sampling = Sampling()
        for number in range(requests):
            chat: Any = tuple(messages(number))
            key = request_key("endpoint:x", prompt_hash(chat), sampling, seed=0, repeat=0)
            keys.append(key)
            yield ChatRequest(key, chat, sampling, 0)

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.sqlite")

        def connect() -> Endpoint:
            return Endpoint(url, "tiny", "x", concurrency=concurrency)

        collector = Collector(store, stream(), connect, concurrency=concurrency, total=requests)
        collector.start()
        for start in range(0, requests, CELL):
            end = min(requests, start + CELL)
            while len(keys) < end:
                time.sleep(0.001)
            cell = keys[start:end]
            assert collector.wait(cell) == {}
            assert len(store.get_many(cell)) == len(cell)
        collector.stop()
        store.close()


_SUITE = 16_000  # requests of the suite, asked once
SUITE = """
import pytest
from pytest_pbias.prompts import default_identities

PEOPLE = ["baseline"] + [one.name for one in default_identities() if one.kind == "identity"]

@pytest.mark.pbias(
    tasks=["mmlu", "xstest", "bbh", "do_not_answer", "strongreject"], identities=PEOPLE)
def test_cells(cell):
    assert cell.outcomes.shape[0] == 100
"""


def session(url: str, requests: int, concurrency: int) -> None:
    """A pytest run in this process: 160 cells of 100 items, asked as often as makes the requests.

    Raises:
        SystemExit: a test failed or erred, or an answer is missing.
    """
    import pytest

    from pytest_pbias.models.embedded import data_dir

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_suite.py").write_text(SUITE)
        os.chdir(folder)
        # Whatever other plugins this environment has are not what is measured.
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        with contextlib.redirect_stdout(sys.stderr):
            status = pytest.main(
                [
                    *("-q", "-p", "pytest_pbias.plugin.entry", "-p", "no:cacheprovider"),
                    *("-o", "addopts=", "-k", "test_cells"),
                    *("--rootdir", folder, "--pbias-model=tiny", f"--pbias-base-url={url}"),
                    *(f"--pbias-data-dir={data_dir()}", "--pbias-limit=100"),
                    *(f"--pbias-concurrency={concurrency}", "--pbias-placement=system"),
                    *(f"--pbias-repeats={requests // _SUITE}", "--pbias-json=out.json"),
                    # So that as many are asked as are counted: no controls, and no look stops.
                    *("--pbias-reference=baseline", "--pbias-stop=never"),
                ]
            )
        report = json.loads(Path(folder, "out.json").read_text())
        if status != 0 or report["run"]["n_missing"] or report["run"]["n_rows"] != requests:
            raise SystemExit(f"the session failed ({status}): {report['run']}")


def client(name: str, url: str, requests: int, concurrency: int) -> None:
    """Run one client in this process and print what it cost."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    if name == "bare":
        asyncio.run(bare(url, requests, concurrency))
    elif name == "session":
        session(url, requests, concurrency)
    else:
        ours(url, requests, concurrency)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime
    if name != "session":  # whose imports count as well
        cpu -= before.ru_utime + before.ru_stime
    figures = {"cpu_ms": 1000 * cpu / requests, "wall_s": wall, "peak_mb": after.ru_maxrss / 1024}
    print(json.dumps(figures))


def pin(cores: list[int], index: int) -> list[str]:
    """Command prefix that keeps a process on one core, where there are two."""
    return ["taskset", "-c", str(cores[index])] if len(cores) > 1 else []


@contextlib.contextmanager
def server(latency: float, cores: list[int]) -> Iterator[str]:
    """The fast server, for as long as the block lasts."""
    command = [*pin(cores, 0), sys.executable, str(HERE.with_name("fastserver.py")), str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("")


def run_peer(python: str, name: str, url: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Figures of another harness on the same chats."""
    command = [*pin(sorted(os.sched_getaffinity(0))[:2], -1), python]
    command += [str(HERE.with_name("peers.py")), name, url]
    command += [str(arguments.requests), str(arguments.concurrency)]
    start = time.perf_counter()
    # A process of its own that waits for the harness alone: its children's figures are no others'.
    code = (
        "import json, resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=2, check=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    cpu, peak = json.loads(done.stdout)
    wall = time.perf_counter() - start
    return {"cpu_ms": 1000 * cpu / arguments.requests, "wall_s": wall, "peak_mb": peak / 1024}


def peers(python: str | None) -> list[str]:
    """Those of the other harnesses that ``python`` has."""
    if python is None:
        return []
    modules = {"lm_eval": "lm_eval", "inspect": "inspect_ai"}
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return [
        name
        for name, module in modules.items()
        if subprocess.run([python, "-c", code, module], check=False).returncode == 0
    ]


def run_client(
    name: str, url: str, requests: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Figures of one of our clients, in a process of its own."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    command = [*pin(cores, -1), sys.executable, str(HERE), "--client", name]
    command += ["--url", url, "--requests", str(requests)]
    command += ["--concurrency", str(arguments.concurrency)]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"the client {name!r} ended with {done.returncode}: see what it said above"
        )
    figures: dict[str, float] = json.loads(done.stdout)
    if name == "session":
        figures["wall_s"] = time.perf_counter() - start
    return figures


def compare_memory(arguments: argparse.Namespace) -> None:
    """Print the peak memory of a session of ``--larger`` requests beside that of ``--requests``."""
    cores, peaks = sorted(os.sched_getaffinity(0))[:2], []
    for requests in (arguments.requests, arguments.larger):
        with server(0.0, cores) as url:
            peaks.append(run_client("session", url, requests, arguments)["peak_mb"])
    print(
        f"session of {arguments.larger} requests: {peaks[1]:.0f} MB, {peaks[1] / peaks[0]:.2f}x "
        f"the {peaks[0]:.0f} MB of {arguments.requests}"
    )


def measure(arguments: argparse.Namespace, latency: float) -> dict[str, dict[str, float]]:
    """Least figures of each client at one latency; runs are interleaved."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    best: dict[str, dict[str, float]] = {}
    for _ in range(arguments.repeat):
        others = peers(arguments.peers)
        for name in [*arguments.clients, *others]:
            with server(latency, cores) as url:
                if name in others:
                    best[name] = run_peer(arguments.peers, name, url, arguments)
                    continue
                figures = run_client(name, url, arguments.requests, arguments)
            seen = best.setdefault(name, figures)
            best[name] = {key: min(seen[key], value) for key, value in figures.items()}
    return best


def main() -> None:
    """Measure and print a table, or run one client (``--client``, used by the former)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--requests", type=int, default=_SUITE, help=f"a multiple of {_SUITE:,}, one suite's"
    )
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.0, 0.05])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--clients", nargs="+", default=["bare", "collector", "session"])
    parser.add_argument("--peers", help="a Python that has other harnesses")
    parser.add_argument("--larger", type=int, help="requests of a session whose memory to compare")
    parser.add_argument("--client")
    parser.add_argument("--url")
    arguments = parser.parse_args()
    for name in ("requests", "larger"):
        asked = getattr(arguments, name)
        if asked is not None and (asked < _SUITE or asked % _SUITE):
            parser.error(f"--{name} must be a multiple of {_SUITE:,}, not {asked:,}")
    if arguments.client:
        client(arguments.client, arguments.url, arguments.requests, arguments.concurrency)
        return
    print(f"{arguments.requests} requests, concurrency {arguments.concurrency}")
    for latency in arguments.latency:
        best = measure(arguments, latency)
        print(f"server latency {1000 * latency:g} ms")
        for name, figures in best.items():
            base = best.get("bare", figures)
            ratios = {key: value / base[key] for key, value in figures.items()}
            print(
                f"  {name:14} {figures['cpu_ms']:6.3f} CPU-ms a request ({ratios['cpu_ms']:.2f}x)"
                f"  {figures['wall_s']:6.2f} s ({ratios['wall_s']:.2f}x)"
                f"  {figures['peak_mb']:5.0f} MB"
            )
    if arguments.larger:
        compare_memory(arguments)


if __name__ == "__main__":
    main()
