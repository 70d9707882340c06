"""The server in a process of its own, over real HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from fixtures import families
from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.embedded.engine import Engine, Prompt
from pytest_pbias.prompts import BASELINE, render_messages

COMMAND = [sys.executable, "-m", "pytest_pbias.models.embedded.server"]


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server; its process and base URL."""
    command = [*COMMAND, *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on http://127.0.0.1:")
    return process, line.split()[-1]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process, base = start()
    yield base
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def ask(client: openai.OpenAI, content: str, **options: Any) -> Any:
    """One chat completion."""
    options = {"model": "pbias-embedded", "temperature": 0, **options}
    return client.chat.completions.create(
        messages=[{"role": "user", "content": content}], **options
    )


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["pbias-embedded"]


def test_concurrent_answers_equal_the_engines(client: openai.OpenAI, engine: Engine) -> None:
    prompts = [e.prompt for task in families.FAMILIES for e in families.shipped(task)[:12]]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda prompt: ask(client, prompt, max_tokens=64), prompts))
    for prompt, reply in zip(prompts, replies, strict=True):
        ids = engine.encode_chat(render_messages(BASELINE, prompt))
        (expected,) = engine.generate([Prompt(ids)], Sampling(64))
        assert reply.choices[0].message.content == expected.text
        assert reply.choices[0].finish_reason == expected.finish_reason
        assert reply.usage.prompt_tokens == len(ids)
        assert reply.usage.completion_tokens == expected.completion_tokens


def test_sampled_answers_repeat(client: openai.OpenAI) -> None:
    options = {"temperature": 1.5, "seed": 4, "max_tokens": 20, "extra_body": {"top_k": 10}}
    first, second = (ask(client, "zum 3 lalo", **options) for _ in range(2))
    assert first.choices[0].message.content == second.choices[0].message.content


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "hi", model="gpt-4o")
    assert caught.value.code == "model_not_found"


def test_over_long_prompt(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "word " * 9000)
    assert caught.value.code == "context_length_exceeded"


def test_unknown_path(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="pbias-embedded", input="x")


def test_ends_when_its_input_closes() -> None:
    process, _ = start()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_ends_with_its_parent() -> None:
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({COMMAND!r}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    watch = os.pidfd_open(server)
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=30)
    import select

    assert select.select([watch], [], [], 30)[0]
    os.close(watch)


def test_a_missing_model_is_one_line(tmp_path: Any) -> None:
    done = subprocess.run([*COMMAND, "--model", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot load the embedded model")
    assert done.stderr.count("\n") == 1


def test_several_processes_say_once_what_is_wrong(tmp_path: Path) -> None:
    command = [*COMMAND, "--processes", "3", "--model", str(tmp_path)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: cannot load the embedded model in ")
    assert len(ended.stderr.splitlines()) == 1


def test_several_processes_end_with_the_first_of_them() -> None:
    process, base = start("--processes", "2")
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        assert ask(client, "hello", max_tokens=1).choices
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    process.kill()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    process.communicate()
