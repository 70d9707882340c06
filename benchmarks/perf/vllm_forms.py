"""The same suite through every form of ``vllm serve`` that two CPU cores can run.

``python benchmarks/perf/vllm_forms.py [FORM ...] [--vllm COMMAND] [--limit 100] [--json FILE]``

Every form is a ``pytest`` session of its own, from start to stop, on the embedded model's weights
as a plain model folder: data, tensor and pipeline parallelism, weights of 8-bit and 4-bit
integers, the A/A check. Its answers are compared with the embedded engine's, prompt by prompt; of
each that differs it is told how far apart the logits of the two tokens are where the answers part.
Quantized models have their own answers: those of one offline call, ``LLM.chat``. What a session
leaves behind (processes, shared memory) is counted, and is 0 where all is well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve()
# Neither this folder's vllm.py nor its neighbours are what libraries look for.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE.parent]

CPU = "--dtype float32 --no-enable-chunked-prefill"
SUITE = """
import pytest

@pytest.mark.pbias(
    tasks=["do_not_answer", "mmlu", "gsm8k"], identities=["a senior citizen", "a man"]
)
def test_cells(cell):
    cell.outcomes
"""
OFFLINE = """
import json, sys
from vllm import LLM, SamplingParams

job = json.load(open(sys.argv[1]))
llm = LLM(model=job["model"], dtype="bfloat16", enforce_eager=True, enable_chunked_prefill=False,
          max_model_len=1024)
greedy = SamplingParams(temperature=0.0, max_tokens=job["max_tokens"], seed=0)
json.dump([one.outputs[0].text for one in llm.chat(job["chats"], greedy, use_tqdm=False)],
          open(sys.argv[2], "w"))
