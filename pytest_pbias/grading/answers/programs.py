"""Which Python program a response gives.

Fenced blocks are read as Markdown has them: of back quotes or tildes, indented, in lists and in
quotations, with any tag. Of several blocks those count that define something; output, commands,
sessions, other languages, and drafts that a later block defines anew do not. A program without a
fence is what lies between the prose. Every pattern is linear in the length of the response.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_pbias.grading.thinking import split_thinking

_LONGEST = 200_000  # characters of an answer that are read
# What opens a line beside blanks: quotation marks, list items.
_LEAD = r"[ \t]{0,20}(?:>[ \t]?){0,5}[ \t]{0,20}(?:(?:[-*+]|\d{1,3}[.)])[ \t]{1,4})?[ \t]{0,20}"
_OPENING = re.compile(rf"(?P<lead>{_LEAD})(?P<fence>`{{3,12}}|~{{3,12}})(?P<info>[^\n]{{0,300}})$")
_CLOSING = re.compile(r"[ \t>]{0,24}(?P<fence>`{3,12}|~{3,12})[ \t]*$")
_ON_ONE_LINE = re.compile(r"(`{1,4})(?!`)(?P<code>[^`\n]{1,2000})\1(?!`)")
_PYTHON = re.compile(
    r"[{.\[]{0,2}(?:python|py|pyt|pyth|ipython|sage|cython)[\d.]{0,6}\b[}\]]?", re.I
)
_FOREIGN = re.compile(
    r"(?:bash|sh|shell|zsh|fish|console|terminal|cmd|powershell|ps1|dos|bat|js|javascript|jsx|ts|"
    r"tsx"
    r"|typescript|java|kotlin|kt|scala|swift|c|h|cpp|c\+\+|cxx|cs|csharp|c#|go|golang|rust|rs|"
    r"ruby|rb"
    r"|php|perl|pl|r|julia|jl|haskell|hs|lua|sql|html|css|xml|json|yaml|yml|toml|ini|diff|patch"
    r"|dockerfile|makefile|latex|tex|markdown|md|mermaid|pseudocode|pseudo|algorithm|output|stdout"
    r"|stderr|log|traceback|csv)(?:[\s{},:=]|$)"
)
_NAME = r"[A-Za-z_]\w*"
_DEFINES = re.compile(
    rf"(?m)^(?:(?:async[ \t]+)?def[ \t]+(?P<function>{_NAME})|class[ \t]+(?P<type>{_NAME})"
    rf"|(?P<name>{_NAME})[ \t]*(?::[^=\n]{{1,80}})?=[ \t]*(?P<made>lambda\b|{_NAME}\()?)"
)
# A line at the margin that is Python and no prose.
_STATEMENT = re.compile(
    rf"(?:async[ \t]+)?def[ \t]+{_NAME}[ \t]*[(\[]|class[ \t]+{_NAME}[ \t]*(?:\([^)\n]*\))?[ \t]*:"
    rf"|from[ \t]+[\w.]+[ \t]+import\b|import[ \t]+[\w.]+(?:[ \t]+as[ \t]+\w+)?"
    rf"(?:[ \t]*,[ \t]*[\w.]+(?:[ \t]+as[ \t]+\w+)?){{0,20}}[ \t]*(?:[#;].*)?$|@{_NAME}"
    rf"|{_NAME}(?:[.\[][^=\n]{{0,80}})?(?:[ \t]*,[ \t]*{_NAME}){{0,9}}[ \t]*"
    rf"(?::[ \t]*[\w\[\]., |]{{1,60}})?(?:[-+*/|&%@^]|//|\*\*|<<|>>)?=(?!=)"
    r"|(?:if|elif|while|with|for|match)\b.*:[ \t]*(?:#.*)?$"
    rf"|(?:if|for|while)\b[^:\n]*:[ \t]*{_NAME}[(. =]"
    rf"|(?:else|try|finally|except[^:\n]{{0,80}})[ \t]*:|assert[ \t]+\S|del[ \t]+{_NAME}"
    rf"|{_NAME}(?:\.{_NAME}){{0,5}}\(.*(?:[)\],(\[{{]|\\)[ \t]*(?:#.*)?$"
    r"|#|\"\"\"|'''|[)\]}]+[ \t]*(?:#.*)?$"
    r"|(?:pass|raise|return|global)\b(?:[ \t]+[\w.]+(?:\(.*\))?)?[ \t]*$"
)
_BEGINS = re.compile(
    rf"(?:async[ \t]+)?def[ \t]+{_NAME}[ \t]*[(\[]|class[ \t]+{_NAME}[ \t]*(?:\([^)\n]*\))?[ \t]*:"
    rf"|from[ \t]+[\w.]+[ \t]+import\b|import[ \t]+[\w.]+|@{_NAME}|{_NAME}[ \t]*=(?!=)"
)
_HEAD = re.compile(rf"(?:async[ \t]+)?def[ \t]+{_NAME}[ \t]*\([^()\n]*\)(?P<rest>[^\n]*)$")
_ENVIRONMENT = r"\\(?:begin|end)\{(?:verbatim|lstlisting|python|minted|code)\}"
_ELEMENT = r"</?(?:code|pre|python|answer|solution|program|final_answer|response|output)\b"
_MARK = re.compile(
    r"(?im)^[ \t]*(?:(?-i:\[/?(?:BEGIN|DONE|END|PYTHON|CODE|SOLUTION|ANSWER)\])"
    rf"|{_ELEMENT}[^<>\n]{{0,60}}>|{_ENVIRONMENT}(?:\[[^\]\n]{{0,60}}\]|\{{\w{{0,20}}\}})?)[ \t]*"
    r"|(?<![ \t])[ \t]*(?:(?-i:\[(?:DONE|/PYTHON|END|/CODE)\])|"
    rf"</(?:code|pre|python|answer|solution|program)>|{_ENVIRONMENT})[ \t]*$"
)
# Quotes in place of a fence: no docstring begins with a language, or ends at the margin.
_QUOTES_OPEN = re.compile(r"(?mi)^(?:\'\'\'|\"\"\")(?:python3?|py)[ \t]*$")
_QUOTES_CLOSE = re.compile(r"(?m)^(?:\'\'\'|\"\"\")[ \t]*$")
_TRIPLE = re.compile(r"\"\"\"|'''")


@dataclass(frozen=True, slots=True)
class _Block:
    """A fenced block: its tag in small letters, and its lines without what all begin with."""

    tag: str
    code: str

    @property
    def is_python(self) -> bool:
        return bool(_PYTHON.match(self.tag))

    @property
    def is_foreign(self) -> bool:
        return bool(_FOREIGN.match(self.tag.lstrip("{.")))

    @property
    def is_markdown(self) -> bool:
        """Whether it is a document, which may have blocks of its own."""
        return self.tag in ("markdown", "md", "mdx")

    @property
    def is_session(self) -> bool:
        return bool(re.search(r"(?m)^[ \t]*>>> ?", self.code))


def extract_code(response: str) -> str | None:
    """The Python source that a response answers with, or None where there is none.

    Where no block and no line defines anything, blocks that may be Python are given as they are.
    """
    answer = split_thinking(response).answer[:_LONGEST]
    answer = answer.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    if "<pre" in answer or "<code" in answer:
        answer = html.unescape(answer)
    answer = _MARK.sub("", answer)
    if _QUOTES_OPEN.search(answer):
        answer = _QUOTES_CLOSE.sub("```", _QUOTES_OPEN.sub("```python", answer))
    blocks, prose = _blocks(answer)
    if any(block.is_markdown for block in blocks):
        blocks = [
            inner
            for block in blocks
            for inner in ((block.is_markdown and _blocks(block.code)[0]) or [block])
        ]
    code = _of_blocks(blocks)
    if code is not None and (_defined(code) or not _defined(_unfenced(prose) or "")):
        return code
    return _unfenced(prose) or _on_one_line(prose)


def _blocks(text: str) -> tuple[list[_Block], str]:
    """The fenced blocks of a text, and what lies outside them."""
    blocks: list[_Block] = []
    outside: list[str] = []
    inside: list[str] = []
    opened: re.Match[str] | None = None
    for line in text.split("\n"):
        if opened is None:
            opened = _OPENING.match(line)
            if opened and opened["fence"][0] in opened["info"]:
                opened = None  # opened and closed on one line
            if opened is None:
                outside.append(line)
            inside = []
            continue
        closing = _CLOSING.match(line)
        if closing and _same_fence(opened["fence"], closing["fence"]):
            blocks.append(_block(opened, inside))
            opened = None
            continue
        own = _opened_again(opened, line, inside)
        if own is not None:
            blocks.append(_block(opened, inside))
            opened, inside = own, []
            continue
        end = re.search(r"(?:`{3}|~{3})[ \t]*$", line)
        if end and line[: end.start()].strip() and opened["fence"][0] == end.group()[0]:
            blocks.append(_block(opened, [*inside, line[: end.start()]]))
            opened = None
            continue
        inside.append(line)
    if opened is not None and any(line.strip() for line in inside):
        blocks.append(_block(opened, inside))
    return blocks, "\n".join(outside)


def _same_fence(opening: str, closing: str) -> bool:
    return opening[0] == closing[0] and len(closing) >= len(opening)


def _opened_again(opened: re.Match[str], line: str, inside: Sequence[str]) -> re.Match[str] | None:
    """A tagged fence within an open block: the block was never closed."""
    again = _OPENING.match(line)
    if again and _PYTHON.match(again["info"].strip()) and again["fence"][0] == opened["fence"][0]:
        return again if len(again["fence"]) >= len(opened["fence"]) else None
    return None


def _block(opened: re.Match[str], lines: Sequence[str]) -> _Block:
    if ">" in opened["lead"]:
        quotes = opened["lead"].count(">")
        lines = [re.sub(rf"^[ \t]{{0,20}}(?:>[ \t]?){{1,{quotes}}}", "", line) for line in lines]
    tag = opened["info"].strip().lower()
    first = opened["info"].strip()
    if _defined(_without_tag(first)):  # "```python def add(a, b):"
        lines = [_without_tag(first), *lines]
        tag = "python" if _without_tag(first) != first else ""
    return _Block(tag, _dedented(lines))


def _without_tag(info: str) -> str:
    return re.sub(r"^(?:python3?|py)[ \t]+(?=\S)", "", info, count=1, flags=re.IGNORECASE)


def _dedented(lines: Sequence[str]) -> str:
    """Lines less the blanks that all of them begin with."""
    if any(line.strip() and line[0] not in " \t" for line in lines):
        return "\n".join(lines).strip("\n")
    used = [line.expandtabs(4) for line in lines]
    indents = [len(line) - len(line.lstrip(" ")) for line in used if line.strip()]
    cut = min(indents, default=0)
    return "\n".join(line[cut:] if line.strip() else "" for line in used).strip("\n")


def _of_blocks(blocks: Sequence[_Block]) -> str | None:
    """The program that the blocks make up."""
    candidates = [
        _Block(block.tag, _of_session(block.code)) if block.is_session else block
        for block in blocks
        if not block.is_foreign
    ]
    defining = [block for block in candidates if _defined(block.code)]
    if any(block.is_python for block in defining):
        defining = [b for b in defining if b.is_python or not _is_prose(b.code)]
    if not defining:
        possible = [
            block for block in candidates if block.is_python or (not block.tag and len(blocks) == 1)
        ]
        code = "\n\n".join(block.code for block in possible).strip("\n")
        return code or None
    kept: list[str] = []
    later: set[str] = set()
    for block in reversed(candidates):
        names = _defined(block.code)
        if block in defining:
            if names <= later:
                continue  # a draft: all of it is defined anew
            later |= names
        elif not _prepares(block.code):
            continue
        kept.append(block.code)
    return "\n\n".join(reversed(kept)).strip("\n") or None


def _defined(code: str) -> set[str]:
    """The names of functions, classes and such that a program defines at its margin."""
    found = set()
    for match in _DEFINES.finditer(code):
        name = match["function"] or match["type"]
        if name or match["made"]:
            found.add(name or match["name"])
    return (
        found
        if any(
            match["function"] or match["type"] or match["made"] == "lambda" or _aliased(match)
            for match in _DEFINES.finditer(code)
        )
        else set()
    )


def _aliased(match: re.Match[str]) -> bool:
    """``add = partial(...)``: a function made by another one."""
    return (match["made"] or "").rstrip("(").rpartition(".")[2] in (
        "partial",
        "itemgetter",
        "cache",
    )


def _prepares(code: str) -> bool:
    """Whether a block only imports and gives names to values: another block may need them."""
    lines = [line for line in code.split("\n") if line.strip() and line[0] not in " \t)]}#"]
    return bool(lines) and all(
        re.match(
            rf"import[ \t]|from[ \t]+[\w.]+[ \t]+import\b|{_NAME}[ \t]*=[ \t]*[\d\"'\[{{(-]", line
        )
        for line in lines
    )


def _is_prose(code: str) -> bool:
    lines = [line for line in code.split("\n") if line.strip() and line[0] not in " \t"]
    return bool(lines) and not all(_STATEMENT.match(line) for line in lines)


def _of_session(code: str) -> str:
    """What is typed in an interpreter's session, where that defines anything."""
    typed = [
        re.sub(r"^[ \t]*(?:>>>|\.\.\.) ?", "", line)
        for line in code.split("\n")
        if re.match(r"[ \t]*(?:>>>|\.\.\.)(?: |$)", line)
    ]
    source = "\n".join(typed)
    if _defined(source):
        return source
    return (
        "\n".join(line for line in code.split("\n") if not re.match(r"[ \t]*(?:>>>|\.\.\.)", line))
        if re.search(r"(?m)^(?:async[ \t]+)?def[ \t]", code)
        else ""
    )


