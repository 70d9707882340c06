"""What the fake server says where it behaves.

By default ``answer to MESSAGE``. In the configuration:

* ``text``: always this.
* ``moods``: answers of which each request gets one, drawn anew every time, also for the same
  question.
* ``data``: a folder of data sets. Its questions (MMLU, GSM8K, MBPP) are answered right, all other
  messages by a polite refusal. ``wrong_for``: words of an identity that gets wrong answers.
  ``said``: a template around each answer, with ``{answer}`` and ``{other}`` (the letter of another
  option).
* ``script``: a JSON file with ``right`` (question -> text), ``wrong_text``, and ``wrong``: words of
  the identity -> share of the questions that get it: the same ones for everyone, but for a share
  ``own``.
* ``judge``: judge the answer in the message by rule. The verdict is in that answer:
  ``refused=0 convincing=5 specific=3`` or ``refused=no harmful=yes``, or ``score=0.5`` by a task's
  own rubric; one without is called a refusal, or scores 0. ``garbage``: ``first`` (a first reply
  that cannot be read), ``always``; ``style``: ``json``, ``prose`` (thinking and a fence around the
  object), ``lines``; ``formats``: whether ``response_format`` is taken, else the ``status`` of the
  error; ``temperatures``: whether a temperature is; ``fail``: part of an answer that is always
  refused with a 400; ``void``: part of an answer whose verdict is ``body``, whatever that is, the
  first ``times``.
"""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.replies import digest, draw, error, respond

FIELDS = re.compile(r"(refused|convincing|specific|harmful|score)=([\w.]+)")
JUDGED = re.compile(r"<answer-(\w+)>\n(.*)\n</answer-\1>", re.DOTALL)
POLITE = "I'm sorry, but I can't help with that."


class Speaker:
    """Answers as the configuration says."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.void = 0
        script = config.get("script")
        self.script = json.loads(Path(script).read_text("utf-8")) if script else None

    def say(self, body: dict[str, Any], attempt: int) -> str | web.Response:
        """The text of the answer; a response where the judge refuses or answers void."""
        messages = body["messages"]
        text = messages[-1]["content"] if messages else ""
        if "judge" in self.config:
            return self.judge(body, text)
        if self.script is not None:
            return self.scripted(messages, text)
        if self.config.get("moods"):
            moods = self.config["moods"]
            seed = f"{self.config.get('seed', 0)} {attempt} {text}"
            return str(moods[digest(seed)[0] % len(moods)])
        if "text" in self.config:
            return str(self.config["text"])
        if "data" in self.config:
            return self.know(messages, text)
        return f"answer to {text}"

    def know(self, messages: list[dict[str, str]], text: str) -> str:
        solutions = read_solutions(self.config["data"])
        answer = next((told for asked, told in solutions.items() if asked in text), None)
        if answer is None:
            return POLITE
        lost = self.config.get("wrong_for")
        if lost and any(lost in message["content"] for message in messages):
            letter = re.search(r"\(([A-D])\)", answer)
            wrong = ("B" if letter[1] == "A" else "A") if letter else "-1"
            return f"Therefore, the answer is ({wrong})."
        other = "B" if "(A)" in answer else "A"
        return str(self.config.get("said", "{answer}")).format(answer=answer, other=other)

    def scripted(self, messages: list[dict[str, str]], text: str) -> str:
        assert self.script is not None
        told = " ".join(message["content"] for message in messages[:-1])
        share = next((n for who, n in self.script["wrong"].items() if who and who in told), None)
        if share is None:
            share = self.script["wrong"].get("", 0.0)
        luck = draw(text)
        if luck < self.script.get("own", 0.0):
            luck = draw(f"{told} | {text}")
        right = self.script["right"].get(text, "Hello.")
        return str(self.script["wrong_text"] if luck < share else right)

    def judge(self, body: dict[str, Any], text: str) -> str | web.Response:
        rule = self.config["judge"]
        if "response_format" in body and not rule.get("formats", True):
            return error(rule.get("status", 400), "unknown field: response_format")
        if "temperature" in body and not rule.get("temperatures", True):
            return error(400, "Unsupported value: 'temperature' takes the default only")
        answer = JUDGED.search(text)
        assert answer is not None, text
        if rule.get("fail") and rule["fail"] in answer[2]:
            return error(400, "content filter")
        void = rule.get("void")
        if void and void["part"] in answer[2]:
            self.void += 1
            if self.void <= void["times"]:
                return respond(void["body"])
        garbage = rule.get("garbage")
        if garbage == "always" or (garbage == "first" and "could not be read" not in text):
            return 'I think that {"refused": maybe} is hard to say.'
        found: dict[str, Any] = dict(FIELDS.findall(answer[2]))
        wanted = body["messages"][0]["content"].rsplit("Reply as JSON", 1)[1]
        if '"score"' in wanted:
            found = {"score": float(found.get("score", 0))}
        elif "harmful" in wanted:
            found = {"refused": "yes", "harmful": "no"} | found
            found = {name: value == "yes" for name, value in found.items()}
        else:
            found = {"refused": "1", "convincing": "1", "specific": "1"} | found
            found = {name: int(value) for name, value in found.items()}
        match rule.get("style", "json"):
            case "json":
                return json.dumps(found)
            case "prose":
                before = '<think>{"refused": 1, "convincing": 9}</think> The verdict:\n'
                return f"{before}```json\n{json.dumps(found, indent=1)}\n```\nThat is all."
            case "lines":
                return "\n".join(f"**{name.title()}**: {value}" for name, value in found.items())
        raise AssertionError(rule)


@cache
def read_solutions(folder: str) -> dict[str, str]:
    """Question -> right answer, of the data sets in a folder as the project reads them."""
    found: dict[str, str] = {}
    for path in sorted(Path(folder).glob("mmlu/dev/*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                found[row[0].strip()] = f"Therefore, the answer is ({row[5].strip()})."
    for path in sorted(Path(folder).glob("gsm8k/*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            item = json.loads(line)
            number = item["answer"].split("####")[-1].strip()
            found[item["question"].strip()] = f"Therefore, the answer is ({number})."
    for path in sorted(Path(folder).glob("mbpp/*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            item = json.loads(line)
            found[item["text"].strip()] = f"```python\n{item['code']}\n```"
    return found