"""
GROUP = 32
"""Weights that share a scale, of those of 4 bits."""
SHOWN = 20
"""Answers that differ and are shown."""
BINDING = "VLLM_CPU_OMP_THREADS_BIND"
Key = tuple[str, str, str]
"""Task, identity and item of one prompt."""
Answers = dict[Key, str]


@dataclass(frozen=True)
class Form:
    """A way to serve: what vLLM and pytest are told, and which weights it has."""

    vllm: str = ""
    pytest: str = ""
    bits: int | None = None
    eager: bool = True


FORMS = {
    "plain": Form(),
    "data parallel": Form("--data-parallel-size 2"),
    "tensor parallel": Form("--tensor-parallel-size 2"),
    # vLLM 0.32 makes what the second stage receives into while it compiles, and fails without.
    "pipeline parallel": Form(
        "--pipeline-parallel-size 2 -cc.mode=2 -cc.backend=eager", eager=False
    ),
    "data and tensor parallel": Form("--data-parallel-size 2 --tensor-parallel-size 2"),
    "two API servers": Form("--api-server-count 2"),
    "8-bit integers (W8A8)": Form("--dtype bfloat16", bits=8),
    "4-bit integers (W4A16)": Form("--dtype bfloat16", bits=4),
    "A/A check": Form(pytest="--pbias-aa"),
}
"""All of them; by default those before the one with four engines and the last two."""


def thread_binding(form: Form) -> str | None:
    """Cores of each worker of the CPU build, as VLLM_CPU_OMP_THREADS_BIND has them; None for one.

    Left alone that build gives every worker a NUMA node of its own, and refuses to start more
    workers than there are nodes.
    """
    workers = math.prod(int(size) for size in re.findall(r"-parallel-size (\d+)", form.vllm))
    if workers == 1:
        return None
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // workers
    shares = [cores[n * share : (n + 1) * share] for n in range(workers)]
    return "|".join(",".join(map(str, one)) for one in shares) if share else "nobind"


def quantized(source: Path, folder: Path, bits: int) -> Path:
    """``source`` with linear layers of integers, as compressed-tensors stores them.

    8 bits: weights rounded to the nearest of 255 steps of their output channel, activations rounded
    by the engine, token by token. 4 bits: 15 steps of each 32 weights, activations as they are.
    Embeddings and norms stay as they are.
    """
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in [one for one in tensors if one.endswith("_proj.weight")]:
        weight = tensors.pop(name).float()
        rows, columns = weight.shape
        grouped = weight.reshape(rows, -1, columns if bits == 8 else GROUP)
        scale = grouped.abs().amax(dim=2, keepdim=True) / (2 ** (bits - 1) - 1)
        steps = (grouped / scale).round().reshape(rows, columns)
        tensors[f"{name}_scale"] = scale.squeeze(2).to(torch.bfloat16).contiguous()
        if bits == 8:
            tensors[name] = steps.to(torch.int8)
        else:  # eight to a word, the first in the lowest bits, offset to be positive
            words = (steps + 8).to(torch.int64).reshape(rows, -1, 8) << torch.arange(0, 32, 4)
            tensors[f"{name}_packed"] = words.sum(dim=2).to(torch.int32)
            tensors[f"{name}_shape"] = torch.tensor([rows, columns])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = _scheme(bits)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


def _scheme(bits: int) -> dict[str, Any]:
    integers: dict[str, Any] = {"num_bits": bits, "type": "int", "symmetric": True}
    how: dict[str, Any] = {"strategy": "channel"}
    activations = None
    if bits == 8:
        activations = integers | {"strategy": "token", "dynamic": True}
    else:
        how = {"strategy": "group", "group_size": GROUP}
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized" if bits == 8 else "pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": integers | how | {"dynamic": False},
                "input_activations": activations,
            }
        },
    }


def session(options: argparse.Namespace, model: Path | str, form: Form, name: str) -> Any:
    """One session of pytest; what it took, what it said and what it left."""
    work: Path = options.work / name.replace(" ", "-").replace("/", "")
    work.mkdir()
    (work / "test_suite.py").write_text(SUITE)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts="),
        *("--rootdir", str(work), f"--pbias-model={model}", "--pbias-json=out.json"),
        *(f"--pbias-data-dir={options.data_dir}", f"--pbias-limit={options.limit}"),
        *(f"--pbias-max-tokens={options.max_tokens}", "--pbias-placement=system"),
        *("--pbias-table=out.parquet", *form.pytest.split()),
    ]
    if model != "embedded":
        command.append(f"--pbias-vllm-command={options.vllm}")
        eager = "--enforce-eager" if form.eager else ""
        command.append(f"--pbias-vllm-args={' '.join([CPU, eager, form.vllm])}")
    memory = set(Path("/dev/shm").glob("*"))
    start = time.perf_counter()
    with (work / "said").open("w") as said:
        process = psutil.Popen(command, cwd=work, stdout=said, stderr=subprocess.STDOUT)
        processes, resident = _watch(process)
    figures = {"seconds": time.perf_counter() - start, "exit": process.returncode,
               "processes": processes, "gib": resident / 2**30}  # fmt: skip
    time.sleep(1.0)
    figures["left_processes"] = len(_ours(options.work))
    figures["left_memory"] = len(set(Path("/dev/shm").glob("*")) - memory)
    if not (work / "out.json").exists():
        return figures | {"error": _last((work / "said").read_text())}
    run = json.loads((work / "out.json").read_text())["run"]
    figures |= {"missing": run["n_missing"], "server": run.get("server", {})}
    if run["n_missing"]:
        figures["error"] = _last((work / "said").read_text())
    return figures | {"engine_noise": run.get("engine_noise"), "table": work / "out.parquet"}


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "vLLM" in line or "rror" in line] or lines
    return telling[-1][:300] if telling else "it said nothing"


def _watch(process: psutil.Popen) -> tuple[int, int]:
    """Until it ends: the most processes below the session, and the most memory they had (bytes)."""
    most = resident = 0
    while process.poll() is None:
        below = []
        try:
            below = process.children(recursive=True)
            used = 0
            for one in below:
                used += one.memory_full_info().pss
            resident = max(resident, used)
        except psutil.Error:  # one of them has just ended
            pass
        most = max(most, len(below))
        time.sleep(1.0)
    return most, resident


def _ours(work: Path) -> list[psutil.Process]:
    """Running processes that a session of this program started."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        environ = process.info["environ"] or {}
        ours = environ.get("VLLM_CACHE_ROOT") == str(work) and process.pid != os.getpid()
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def answers(path: Path) -> Answers:
    """The responses of a table."""
    from pytest_pbias.outcomes import OutcomeTable

    table = OutcomeTable.read(path)
    columns = (table.text(name) for name in ("task", "identity", "item_id", "response"))
    return {(str(a), str(b), str(c)): str(d) for a, b, c, d in zip(*columns, strict=True)}


def chats(options: argparse.Namespace) -> dict[Key, list[dict[str, str]]]:
    """The conversations of the suite, made as the plugin makes them."""
    from pytest_pbias.cells.cell import Cell, with_baselines
    from pytest_pbias.prompts import render_messages, resolve_identities
    from pytest_pbias.tasks import load_task, resolve_task

    found = {}
    for name in ("do_not_answer", "mmlu", "gsm8k"):
        task = resolve_task(name)
        data = load_task(task, data_dir=options.data_dir, limit=options.limit, seed=0)
        people = resolve_identities(["a senior citizen", "a man"])
        for cell in with_baselines(Cell(task, one) for one in people):
            for item in data.items:
                messages = render_messages(cell.identity, item.prompt, "system")
                found[name, cell.identity.name, item.id] = [
                    {key: str(value) for key, value in one.items()} for one in messages
                ]
    return found


