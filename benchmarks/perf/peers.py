"""The same chats through other harnesses: run by ``collecting.py --peers PYTHON``.

``python peers.py inspect|lm_eval URL REQUESTS CONCURRENCY`` asks every chat once, scores the answer
by a substring, and leaves its log or results in a scratch folder.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collecting import messages  # the script beside this one


def _chat(number: int) -> tuple[str, str]:
    system, user = messages(number)
    return system["content"], user["content"]


def inspect(url: str, requests: int, concurrency: int) -> None:
    """Inspect AI: one task, one sample a chat."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    samples = []
    for number in range(requests):
        system, user = _chat(number)
        messages: list[Any] = [ChatMessageSystem(content=system), ChatMessageUser(content=user)]
        samples.append(Sample(input=messages, target="A"))
    model = get_model("openai-api/local/tiny", base_url=url, api_key="x")
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())
    (log,) = eval(
        task, model=model, max_connections=concurrency, max_samples=concurrency,
        log_dir="logs", display="none", max_tokens=512, temperature=0.0,
    )  # fmt: skip
    assert log.status == "success", log.error


def lm_eval(url: str, requests: int, concurrency: int) -> None:
    """lm-evaluation-harness: one generation task over a local file."""
    import lm_eval as harness
    from lm_eval.api.task import ConfigurableTask

    with Path("chats.jsonl").open("w") as stream:
        for number in range(requests):
            system, user = _chat(number)
            stream.write(json.dumps({"q": f"{system} {user}", "a": "A"}) + "\n")
    task = ConfigurableTask(
        config={
            "task": "chats", "dataset_path": "json", "test_split": "train",
            "dataset_kwargs": {"data_files": "chats.jsonl"}, "output_type": "generate_until",
            "doc_to_text": "{{q}}",
            "doc_to_target": "{{a}}", "metric_list": [{"metric": "exact_match"}],
            "generation_kwargs": {"max_gen_toks": 512, "temperature": 0.0, "until": ["\n\n\n"]},
        }
    )  # fmt: skip
    done = harness.simple_evaluate(
        model="local-chat-completions",
        model_args=f"model=tiny,base_url={url}/chat/completions,num_concurrent={concurrency}",
        tasks=[task], apply_chat_template=True, bootstrap_iters=0, log_samples=False,
    )  # fmt: skip
    assert done["n-samples"]["chats"]["effective"] == requests


def main() -> None:
    """Run one harness in a scratch folder."""
    name, url, requests, concurrency = sys.argv[1:5]
    harnesses: dict[str, Callable[[str, int, int], None]] = {"inspect": inspect, "lm_eval": lm_eval}
    os.environ.setdefault("OPENAI_API_KEY", "x")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["HF_HOME"] = folder
        harnesses[name](url, int(requests), int(concurrency))


if __name__ == "__main__":
    main()
