"""Write the items that all the logs asked: 40 of the embedded model's own knowledge questions.

They are those of ``--pbias-model=embedded --pbias-limit=40``, in the same order; their text was
made by the scripts in ``fixtures/``.
"""

from __future__ import annotations

import json
from pathlib import Path

from pytest_pbias.models.embedded import data_dir
from pytest_pbias.tasks import load_task, resolve_task

data = load_task(resolve_task("mmlu"), data_dir=data_dir(), limit=40)
lines = [
    {
        "id": item.id,
        "subject": item.cluster,
        "question": item.prompt,
        "choices": item.reference["choices"],
        "target": item.reference["answer"],
    }
    for item in data.items
]
Path("items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