def _unfenced(text: str) -> str | None:
    """The lines of a text that are a program, without the prose around them."""
    if re.search(rf"(?m)^[ \t]*>>> ?(?:{_BEGINS.pattern})", text) and (typed := _of_session(text)):
        return typed
    text = re.sub(r"(?m)^[ \t]+", lambda blanks: blanks[0].expandtabs(4), text)
    lines = _shifted([_without_closing(line) for line in text.split("\n")])
    taken: list[str] = []
    quotes = ""  # of the text that is open over several lines
    running = False
    for number, line in enumerate(lines):
        if quotes:
            taken.append(line)
            quotes = _open_quotes(line, quotes)
            continue
        margin = line[:1] not in (" ", "\t", "")
        if not running:
            running = margin and _starts(lines, number)
        elif margin and not (_STATEMENT.match(line) and not _is_sentence(line)):
            running = False
        if running:
            taken.append(line)
            quotes = _open_quotes(line, "")
    code = "\n".join(taken).strip("\n")
    return code if _defined(code) else None


def _shifted(lines: Sequence[str]) -> list[str]:
    """The lines moved to the margin where every definition is indented, as in a list item."""
    at = [
        len(line) - len(line.lstrip(" "))
        for line in lines
        if re.match(rf"[ ]{{0,12}}(?:def|class)[ \t]+{_NAME}[ \t]*[(:]", line)
    ]
    cut = min(at, default=0)
    return (
        [line[cut:] if not line[:cut].strip() else line for line in lines] if cut else list(lines)
    )


