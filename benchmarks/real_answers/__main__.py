"""Measure readers, rules and traits on hand-labelled answers of SmolLM2-135M-Instruct.

    python -m benchmarks.real_answers ANSWERS.jsonl --data-dir DATA

``labels.jsonl`` has no texts: an answer is named by the SHA-256 of the messages that it is to, as
``json.dumps(messages, sort_keys=True, ensure_ascii=False)``. ANSWERS has lines of such a key and
the text, greedy and of at most 128 tokens; DATA the benchmarks' data. The labels were given with
identities masked, those of ``none`` in two passes where there are two (``passes``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_pbias.grading import Grade, extract_choice, extract_number, grader_for
from pytest_pbias.grading.answers.freeform import extract_freeform, matches_target
from pytest_pbias.grading.answers.prompt_echo import without_echo, without_prompt
from pytest_pbias.grading.no_answer import no_answer
from pytest_pbias.grading.refusal import is_refusal
from pytest_pbias.grading.traits import choose_traits
from pytest_pbias.prompts import (
    BASELINE,
    NO_DEFENSE,
    Identity,
    controls,
    default_identities,
    render_defended,
)
from pytest_pbias.tasks import Item, load_task, resolve_task

LABELS = Path(__file__).with_name("labels.jsonl")
TASKS = ("do_not_answer", "strongreject", "xstest", "mmlu", "gsm8k", "bbh", "mbpp")
OPEN = TASKS[:3]
Labelled = tuple[dict[str, Any], Item, Identity, str]
"""A row of labels, the question, who asked it, and the answer."""


def key_of(identity: Identity, prompt: str) -> str:
    """The name of an answer: a hash of what it is to."""
    messages = [dict(one) for one in render_defended(identity, prompt, "system", NO_DEFENSE)]
    text = json.dumps(messages, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def labelled(answers: Path, data_dir: Path) -> Iterator[Labelled]:
    """Each row of labels with its question and answer; those without an answer are left out."""
    rows = [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()]
    wanted = {row["answer"] for row in rows}
    texts = {}
    with answers.open(encoding="utf-8") as file:
        for line in file:
            key, *_, text = json.loads(line)
            if key in wanted:
                texts[key] = text
    people = list(dict.fromkeys((BASELINE, *controls(), *default_identities())))
    for task in TASKS:
        data = load_task(resolve_task(task), data_dir=data_dir)
        items = {item.id: item for item in data.items}
        for row in (one for one in rows if one["task"] == task):
            item = items[row["item"]]
            for who in people:
                if key_of(who, item.prompt) == row["answer"] and row["answer"] in texts:
                    yield row, item, who, texts[row["answer"]]


def counts(name: str, found: Iterable[tuple[bool, bool]]) -> str:
    """A line: how often something is found rightly, wrongly, and missed."""
    pairs = list(found)
    right, wrong, missed = (
        sum(pair == one for pair in pairs) for one in ((True, True), (True, False), (False, True))
    )
    agree = sum(said == label for said, label in pairs) / max(1, len(pairs))
    return (
        f"{name}: {len(pairs)} answers, found rightly {right}, wrongly {wrong}, missed {missed}; "
        f"precision {right / max(1, right + wrong):.2f}, "
        f"recall {right / max(1, right + missed):.2f}, "
        f"agreement {100 * agree:.1f} %"
    )


def _choice(item: Item, text: str) -> str:
    options = item.reference["choices"]
    answered = without_echo(text, item.prompt, options)
    return extract_choice(answered, len(options), options) or "-"


def _number(item: Item, text: str) -> str:
    found = extract_number(without_prompt(text, item.prompt))
    return "-" if found is None else f"{found:g}"


def _freeform(item: Item, text: str) -> str:
    return extract_freeform(without_prompt(text, item.prompt), item.reference["target"]) or "-"


READERS: dict[str, Callable[[Item, str], str]] = {
    "mmlu": _choice,
    "gsm8k": _number,
    "bbh": _freeform,
}


def _alike(task: str, said: str, label: str) -> bool:
    if "-" in (said, label) or task != "bbh":
        return said == label
    return matches_target(said, label)


def main() -> None:
    """Print a line for each reader, rule and trait."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_answers")
    parser.add_argument("answers", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument(
        "--verbose", action="store_true", help="name the answers that are not alike"
    )
    options = parser.parse_args()
    rows = list(labelled(options.answers, options.data_dir))
    print(f"{len(rows)} labelled answers")
    for task, read in READERS.items():
        here = [(row, item, read(item, text)) for row, item, _, text in rows if row["task"] == task]
        stated = [one for one in here if one[0]["read"] != "-"]
        right = [one for one in stated if _alike(task, one[2], one[0]["read"])]
        none = [one for one in here if one[0]["read"] == "-"]
        unread = [one for one in none if one[2] == "-"]
        graded = {
            row["answer"]: grade
            for (row, item, _, text) in rows
            if row["task"] == task
            for grade in grader_for(resolve_task(task)).grade([(item, text)])
        }
        lucky = [
            row for row, *_ in none
            if isinstance(grade := graded[row["answer"]], Grade) and grade.score == 1
        ]  # fmt: skip
        print(
            f"{task}: of {len(stated)} stated answers {len(right)} read as people do; of "
            f"{len(none)} without one {len(unread)} unread, {len(lucky)} counted as right"
        )
        if options.verbose:
            for row, _, said in here:
                if not _alike(task, said, row["read"]):
                    print(f"  {row['answer'][:8]}: people {row['read']}, reader {said}")
    code = [(row, item, text) for row, item, _, text in rows if row["task"] == "mbpp"]
    grades = grader_for(resolve_task("mbpp")).grade([(item, text) for _, item, text in code])
    pairs = [
        (isinstance(grade, Grade) and grade.score == 1, bool(row["correct"]))
        for (row, *_), grade in zip(code, grades, strict=True)
    ]
    print(counts("mbpp, correct", pairs))
    judged = [one for one in rows if one[0]["task"] in OPEN]
    for task in (*OPEN, ""):
        here_ = [one for one in judged if task in ("", one[0]["task"])]
        print(counts(f"refusal {task}".strip(), [
            (bool(is_refusal(text)), bool(row["refusal"])) for row, _, _, text in here_
        ]))  # fmt: skip
    for twice in (True, False):
        part = [one for one in judged if twice == ("passes" in one[0])]
        print(counts(f"no answer, labelled {'twice' if twice else 'once'}", [
            (no_answer(item.prompt, text) is not None, bool(row["none"]))
            for row, item, _, text in part
        ]))  # fmt: skip
    traits = choose_traits()
    values = [
        dict(zip((one.name for one in traits.chosen), traits.measure(item.prompt, text, who) or (),
                 strict=False))
        for _, item, who, text in judged
    ]  # fmt: skip
    for trait in ("adopted", "advice", "declines"):
        print(counts(trait, [
            (bool(value.get(trait)), bool(row[trait]))
            for value, (row, *_) in zip(values, judged, strict=True)
        ]))  # fmt: skip


if __name__ == "__main__":
    main()
