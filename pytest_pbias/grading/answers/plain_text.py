"""A response as plain text: markup gone, digits and punctuation of every script made plain.

What a response sets apart as its answer (a LaTeX box, an ``<answer>`` element, ``[[B]]``) is kept
between the marks :data:`OPEN` and :data:`CLOSE`.
"""

from __future__ import annotations

import re
import unicodedata

from pytest_pbias.grading.thinking import split_thinking

OPEN, CLOSE = "\x02", "\x03"
TAIL = 20_000  # characters at the end of a response in which an answer is looked for

_ANSWER_ELEMENT = re.compile(r"<(answer|final_answer|final)>(.{0,500}?)</\1>", re.DOTALL | re.I)
_DOUBLE_BRACKET = re.compile(r"\[\[\s{0,2}([^\[\]]{1,60}?)\s{0,2}\]\]")
_ELEMENT = re.compile(r"</?[A-Za-z][A-Za-z0-9_]{0,20}(?: [^<>]{0,80})?/?>")
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")
_WRAPPER = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|textit|mathit|textsf|mathsf|texttt|mathtt|operatorname"
    r"|emph|underline|bm|displaystyle|large|Large)\s?\{([^{}]{0,200})\}"
)
_BOX = re.compile(r"\\f?box(?:ed)?\s?\{")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s?(-?[\d.,]{1,30})\s?\}\s?\{\s?([\d.,]{1,30})\s?\}")
_LATEX = re.compile(r"\\[()\[\]]|\\[,;:!]|\\quad|\\left|\\right|\\displaystyle|\\%|\\\$")
_LATEX_WORDS = (
    ("\\times", "\u00d7"),
    ("\\cdot", "\u00d7"),
    ("\\approx", "="),
    ("\\rightarrow", "->"),
    ("\\Rightarrow", "=>"),
    ("\\to", "->"),
    ("\\%", "%"),
    ("{,}", ","),
    ("\\rangle", ">"),
    ("\\langle", "<"),
)
_STARS = re.compile(r"(?<=\d)\*\*(?=\d)")
_BOTH = re.compile(r"\*{3,}|(?<!\w)_{3}(?=\w)|(?<=\w)_{3}(?!\w)")
_ITALIC = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]{1,120}?)(?<=\S)\*(?![\w*])")
_UNDERSCORED = re.compile(r"(?<!\w)_(?=\S)([^_\n]{1,120}?)(?<=\S)_(?!\w)")
_EMPHASIS = re.compile(r"\*\*|__|`|\b(?:US|CA|AU|NZ|HK|A|C|S)\$(?=\d)|\$")
_DASH_SIGN = re.compile("(?<!\\w)(?<!\\w )[\u2012\u2013](?=[$\\d])")
_THIN_GROUP = re.compile("(?<=\\d)[\u00a0\u2009\u202f\u2007\u066c](?=\\d{3}(?!\\d))")
_SUPERSCRIPT = re.compile("(?<=[\\w)])([\u00b2\u00b3\u00b9\u2070\u2074-\u2079])")
_VULGAR = re.compile("(\\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u300c": '"',
        "\u300d": '"',
        "\u2212": "-",
        "\ufe63": "-",
        "\u2011": "-",
        "\u2044": "/",
        "\u066b": ".",
        "\u3002": ".",
        "\u3010": "(",
        "\u3011": ")",
        "\u2248": "=",
        OPEN: " ",
        CLOSE: " ",
    }
)


def plain_text(response: str) -> str:
    """The end of a response as plain text, its set-apart answers between the marks."""
    text = _plain_characters(conclusion(response))
    text = _ANSWER_ELEMENT.sub(rf"{OPEN}\2{CLOSE}", text)
    text = _DOUBLE_BRACKET.sub(rf"{OPEN}\1{CLOSE}", _ELEMENT.sub(" ", _STRUCK.sub(" ", text)))
    text = _FRACTION.sub(r" \1/\2", text)
    for word, plain in _LATEX_WORDS:
        text = text.replace(word, plain)
    for _ in range(3):
        text, count = _WRAPPER.subn(r"\1", text)
        if not count:
            break
    text = _LATEX.sub("", _unbox(text))
    text = _BOTH.sub("", _STARS.sub("^", text))
    return _EMPHASIS.sub("", _UNDERSCORED.sub(r"\1", _ITALIC.sub(r"\1", text)))


def conclusion(response: str) -> str:
    """The end of a response's answer, without its visible thinking."""
    return split_thinking(response).answer[-TAIL:]


def _plain_characters(text: str) -> str:
    if text.isascii():
        return text.translate(_PLAIN) if OPEN in text or CLOSE in text else text
    text = _DASH_SIGN.sub("-", text)
    text = _VULGAR.sub(r"\1 ", _THIN_GROUP.sub(",", _SUPERSCRIPT.sub(r"^\1", text)))
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return "".join(
        str(unicodedata.digit(char)) if not char.isascii() and char.isdecimal() else char
        for char in text
    )


def _unbox(text: str) -> str:
    """Replace each LaTeX box by its content between the marks; braces inside are balanced."""
    parts: list[str] = []
    start = 0
    while (box := _BOX.search(text, start)) is not None:
        end = _closing_brace(text, box.end())
        parts += [text[start : box.start()], OPEN, text[box.end() : end], CLOSE]
        start = end + 1
    return "".join(parts) + text[start:]


def _closing_brace(text: str, start: int) -> int:
    """Where the brace opened before ``start`` closes; the end of the line where it does not."""
    depth = 1
    for place in range(start, min(len(text), start + 500)):
        char = text[place]
        if char in "{}" and text[place - 1] != "\\":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return place
        elif char == "\n":
            return place
    return min(len(text), start + 500)