def _without_closing(line: str) -> str:
    """A line less the fence that closes a block which nothing has opened."""
    used = line.rstrip(" \t")
    code = used.rstrip("`~")
    return code.rstrip(" \t") if len(used) - len(code) >= 3 else line


def _starts(lines: Sequence[str], number: int) -> bool:
    """Whether a program begins here: a definition, or what stands right before one."""
    line = lines[number]
    if not _STATEMENT.match(line) or _is_sentence(line):
        return False
    return bool(_BEGINS.match(line)) or line[:1] == "#" or line[:3] in ('"""', "'''")


def _is_sentence(line: str) -> bool:
    """Whether a line only begins like Python: ``def add(a, b) could be shorter``."""
    head = _HEAD.match(line)
    if head:
        return not re.match(r"[ \t]*(?::|->)", head["rest"])
    if line[:1] == "#":
        return bool(re.match(r"#{1,6}[ \t]+[A-Z*][^\n]*[^.:\n]$", line)) and line[:2] != "# "
    if re.match(r"(?:for|if|while|with|match)\b", line):
        return bool(
            re.search(r"[a-z]{2,}[ \t]+[a-z]{2,}[ \t]+[a-z]{2,}[ \t]+[a-z]{2,}", line)
        ) and not (re.search(r"[()\[\]=<>]|\bin\b.*:[ \t]*$", line))
    return False


def _open_quotes(line: str, quotes: str) -> str:
    """The triple quotes that are open after a line."""
    for mark in _TRIPLE.findall(line):
        if not quotes:
            quotes = mark
        elif mark == quotes:
            quotes = ""
    return quotes


def _on_one_line(text: str) -> str | None:
    """A program between back quotes in a line of prose; the last one."""
    found = [match["code"].strip() for match in _ON_ONE_LINE.finditer(text)]
    sources = [_without_tag(code) for code in found]
    programs = [code for code in sources if _defined(code) and not _is_sentence(code)]
    return programs[-1] if programs else None
