"""The suite through ``vllm serve`` beside the engine's own ceiling, in one run.

``python benchmarks/perf/vllm.py [--model FOLDER|HUB] [--vllm COMMAND] [--items 20] [--random]``

The ceiling is one offline call, ``LLM.chat`` on the same prompts with the same arguments. Beside
it stand a whole ``pytest`` session over a running server (from the start of Python to the reports)
and its asking alone (from the first request that the server works on to the last). Ratios are of
answers a second, ours to the ceiling's: 1 is as fast as the engine can be. The two never run at
once. CPU time an answer (of the engine; of server and engine; of those and the session) says on a
busy machine, where wall times say little, what the way through HTTP costs.

One command does it on a GPU as well: ``python benchmarks/perf/vllm.py --model org/name``. Figures
that cannot be taken are said to be missing. ``--random`` serves a Llama of 92 million random
parameters with the embedded model's tokenizer: large enough that the engine, not the HTTP server
in front of it, is what a CPU is busy with.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve()
# This file is not the vllm that libraries look for.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE.parent]
TASKS = ("mmlu", "do_not_answer")
CPU_ARGUMENTS = ["--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill"]
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
MISSING = "missing"
Figures = dict[str, Any]

# Runs in vLLM's own environment: one engine, one call.
OFFLINE = """
import json, sys, time
from vllm import LLM, SamplingParams

job = json.load(open(sys.argv[1]))
llm = LLM(**job["engine"])
greedy = SamplingParams(temperature=0.0, max_tokens=job["max_tokens"], seed=0)
llm.chat(job["chats"][:8], greedy, use_tqdm=False)
llm.reset_prefix_cache()
start, cpu = time.perf_counter(), time.process_time()
outputs = llm.chat(job["chats"], greedy, use_tqdm=False)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
figures = {
    "seconds": seconds,
    "cpu_seconds": cpu if job["in_process"] else None,
    "answers": len(outputs),
    "prompt_tokens": sum(len(one.prompt_token_ids) for one in outputs),
    "completion_tokens": sum(len(one.outputs[0].token_ids) for one in outputs),
    "texts": [one.outputs[0].text for one in outputs],
}
json.dump(figures, open(sys.argv[2], "w"))
"""
SUITE = """
import pytest
from pytest_pbias.prompts import default_identities

PEOPLE = [one.name for one in default_identities() if one.kind == "identity"]

@pytest.mark.pbias(tasks={tasks!r}, identities=PEOPLE)
def test_cells(cell):
    cell.outcomes
