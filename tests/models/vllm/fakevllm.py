#!/usr/bin/env python
"""Stands in for ``vllm serve`` where a real one would take half a minute: same interface, no model.

``FAKE_VLLM_DELAY`` seconds pass before it listens. It answers every chat with its last message, and
``/tokenize`` by the model folder's tokenizer; ``FAKE_VLLM_SPECIAL`` has it put special tokens
before chats as well, which vLLM does not do by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def option(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


NAMES = [option("--served-model-name")]
if "--lora-modules" in sys.argv:
    NAMES.append(option("--lora-modules").partition("=")[0])
LENGTH = int(option("--max-model-len", "4096"))


def tokenize(body: dict[str, Any]) -> list[int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
    text, special = body.get("prompt"), body.get("add_special_tokens", True)
    if text is None:
        text = tokenizer.apply_chat_template(
            body["messages"], tokenize=False, add_generation_prompt=True
        )
        special = bool(os.environ.get("FAKE_VLLM_SPECIAL"))
    tokens: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    return tokens


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        models = [{"id": name, "root": sys.argv[2], "max_model_len": LENGTH} for name in NAMES]
        answers: dict[str, Any] = {
            "/health": {},
            "/version": {"version": "0.0.fake"},
            "/v1/models": {"data": models},
        }
        self.answer(200 if self.path in answers else 404, answers.get(self.path, {}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self.answer(200, {"tokens": tokenize(body)})
            return
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": body["messages"][-1]["content"]},
            "finish_reason": "stop",
        }
        self.answer(200, {"id": "1", "choices": [choice], "usage": None})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


print("starting", *sys.argv[1:], flush=True)
time.sleep(float(os.environ.get("FAKE_VLLM_DELAY", "0")))
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(option("--port"))), Handler).serve_forever()
