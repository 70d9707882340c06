"""Say the verdict in one comment of the pull request: written once, then updated.

Used by action.yml, with what PBIAS_* and GITHUB_* variables say. What goes wrong here is a warning:
the verdict of the run is not this script's.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

_MOST = 60_000  # characters; GitHub takes 65,536
_PAGES = 30  # of a hundred comments each
_BOT = "github-actions[bot]"
_SECONDS = 30


class CommentError(Exception):
    """Why there is no comment, in one line."""


# What an API that answers something else than expected, or breaks off, makes of the code below.
_FAULTS = (
    CommentError, OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip


def main() -> int:
    """Write or update the comment; always 0."""
    try:
        print(f"pbias: {_comment()}")
    except _FAULTS as error:
        said = " ".join(f"{error}".split())[:300].replace("%", "%25")
        print(f"::warning title=pbias::no comment on the pull request: {said}")
    return 0


def _comment() -> str:
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text("utf-8"))
    number = event.get("pull_request", {}).get("number")
    if not isinstance(number, int):
        return "no pull request to comment on"
    marker = f"<!-- pytest-pbias {re.sub(r'[^A-Za-z0-9._-]', '-', os.environ['PBIAS_KEY'])} -->"
    body = _body(marker)
    repository = os.environ["GITHUB_REPOSITORY"]
    if not re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", repository):
        raise CommentError(f"{repository!r} is no repository")
    issue = f"/repos/{repository}/issues"
    mine = _mine(issue, number, marker)
    if mine is None:
        _ask("POST", f"{issue}/{number}/comments", {"body": body})
        return "commented on the pull request"
    if mine["body"] != body:
        _ask("PATCH", f"{issue}/comments/{int(mine['id'])}", {"body": body})
    return "updated the comment on the pull request"


def _body(marker: str) -> str:
    """The verdict's word, then the report, which is escaped where it was written."""
    verdict = re.sub(r"[^a-z]", "", os.environ.get("PBIAS_VERDICT", "")) or "error"
    report = Path(os.environ["PBIAS_REPORTS"]) / "pbias.md"
    text = report.read_text("utf-8", "replace") if report.is_file() else ""
    # A name such as @team in a model's or an identity's would call people.
    text = text.replace("@", "@\u200b").replace("<!--", "&lt;!--")
    return f"{marker}\n## pbias: {verdict}\n\n{text}"[:_MOST]


def _mine(issue: str, number: int, marker: str) -> dict[str, Any] | None:
    """The comment that an earlier run wrote under this token; nobody else's, whatever it says."""
    try:
        login = _ask("GET", "/user")["login"]
    except CommentError:  # the token of a workflow may not ask who it is
        login = _BOT
    for page in range(1, _PAGES + 1):
        found = _ask("GET", f"{issue}/{number}/comments?per_page=100&page={page}")
        for one in found:
            by = (one.get("user") or {}).get("login")
            if by == login and str(one.get("body", "")).startswith(marker):
                return dict(one)
        if len(found) < 100:
            return None
    return None


def _ask(method: str, path: str, content: dict[str, str] | None = None) -> Any:
    """What the API answers.

    Raises:
        CommentError: it refused, or cannot be reached.
    """
    token = os.environ.get("PBIAS_TOKEN", "")
    if not token:
        raise CommentError("there is no token")
    request = urllib.request.Request(
        os.environ.get("GITHUB_API_URL", "https://api.github.com") + path,
        None if content is None else json.dumps(content).encode(),
        {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        hint = "; give the job `permissions: pull-requests: write`" if error.code == 403 else ""
        error.close()
        raise CommentError(f"{method} {path.partition('?')[0]}: HTTP {error.code}{hint}") from None
    except (urllib.error.URLError, TimeoutError) as error:
        raise CommentError(f"the API cannot be reached: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
