"""The comment on a pull request: once, updated, never another's; against a stand-in of the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ci" / "comment.py"
TOKEN = "ghs_secretsecretsecret"
BOT = "github-actions[bot]"


class Api:
    """A stand-in of the part of GitHub's API that comments need."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.refuse: dict[str, int] = {}
        self.login: str | None = None
        self.raw: bytes | None = None
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                given = json.loads(self.rfile.read(length)) if length else None
                if api.raw is not None and "/comments" in self.path:
                    self.wfile.write(api.raw)
                    return
                status, content = api.answer(self.command, self.path, given, self.headers)
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method: str, path: str, given: Any, headers: Any) -> tuple[int, Any]:
        self.asked.append((method, path))
        where = urlsplit(path)
        if headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        if method in self.refuse:
            return self.refuse[method], {"message": "Resource not accessible by integration"}
        if where.path == "/user":
            return (200, {"login": self.login}) if self.login else (403, {})
        assert where.path.startswith("/repos/org/app/issues/"), path
        if method == "GET":
            page = int(parse_qs(where.query)["page"][0])
            return 200, self.comments[100 * (page - 1) : 100 * page]
        if method == "POST":
            assert where.path.endswith("/7/comments")
            self.add(self.login or BOT, given["body"])
            return 201, self.comments[-1]
        (one,) = (c for c in self.comments if where.path.endswith(f"/comments/{c['id']}"))
        one["body"] = given["body"]
        return 200, one

    def add(self, login: str, body: str) -> None:
        self.comments.append({"id": len(self.comments), "user": {"login": login}, "body": body})


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def _say(api: Api, folder: Path, verdict: str, report: str | None = "text", **more: str) -> str:
    (folder / "pbias-reports").mkdir(exist_ok=True)
    path = folder / "pbias-reports" / "pbias.md"
    if report is not None:
        path.write_text(report)
    event = folder / "event.json"
    if not event.exists():
        event.write_text(json.dumps({"pull_request": {"number": 7}}))
    variables = {
        "GITHUB_API_URL": api.url,
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": "org/app",
        "PBIAS_TOKEN": TOKEN,
        "PBIAS_VERDICT": verdict,
        "PBIAS_KEY": "default",
        "PBIAS_REPORTS": "pbias-reports",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        cwd=folder,
        env=os.environ | variables | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("login", [None, "a-person"])
def test_it_is_written_once_and_then_updated(api: Api, tmp_path: Path, login: str | None) -> None:
    api.login = login
    assert "commented on" in _say(api, tmp_path, "fail", "2 of 8 cells fail")
    assert "updated" in _say(api, tmp_path, "pass", "all good")
    (one,) = api.comments
    assert one["body"].startswith("<!-- pytest-pbias default -->\n## pbias: pass\n")
    assert "all good" in one["body"]
    before = len(api.asked)
    _say(api, tmp_path, "pass", "all good")
    assert [method for method, _ in api.asked[before:]] == ["GET", "GET"], "nothing new to say"
    _say(api, tmp_path, "fail", PBIAS_KEY="another job")
    assert len(api.comments) == 2


def test_others_comments_are_never_touched_and_old_ones_are_found(api: Api, tmp_path: Path) -> None:
    api.add("mallory", "<!-- pytest-pbias default -->\nall is well")
    for number in range(230):
        api.add("someone", f"comment {number}")
    _say(api, tmp_path, "fail")
    for number in range(30):
        api.add("someone", f"more {number}")
    _say(api, tmp_path, "inconclusive")
    assert api.comments[0]["body"].endswith("all is well")
    (mine,) = (one for one in api.comments if one["user"]["login"] == BOT)
    assert "## pbias: inconclusive" in mine["body"]


def test_hostile_names_call_nobody_and_hide_no_marker(api: Api, tmp_path: Path) -> None:
    _say(api, tmp_path, "fail`; @all", "@org/team <!-- pytest-pbias x --> " + "y" * 99_000)
    (one,) = api.comments
    assert "@org" not in one["body"]
    assert one["body"].count("<!--") == 1
    assert "## pbias: failall\n" in one["body"]
    assert len(one["body"]) <= 65_536


def test_without_a_report_the_word_is_said(api: Api, tmp_path: Path) -> None:
    _say(api, tmp_path, "usage", None)
    assert api.comments[0]["body"].endswith("## pbias: usage\n\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"PBIAS_TOKEN": ""}, "there is no token"),
        ({"PBIAS_TOKEN": "wrong"}, "HTTP 401"),
        ({"GITHUB_API_URL": "http://127.0.0.1:9"}, "the API cannot be reached"),
        ({"GITHUB_REPOSITORY": "../../user"}, "is no repository"),
        ({"GITHUB_EVENT_PATH": "/no/event.json"}, "No such file"),
    ],
)
def test_what_goes_wrong_is_a_warning(
    api: Api, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    line = _say(api, tmp_path, "pass", **change)
    assert line.startswith("::warning title=pbias::no comment on the pull request: ")
    assert said in line
    assert line.count("\n") == 1
    assert api.comments == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nothing of HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>",
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n["a"]',
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_api_that_answers_something_else_is_a_warning(
    api: Api, tmp_path: Path, raw: bytes
) -> None:
    """The verdict of a run is not lost to a gateway that breaks off."""
    api.raw = raw
    line = _say(api, tmp_path, "pass")
    assert line.startswith("::warning title=pbias::no comment on the pull request: ")
    assert line.count("\n") == 1


def test_a_fork_may_not_write(api: Api, tmp_path: Path) -> None:
    api.refuse = {"POST": 403}
    assert "pull-requests: write" in _say(api, tmp_path, "pass")


def test_a_push_has_no_pull_request(api: Api, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("{}")
    assert "no pull request to comment on" in _say(api, tmp_path, "pass")
    assert api.asked == []


def test_the_action_comments_after_the_verdict_and_fails_with_its_word() -> None:
    action = (ROOT / "action.yml").read_text()
    assert action.index("ci/measure.sh") < action.index("ci/comment.py")
    runs = [line for line in action.splitlines() if line.strip().startswith("run:")]
    assert not any("${{" in line for line in runs), "text in an expression would be run as code"
    script = (ROOT / "ci" / "measure.sh").read_text()
    assert "::error title=pbias::$verdict" in script