"""


def chats(items: int, data_dir: Path) -> list[list[dict[str, str]]]:
    """The conversations of the suite, in the order in which it asks them."""
    from pytest_pbias.cells.cell import Cell, with_baselines
    from pytest_pbias.collecting.plan import RequestSettings, questions_of
    from pytest_pbias.models.chat import Sampling
    from pytest_pbias.prompts import default_identities
    from pytest_pbias.tasks import load_task, resolve_task

    people = [one for one in default_identities() if one.kind == "identity"]
    protocol = RequestSettings("", "system", Sampling(), 1, 0)
    found = []
    for name in TASKS:
        task = resolve_task(name)
        data = load_task(task, data_dir=data_dir, limit=items, seed=0)
        for cell in with_baselines(Cell(task, one) for one in people):
            for question in questions_of(cell, data, protocol):
                messages = question.request.messages
                found.append([{"role": m["role"], "content": m["content"]} for m in messages])
    return found


def random_model(folder: Path) -> Path:
    """A Llama of 92 million random parameters that the embedded model's tokenizer fits."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from pytest_pbias.models.embedded import locate

    shutil.copytree(locate(), folder, ignore=shutil.ignore_patterns("runtime", "*.safetensors"))
    config = AutoConfig.from_pretrained(folder)
    config.hidden_size, config.intermediate_size, config.head_dim = 768, 2048, 64
    config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads = 14, 12, 4
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def offline(options: argparse.Namespace, python: str, work: Path) -> Figures:
    """The ceiling: the same prompts in one call of the engine."""
    engine: dict[str, Any] = {
        "model": str(options.model),
        "enable_prefix_caching": True,
        "max_model_len": options.max_model_len,
    }
    if options.cpu:
        engine |= {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
    # On a GPU the engine is in another process, whose CPU time says nothing of the work.
    job = {
        "engine": engine,
        "in_process": options.cpu,
        "max_tokens": options.max_tokens,
        "chats": options.chats,
    }
    (work / "job.json").write_text(json.dumps(job))
    with _utilization() as busy:
        subprocess.run(
            [python, "-c", OFFLINE, str(work / "job.json"), str(work / "figures.json")],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    figures: Figures = json.loads((work / "figures.json").read_text())
    return figures | {"gpu_utilization": _mean(busy)}


def served(options: argparse.Namespace, work: Path) -> tuple[Figures, Figures]:
    """The whole session, and its asking alone, over a server that runs already."""
    from pytest_pbias.models import resolve_model
    from pytest_pbias.models.vllm import VllmServer, VllmSettings

    arguments = ["--max-model-len", str(options.max_model_len)]
    arguments += CPU_ARGUMENTS if options.cpu else []
    arguments += options.vllm_args.split()
    settings = VllmSettings(options.vllm, tuple(arguments))
    spec = resolve_model(str(options.model), vllm=settings)
    server = VllmServer(spec, settings, log=work / "vllm.log", longest=1, lost=print)
    try:
        server.start(lambda text: print(text, file=sys.stderr))
        address = server.base_url.removesuffix("/v1")
        _warm(server.base_url, spec.served_name, options)
        before = _metrics(address)
        with _window(address) as window, _utilization() as busy:
            start, client, serving = time.perf_counter(), _client_cpu(), _server_cpu()
            report = _session(options, server.base_url, spec.served_name, work)
            seconds = time.perf_counter() - start
            client, serving = _client_cpu() - client, _server_cpu() - serving
        after = _metrics(address)
    finally:
        server.stop()
    queries, hits = (
        after.get(f"vllm:prefix_cache_{name}_total", 0.0)
        - before.get(f"vllm:prefix_cache_{name}_total", 0.0)
        for name in ("queries", "hits")
    )
    run = report["run"]
    shared = {
        "answers": run["n_rows"],
        "prompt_tokens": run["prompt_tokens"],
        "completion_tokens": run["completion_tokens"],
        "prefix_cache_hits": hits / queries if queries else MISSING,
        "gpu_utilization": _mean(busy),
    }
    asking = window["last"] - window["first"] if "last" in window else MISSING
    return (
        {"seconds": seconds, "cpu_seconds": client + serving, **shared},
        {"seconds": asking, "cpu_seconds": serving, **shared},
    )


def _client_cpu() -> float:
    """Seconds of CPU of the sessions that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _server_cpu() -> float:
    """Seconds of CPU of the processes that run below this one."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _warm(base_url: str, model: str, options: argparse.Namespace) -> None:
    for chat in options.chats[:8]:
        body = {"model": model, "messages": chat, "max_tokens": options.max_tokens}
        request = urllib.request.Request(
            f"{base_url}/chat/completions",
            json.dumps(body | {"temperature": 0}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=300).read()


def _session(options: argparse.Namespace, base_url: str, name: str, work: Path) -> Any:
    (work / "test_suite.py").write_text(SUITE.format(tasks=list(TASKS)))
    shutil.rmtree(work / ".pbias", ignore_errors=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts="),
            *("--rootdir", str(work), f"--pbias-model={name}"),
            f"--pbias-base-url={base_url}",
            *(f"--pbias-data-dir={options.data_dir}", f"--pbias-limit={options.items}"),
            *(f"--pbias-max-tokens={options.max_tokens}", "--pbias-placement=system"),
            *(f"--pbias-concurrency={options.concurrency}", "--pbias-json=out.json"),
        ],
        cwd=work,
        stdout=subprocess.DEVNULL,
        check=False,  # a gate may be red; what counts is that every answer came
    )
    report = json.loads((work / "out.json").read_text())
    if report["run"]["n_missing"] or report["run"]["n_rows"] != len(options.chats):
        raise SystemExit(f"the session did not ask what it should: {report['run']}")
    return report


def _metrics(address: str) -> dict[str, float]:
    """The server's counters, summed over engines."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(vllm:\w+)(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    return found


@contextlib.contextmanager
def _window(address: str) -> Iterator[dict[str, float]]:
    """When the server first worked on something, and when it last produced a token."""
    seen: dict[str, float] = {}
    ended = threading.Event()

    def watch() -> None:
        count = _metrics(address).get("vllm:generation_tokens_total", 0.0)
        while not ended.wait(0.1):
            with contextlib.suppress(OSError):
                now = _metrics(address)
                at = time.perf_counter()
                working = now.get("vllm:num_requests_running", 0.0)
                working += now.get("vllm:num_requests_waiting", 0.0)
                produced = now.get("vllm:generation_tokens_total", 0.0)
                if working or produced != count:
                    seen.setdefault("first", at)
                    seen["last"] = at
                count = produced

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield seen
    ended.set()
    thread.join()


@contextlib.contextmanager
def _utilization() -> Iterator[list[float]]:
    """Utilization of the GPUs in percent, once a second; nothing without nvidia-smi."""
    seen: list[float] = []
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield seen
        return
    query = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-l", "1"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as process:
        yield seen
        process.terminate()
        output, _ = process.communicate()
    for line in output.splitlines():
        with contextlib.suppress(ValueError):
            seen.append(float(line))


def _mean(values: list[float]) -> float | str:
    busy = [value for value in values if value > 0]  # while loading it is idle
    return sum(busy) / len(busy) if busy else MISSING


def table(ceiling: Figures, session: Figures, asking: Figures) -> str:
    """The figures as Markdown."""
    rows = ["| | answers/s | tokens/s out | ratio | CPU-ms an answer | GPU busy | cache hits |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    best = ceiling["answers"] / ceiling["seconds"]
    for name, one in (("`LLM.chat`, offline", ceiling), ("session, asking alone", asking),
                      ("whole session", session)):  # fmt: skip
        if one["seconds"] == MISSING:
            rows.append(f"| {name} | {MISSING} | {MISSING} | {MISSING} | | | |")
            continue
        rate, tokens = (one[key] / one["seconds"] for key in ("answers", "completion_tokens"))
        gpu, hits = one["gpu_utilization"], one.get("prefix_cache_hits", MISSING)
        cpu = one["cpu_seconds"]
        shown = [f"{1000 * cpu / one['answers']:,.1f}" if cpu is not None else MISSING,
                 f"{gpu:.0f} %" if gpu != MISSING else gpu,
                 f"{100 * hits:.0f} %" if hits != MISSING else hits]  # fmt: skip
        rows.append(
            f"| {name} | {rate:,.1f} | {tokens:,.0f} | {rate / best:.2f} | {' | '.join(shown)} |"
        )
    return "\n".join(rows)


def parse() -> argparse.Namespace:
    """The command line, with what follows from it."""
    from pytest_pbias.models.embedded import data_dir, locate
    from pytest_pbias.models.vllm import find_vllm
    from pytest_pbias.models.vllm.device import installed_version

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None, help="folder or hub id; default: the embedded one")
    parser.add_argument("--random", action="store_true", help="92 million random parameters")
    parser.add_argument("--vllm", default=None, help="the vllm command")
    parser.add_argument("--vllm-args", default="", help="more arguments of vllm serve")
    parser.add_argument("--items", type=int, default=20, help="items of each of two tasks")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--max-model-len", type=int, default=1024)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=1, help="in turn; the best of each counts")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    options.vllm = find_vllm(options.vllm)
    options.version = installed_version(options.vllm) or "unknown"
    options.cpu = "cpu" in options.version.partition("+")[2]
    options.data_dir = data_dir()
    options.embedded = locate()
    options.chats = chats(options.items, options.data_dir)
    return options


def main() -> None:
    """Measure in turn, and print the table."""
    options = parse()
    python = str(Path(options.vllm).with_name("python"))
    with tempfile.TemporaryDirectory(prefix="pbias-") as folder:
        work = Path(folder)
        scratch = {"VLLM_CACHE_ROOT": folder, "VLLM_RPC_BASE_PATH": folder,
                   "VLLM_NO_USAGE_STATS": "1",
                   "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor")}  # fmt: skip
        os.environ.update(scratch | (CPU_ENVIRONMENT if options.cpu else {}))
        if options.random:
            options.model = random_model(work / "random-llama")
        elif options.model is None:
            ignore = shutil.ignore_patterns("runtime")
            options.model = shutil.copytree(options.embedded, work / "small-llama", ignore=ignore)
        best: dict[str, Figures] = {}
        for _ in range(options.repeat):
            ceiling = offline(options, python, work)
            session, asking = served(options, work)
            for name, one in (("ceiling", ceiling), ("session", session), ("asking", asking)):
                if name not in best or one["seconds"] < best[name]["seconds"]:
                    best[name] = one
    for one in best.values():
        one.pop("texts", None)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"vLLM {options.version}, {len(options.chats):,} prompts, at most "
          f"{options.max_tokens} tokens each, {options.concurrency} at once, "
          f"{os.cpu_count()} cores, load {load}")  # fmt: skip
    print(table(best["ceiling"], best["session"], best["asking"]))
    if options.json is not None:
        options.json.write_text(json.dumps(best, indent=1) + "\n")


if __name__ == "__main__":
    main()
