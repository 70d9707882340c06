"""MkDocs hook: the reference pages that are made from the code, so that they cannot go stale."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pytest_pbias import cli
from pytest_pbias.cells.persona_file import persona_schema
from pytest_pbias.plugin.options import OPTIONS, Option
from pytest_pbias.prompts import controls, groups, paper_identities
from pytest_pbias.reporting.schemas import SchemaName, schema_text
from pytest_pbias.tasks import TASKS
from pytest_pbias.tasks.task_file import task_schema

RESULTS = "Personalization bias, measured"
"""The heading of the public results page."""

# A link from a page of docs/ to a file elsewhere in the repository, as it works on GitHub.
_OUTSIDE = re.compile(r"\]\(\.\./([\w./-]+\.\w+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out pages of the navigation that this version does not have."""
    known = {path.relative_to(config.docs_dir).as_posix() for path in _pages(config)}
    config.nav = _kept(config.nav or [], known | set(_generated()))
    return config


def _pages(config: MkDocsConfig) -> Iterator[Path]:
    return Path(config.docs_dir).rglob("*.md")


def _kept(entries: Sequence[dict[str, Any]], known: set[str]) -> list[dict[str, Any]]:
    kept = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: _kept(target, known)})
        elif target in known:
            kept.append(entry)
    return kept


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the schemas as files of their own."""
    for name, text in _generated().items():
        files.append(File.generated(config, name, content=text))
    for name, schema in _schemas().items():
        files.append(File.generated(config, name, content=json.dumps(schema, indent=2)))
    for name, text in _results(Path(config.docs_dir) / "results").items():
        files.append(File.generated(config, f"results/site/{name}", content=text))
    root = Path(config.docs_dir).parent
    for page in Path(config.docs_dir).glob("*.md"):  # further down, ``../`` is another page
        for name in _OUTSIDE.findall(page.read_text("utf-8")):
            files.append(File.generated(config, f"files/{name}", abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links to files of the repository (``../benchmarks/...``) lead to copies in the site."""
    return _OUTSIDE.sub(r"](files/\1)", markdown) if "/" not in page.file.src_uri else markdown


@functools.cache
def _results(store: Path) -> dict[str, str]:
    """The public results page, as ``pbias site`` writes it of the runs that are kept there."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "site"
        with contextlib.redirect_stdout(io.StringIO()):
            status = cli.main(["site", str(out), "--store", str(store), "--title", RESULTS])
        if status:
            raise PluginError(f"the results page cannot be made of {store}")
        return {path.relative_to(out).as_posix(): path.read_text("utf-8")
                for path in sorted(out.rglob("*.html"))}  # fmt: skip


@functools.cache
def _generated() -> dict[str, str]:
    return {
        "reference/options.md": options_page(),
        "reference/commands.md": commands_page(),
        "reference/catalogue.md": catalogue_page(),
        "reference/schemas.md": schemas_page(),
    }


def options_page() -> str:
    """Every command-line option with its ini twin."""
    lines = [
        "# Options",
        "",
        "Each option of `pytest` has a twin for the ini file (`pytest.ini`, `pyproject.toml`): the "
        "command line comes first, then the ini file, then the default. Commands of `pbias` have "
        "those marked so under the same name: `--store`.",
        "",
        "| option | ini | default | `pbias` | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for option in OPTIONS:
        shown = f"`{option.default}`" if option.default else ""
        twin = f"`--{option.name}`" if option.cli else ""
        lines.append(
            f"| `{_usage(option)}` | `{option.dest}` | {shown} | {twin} | {_cell(option.help)} |"
        )
    return "\n".join(lines) + "\n"


def _usage(option: Option) -> str:
    name = f"--pbias-{option.name}"
    if option.flag:
        return name
    value = "{" + ",".join(option.choices) + "}" if option.choices else option.metavar
    return f"{name}={value}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;")


def commands_page() -> str:
    """The help of every ``pbias`` command."""
    lines = ["# Commands", "", "`pbias` works on what is stored; it never asks a model.", ""]
    if "train" in cli.COMMANDS:
        lines[2] = "`pbias` works on what is stored; `train` alone needs more than that."
    for name in cli.COMMANDS:
        parser = cli.CommandParser(
            prog=f"pbias {name}",
            formatter_class=functools.partial(argparse.HelpFormatter, width=80),
        )
        parser.declare()
        lines += [f"## pbias {name}", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def catalogue_page() -> str:
    """The identities and tasks that ship with the package."""
    lines = ["# Identities and tasks", "", "## Identities", "", "| group | identities |"]
    lines += ["| --- | --- |"]
    for group in groups():
        names = ", ".join(i.name for i in paper_identities() if i.group == group)
        lines.append(f"| {group} | {names} |")
    lines.append(f"| Control | {', '.join(identity.name for identity in controls())} |")
    lines += ["", "The baseline states nobody.", "", "## Tasks", ""]
    lines += ["| name | | axis | chance level | licence |", "| --- | --- | --- | --- | --- |"]
    for name, task in TASKS.items():
        chance = f"{100 * task.floor:g} %"
        lines.append(f"| `{name}` | {task.title} | {task.axis} | {chance} | {task.licence} |")
    return "\n".join(lines) + "\n"


def _schemas() -> dict[str, dict[str, Any]]:
    names = get_args(SchemaName)
    written = {f"{name}.schema.json": json.loads(schema_text(name)) for name in names}
    own = {"persona.schema.json": persona_schema(), "task.schema.json": task_schema()}
    return written | own


def schemas_page() -> str:
    """The JSON Schemas that ship with the package."""
    lines = ["# Schemas", "", "JSON Schemas of the files that people and programs exchange.", ""]
    for name, schema in sorted(_schemas().items()):
        lines += [f"## {name}", "", str(schema.get("title", "")), ""]
        lines += [f"[Download](../{name})", "", "```json", json.dumps(schema, indent=2)]
        lines += ["```", ""]
    return "\n".join(lines)
