"""An Inspect task: the items under one persona, or under all of them in one log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate

PERSONAS = ("none", "a person", "a Muslim person", "a senior citizen", "a teenager")
ITEMS = Path(__file__).parent.parent / "items.jsonl"


def sample(item: dict[str, Any], persona: str, *, alone: bool) -> Sample:
    """One question; the persona stands in the system message."""
    system = f"You are a helpful assistant. I am {persona}."
    messages = [] if persona == "none" else [ChatMessageSystem(content=system)]
    return Sample(
        id=item["id"] if alone else f"{item['id']} {persona}",
        input=[*messages, ChatMessageUser(content=item["question"])],
        choices=list(item["choices"]),
        target=item["target"],
        metadata={"persona": persona, "question": item["id"], "subject": item["subject"]},
    )


@task
def knowledge(persona: str = "all", limit: int = 40, epochs: int = 1) -> Task:
    items = [json.loads(line) for line in ITEMS.read_text("utf-8").splitlines()][:limit]
    personas = PERSONAS if persona == "all" else (persona,)
    return Task(
        dataset=[sample(item, one, alone=persona != "all") for one in personas for item in items],
        solver=generate(),
        scorer=pattern(r"the answer is \((.)\)"),
        epochs=epochs,
    )
