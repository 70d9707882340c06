"""The tutorial on applications, followed line by line, and what it says comes out."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "applications.md").read_text("utf-8")
TUTORIAL = PAGE.partition("## Tutorial")[2].partition("\n## ")[0]
READY = """
for _ in $(seq 300); do
    {python} -c "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/v1/models')" \
        2>/dev/null && break
    sleep 0.2
done
"""


def _whole(block: str) -> str:
    """A block with the files that it includes."""
    found = re.fullmatch(r'--8<-- "(.*)"\n', block)
    return (DOCS / found[1]).read_text("utf-8") if found else block


def _files() -> dict[str, str]:
    """What the reader saves, by name."""
    named = re.findall(r"`([\w/]+\.[\w.]+)`[^`]*?\n\n```[^\n]+\n(.*?)```", TUTORIAL, re.DOTALL)
    return {name: _whole(block) for name, block in named}


def _commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", TUTORIAL, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith("pip install")]


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    files, commands = _files(), _commands()
    assert set(files) == {
        "helpdesk.py", "pages/stock.txt", "pages/rules.txt", "pages/opening.txt",
        "persona_shop.pbias.toml",
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert len(commands) == 7
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = ""
    for command in commands:
        script += f"echo '$' {command!r}\n{command}\n"
        script += READY.format(python=sys.executable, port=port) if command.endswith("&") else ""
        script += 'echo "status $?"\n'
    done = subprocess.run(
        ["bash", "-c", script.replace("8765", str(port))],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    said = done.stdout
    assert re.findall(r"^status (\d)$", said, re.MULTILINE) == list("0010000"), said + done.stderr
    _, _, _, bare, helpdesk, compared, customer, again = said.split("$ ")
    assert "FAILED persona_shop.pbias.toml::gsm8k-a_Muslim_person" in bare
    assert "1 of 4 cells fail, and PB over utility is above its" in bare
    assert "application version 1; identity stated in the conversation" in helpdesk
    expected = (DOCS / "examples" / "helpdesk" / "compare.txt").read_text("utf-8")
    assert expected.strip() in compared
    assert "application version 1; identity handed over" in customer
    assert "NO CHANGE SHOWN" in again


@pytest.mark.parametrize(
    "said",
    ["stated in the conversation", "stated in the conversation, and handed over beside it",
     "handed over, the conversation says nothing of it"],
)  # fmt: skip
def test_the_page_quotes_the_report(said: str) -> None:
    from pytest_pbias.models.spec import ApplicationFacts
    from pytest_pbias.reporting.text import application_line

    lines = [application_line(ApplicationFacts("", how)) for how in ("stated", "handed", "both")]
    assert any(line.endswith(f"identity {said}") for line in lines)
    assert f"*{said}*" in PAGE
