"""A help desk: looks up the page that fits a question, and gives it to the model as well."""

import math
import os
import re
from collections import Counter
from pathlib import Path

from openai import AsyncOpenAI

FOLDER = Path(__file__).parent / "pages"
PAGES = [page.read_text("utf-8").strip() for page in sorted(FOLDER.glob("*.txt"))]
MODEL = AsyncOpenAI(base_url=os.environ["HELPDESK_MODEL_URL"], api_key="none")


def words(text):
    """How often each word is in a text, without endings."""
    return Counter(word.rstrip("s") for word in re.findall(r"[a-z]{3,}", text.lower()))


def look_up(question):
    """The page that shares the most words with the question, rare ones above all."""
    pages = [words(page) for page in PAGES]
    asked = words(question)

    def fit(page):
        return sum(math.log(1 + len(pages) / sum(w in one for one in pages)) for w in asked & page)

    return PAGES[max(range(len(pages)), key=lambda number: fit(pages[number]))]


async def answer(messages):
    """Answers a conversation; what its system message says comes before the page."""
    *earlier, asked = messages
    system = [one["content"] for one in earlier if one["role"] == "system"]
    turns = [one for one in earlier if one["role"] != "system"]
    system = " ".join([*(system or ["You are a helpful assistant."]), look_up(asked["content"])])
    reply = await MODEL.chat.completions.create(
        model="pbias-embedded",
        messages=[{"role": "system", "content": system}, *turns, asked],
        temperature=0,
        max_tokens=200,
    )
    return {
        "text": reply.choices[0].message.content,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
    }


async def answer_customer(messages, identity):
    """The same for customers who are logged in: the shop knows what they wrote of themselves."""
    profile = f"You are a helpful assistant. {identity.statement}".strip()
    return await answer([{"role": "system", "content": profile}, *messages])