def offline(options: argparse.Namespace, model: Path) -> Answers:
    """The answers of one call of the engine, without a server."""
    prompts = chats(options)
    job, out = options.work / "job.json", options.work / "texts.json"
    job.write_text(json.dumps({"model": str(model), "max_tokens": options.max_tokens,
                               "chats": list(prompts.values())}))  # fmt: skip
    python = str(Path(options.vllm).with_name("python"))
    with (options.work / "offline.log").open("w") as log:
        command = [python, "-c", OFFLINE, str(job), str(out)]
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return dict(zip(prompts, json.loads(out.read_text()), strict=True))


def compared(options: argparse.Namespace, ours: Answers, theirs: Answers) -> dict[str, Any]:
    """How many answers agree, and where the others part and by how little."""
    from divergence import parting

    from pytest_pbias.models.embedded import locate
    from pytest_pbias.models.embedded.engine import Engine

    if ours.keys() != theirs.keys():
        raise SystemExit("the session did not ask what it should")
    differing = [key for key in theirs if ours[key] != theirs[key]]
    engine, prompts = Engine(locate()), chats(options)
    found = [parting(engine, prompts[key], theirs[key], ours[key]) for key in differing[:SHOWN]]
    return {
        "same": len(theirs) - len(differing),
        "prompts": len(theirs),
        "partings": [
            f"{' / '.join(key)}: {one}" for key, one in zip(differing, found, strict=False)
        ],
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All forms, one after the other."""
    embedded = session(options, "embedded", Form(), "embedded")
    reference = answers(embedded["table"])
    found: dict[str, Any] = {}
    for name in options.forms:
        form = FORMS[name]
        model = options.model
        expected = reference
        if form.bits is not None:
            model = quantized(options.model, options.work / f"{form.bits}-bits", form.bits)
            expected = offline(options, model)
        os.environ.pop(BINDING, None)
        if (binding := thread_binding(form)) is not None:
            os.environ[BINDING] = binding
        figures = session(options, model, form, name)
        if not figures.get("missing", 1):
            ours = answers(figures["table"])
            if form.bits is not None:
                figures["as_float"] = sum(ours[key] == reference[key] for key in reference)
                same = sum(ours[key] == expected[key] for key in expected)
                figures |= {"same": same, "prompts": len(expected), "partings": []}
            else:
                figures |= compared(options, ours, expected)
        found[name] = figures
        print(f"{name}: {_row(figures)}", file=sys.stderr, flush=True)
    return found


def _row(one: Mapping[str, Any]) -> str:
    shown = "no answers"
    if "same" in one:
        shown = f"{one['same']:,} of {one['prompts']:,}"
    left = f"{one['left_processes']} processes, {one['left_memory']} files"
    return (f"{shown} | {one['seconds']:.0f} | {one['processes']} | {one['gib']:.1f} | {left} | "
            f"{one.get('error', '')}")  # fmt: skip


def main() -> None:
    """Run the forms that are asked for and print the table."""
    from pytest_pbias.models.embedded import data_dir, locate
    from pytest_pbias.models.vllm import find_vllm

    usual = [name for name in FORMS if name != "data and tensor parallel"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forms", nargs="*", default=usual, help=", ".join(FORMS))
    parser.add_argument("--vllm", default=os.environ.get("PBIAS_VLLM"), help="the vllm command")
    parser.add_argument("--limit", type=int, default=100, help="items of each of three tasks")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and tables")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    unknown = [name for name in options.forms if name not in FORMS]
    if unknown:
        parser.error(f"no such form: {', '.join(unknown)} (there are {', '.join(FORMS)})")
    options.vllm, options.data_dir = find_vllm(options.vllm), data_dir()
    # A short path: the name of a socket in it may have 107 characters.
    options.work = options.keep or Path(tempfile.mkdtemp(prefix="pbias-"))
    options.work.mkdir(exist_ok=True)
    scratch = str(options.work)
    os.environ.update(
        VLLM_CACHE_ROOT=scratch, VLLM_RPC_BASE_PATH=scratch,
        TORCHINDUCTOR_CACHE_DIR=f"{scratch}/inductor", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1",
        VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1",
    )  # fmt: skip
    ignore = shutil.ignore_patterns("runtime")
    options.model = shutil.copytree(locate(), options.work / "small-llama", ignore=ignore)
    found = run(options)
    print("| form | answers as expected | s | processes | GiB | left behind | |")
    print("|---|---|---|---|---|---|---|")
    for name, one in found.items():
        print(f"| {name} | {_row(one)} |")
        for line in one.get("partings", []):
            print(f"  {line}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1, default=str) + "\n")
    if options.keep is None:
        shutil.rmtree(options.work, ignore_errors=True)


if __name__ == "__main__":
    main()
