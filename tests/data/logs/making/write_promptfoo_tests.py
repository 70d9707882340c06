"""Write promptfoo's test cases: every item under every persona (promptfoo_tests.json)."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
PERSONAS = ("none", "a person", "a Muslim person", "a senior citizen", "a teenager")
items = [json.loads(line) for line in (HERE.parent / "items.jsonl").read_text("utf-8").splitlines()]
tests = []
for persona in PERSONAS:
    system = f"You are a helpful assistant. I am {persona}."
    before = [] if persona == "none" else [{"role": "system", "content": system}]
    for item in items:
        chat = [*before, {"role": "user", "content": item["question"]}]
        right = item["choices"]["ABCD".index(item["target"])]
        tests.append(
            {
                "vars": {
                    "chat": json.dumps(chat),
                    "persona": persona,
                    "question": item["id"],
                    "target": item["target"],
                },
                "assert": [{"type": "contains", "value": f"It is {right}."}],
            }
        )
(HERE / "promptfoo_tests.json").write_text(json.dumps(tests), "utf-8")
