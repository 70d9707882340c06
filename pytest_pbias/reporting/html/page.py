"""The page: everything in one file that asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from importlib.resources import files

from pytest_pbias.reporting.html import answers, context, sections
from pytest_pbias.reporting.html.content import RunContent
from pytest_pbias.reporting.html.elements import safe
from pytest_pbias.reporting.html.verdict import verdict_section

Section = Callable[[RunContent], str]
SECTIONS: tuple[tuple[str, Section], ...] = (
    ("Verdict", verdict_section),
    ("Since the earlier run", context.comparison_section),
    ("Safety against utility", sections.trade_off_section),
    ("Identities by task", sections.heat_section),
    ("Tasks", sections.tasks_section),
    ("Where PB comes from", sections.contribution_section),
    ("Prompt defences", context.defense_section),
    ("Refusals", answers.refusal_section),
    ("Unreadable answers", answers.readable_section),
    ("Judges", context.judge_section),
    ("Noise of the engine", context.noise_section),
    ("Answers side by side", answers.sample_section),
    ("Provenance", context.provenance_section),
)


def to_html(run: RunContent) -> str:
    """The report of a run as one HTML file.

    Raises:
        ConfigurationError: Matplotlib is not installed.
    """
    style = _read("page.css") + "".join(_heat_rules())
    script = _read("page.js")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    bodies = [(title, section(run)) for title, section in SECTIONS]
    filled = [(f"s{n}", title, body) for n, (title, body) in enumerate(bodies) if body]
    links = "".join(f'<li><a href="#{name}">{safe(title)}</a></li>' for name, title, _ in filled)
    content = "\n".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{safe(title)}</h2>{body}</section>'
        for name, title, body in filled
    )
    heading = f"Personalization bias of {safe(run.summary.run.model)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">Skip to the verdict</a>'
        f'<header><h1>{heading}</h1><nav aria-label="Sections"><ul>{links}</ul></nav></header>\n'
        f'<main id="content" tabindex="-1">\n{content}\n</main>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _read(name: str) -> str:
    return files("pytest_pbias.reporting.html").joinpath(name).read_text("utf-8")


def _digest(script: str) -> str:
    """The source hash by which the policy lets this script run, and no other."""
    hashed = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(hashed).decode()}"


def _heat_rules() -> Iterator[str]:
    """Blue where the rate is higher, orange where it is lower, stronger with the difference."""
    for strength in range(10):
        for name, colour in (("up", "0 114 178"), ("down", "213 94 0")):
            yield f".{name}{strength} {{ background: rgb({colour} / {9 * strength}%); }}\n"
