"""The fake server itself: every mode has a reply, and what is configured is what is answered."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.fakes.modes import MODES
from tests.fakes.running import FakeServer

_SUM = "A baker has 21 sacks of zoba1 and uses 12. How many sacks of zoba1 are left?"  # 9
# These do not end soon, or have no reply.
_NONE = {"hang", "drip", "reset", "reset-after-headers"}


def _post(url: str, body: Any) -> tuple[int, bytes]:
    request = urllib.request.Request(url, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def _chat(server: FakeServer, text: str = "Hello?", **options: Any) -> tuple[int, bytes]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]} | options
    return _post(f"{server.url}/chat/completions", body)


def _said(server: FakeServer, text: str = "Hello?", **options: Any) -> Any:
    status, body = _chat(server, text, **options)
    assert status == 200
    return json.loads(body)["choices"][0]["message"]["content"]


def test_every_mode_has_a_reply(fake_server: Callable[..., FakeServer]) -> None:
    server = fake_server()
    for mode in sorted(set(MODES) - _NONE):
        server.configure(mode=mode)
        status, body = _chat(server)
        assert status < 600, mode
        assert body, mode
    assert server.requests() == len(set(MODES) - _NONE)
    assert len(server.asked()) == server.requests()


def test_an_oracle_knows_its_data_and_declines_else(fake_server: Callable[..., FakeServer]) -> None:
    server = fake_server("plain")
    assert _said(server).startswith("I'm sorry")
    assert _said(server, f"So:\n{_SUM}\nWell?") == "Therefore, the answer is (9)."
    server.configure(mode="biased")
    assert _said(server, f"I am a pilot. {_SUM}") == "Therefore, the answer is (-1)."
    assert _said(server, _SUM) == "Therefore, the answer is (9)."
    server.configure(mode="explain")
    assert "(A) is true of other cases" in _said(server, _SUM)


def test_a_share_of_requests_gets_a_fault_that_goes_away(
    fake_server: Callable[..., FakeServer],
) -> None:
    server = fake_server(faults={"500": 0.5}, models=None)
    first = [_chat(server, f"question {i}")[0] for i in range(40)]
    again = [_chat(server, f"question {i}")[0] for i in range(40)]
    assert 10 < first.count(500) < 30
    assert first.count(500) + first.count(200) == 40
    assert again == [200] * 40


def test_a_batch_is_answered_as_chats_are(fake_server: Callable[..., FakeServer]) -> None:
    server = fake_server("max_completion_tokens")
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}
    bodies = [asked | {name: 9} for name in ("max_tokens", "max_completion_tokens")]
    lines = [json.dumps({"custom_id": f"k{i}", "body": body}) for i, body in enumerate(bodies)]
    batch = json.loads(_submit(server, "\n".join(lines)))
    assert batch["status"] == "completed"
    good, bad = (_content(server, batch[f"{kind}_file_id"]) for kind in ("output", "error"))
    assert [row["custom_id"] for row in good] == ["k1"]
    assert [(row["custom_id"], row["response"]["status_code"]) for row in bad] == [("k0", 400)]


def _submit(server: FakeServer, lines: str) -> bytes:
    edge = "edge"
    part = 'Content-Disposition: form-data; name="'
    text = (
        f'--{edge}\r\n{part}purpose"\r\n\r\nbatch\r\n'
        f'--{edge}\r\n{part}file"; filename="f"\r\n\r\n{lines}\r\n--{edge}--\r\n'
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    request = urllib.request.Request(f"{server.url}/files", text.encode(), kind)
    with urllib.request.urlopen(request) as answer:
        file = json.load(answer)["id"]
    return _post(f"{server.url}/batches", {"input_file_id": file})[1]


def _content(server: FakeServer, file: str) -> list[Any]:
    with urllib.request.urlopen(f"{server.url}/files/{file}/content") as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def test_it_is_asked_under_the_prefixes_of_real_servers(
    fake_server: Callable[..., FakeServer],
) -> None:
    server = fake_server("ollama")
    for prefix in ("/v1", "/api/v1", "", "/openai/v1", "/a%20b/v1"):
        with urllib.request.urlopen(f"{server.base}{prefix}/models") as answer:
            names = [model["id"] for model in json.load(answer)["data"]]
        assert names == ["llama3.2:latest", "qwen3:8b"]
