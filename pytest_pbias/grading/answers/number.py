"""Which number a response gives as its answer.

Thousands separators, currency, units, percent signs, fractions, mixed numbers, scale words,
number words and the digits of every script are read; the last statement of an answer wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_pbias.grading.answers.plain_text import CLOSE, OPEN, conclusion, plain_text

_DIGITS = (
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*\d)|\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d+)?(?!,?\d)"
    r"|\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)|\d{1,3}(?:\.\d{3}){2,}(?![\d.]*\d)"
    r"|\d{1,3}(?:['_]\d{3})+(?:\.\d+)?(?!\d)|\d{1,3}(?: \d{3})+(?:\.\d+)?(?![\d,])"
    r"|\d+,\d{1,2}(?![\d,])|\d+(?:\.\d+)?|\.\d+)"
)
_CURRENCY = r"\$|[\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9\u20ba]|\bRs\.?|\b(?:USD|EUR|GBP|INR|CNY|JPY)"
_NUMBER = re.compile(
    rf"(?:(?P<minus>(?<![\w)\]])(?<![\d)\]]\s)[-+]|\b(?:minus|negative)\s))?"
    rf"(?:(?:{_CURRENCY})\s?(?P<inner>[-+])?)?"
    rf"(?<![A-Za-z\d_^])(?<!\d[.,])(?<!\d:)(?P<number>{_DIGITS})"
    rf"(?:\s?(?:\u00d7|x|\*)\s?10\s?\^\s?\(?\{{?(?P<power>[-+]?\d{{1,3}})|[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w))?"
    r"(?:\s(?P<part>\d{1,4})/(?P<whole>\d{1,4})(?![\d/])|\s?/\s?(?P<below>\d+(?:\.\d+)?)(?![\d/]))?"
    r"(?:\s?(?P<scale>hundred|thousand|million|billion|trillion)s?\b)?",
    re.IGNORECASE,
)
_SCALES = {
    "hundred": 1e2,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: number for number, word in enumerate(_UNITS)} | {
    word: 10 * number for number, word in enumerate(_TENS, start=2)
}
_MULTIPLES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_WORD = "|".join(sorted([*_WORDS, *_MULTIPLES], key=len, reverse=True))
_IN_WORDS = re.compile(
    rf"\b(?:(?P<minus>minus|negative)\s)?(?P<words>(?:{_WORD})(?:[\s-](?:and\s)?(?:{_WORD}))*)\b",
    re.IGNORECASE,
)
_MARK = re.compile(
    rf"####\s*(?:(?:the\s)?(?:final\s)?answer\s?(?:is)?\s?[:=]?\s*)?(?=[-+.(]?\s?(?:{_CURRENCY})?\s?[-+]?\.?\d)",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"(?<![A-Za-z])(?:answers?|ans|final (?:result|total|value|number|count|amount|price|cost|"
    r"output|solution|figure)|solution|respuesta|r\u00e9ponse|reponse|antwort|risposta|resposta|"
    r"odpowied\u017a|svar|\u043e\u0442\u0432\u0435\u0442|\u7b54\u6848|\u7b54\u3048|\uc815\ub2f5|\ub2f5|"
    r"\u0909\u0924\u094d\u0924\u0930|\u0627\u0644\u0625\u062c\u0627\u0628\u0629)(?![A-Za-z])"
    r"[^.\n:=?\d]{0,60}?(?:(?<![A-Za-z])(?:is|are|was|be|equals|comes to|es|est|ist|\u00e8|\u00e9)"
    r"(?![A-Za-z'])|'s\b|->|=>|[:=\u2192\u21d2\u662f\u306f\u4e3a\u70ba\u2014\u2013]| - |\s*\n"
    r"|\uc740|\u0939\u0948|\s(?=[-+$]?\d))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<!\bRs)[.!?;](?=\s|$|\x03)|\n")
_CORRECTED = re.compile(
    r"\b(?:wait|actually|correction|on second thoughts?|scratch that|i mean|i meant|sorry|oops|"
    r"let me (?:correct|fix|redo|recalculate|recheck)|no(?=[,:;]))\b",
    re.IGNORECASE,
)
_BOLD = re.compile(
    rf"\*\*\s?((?:{_CURRENCY})?\s?[-+]?(?:{_CURRENCY})?\s?[\d.,]*\d[^\n*\d]{{0,30}})\s?\*\*",
    re.IGNORECASE,
)
_NOT_BUT = re.compile(rf"\bnot\s(?:{_CURRENCY})?\s?[-+]?[\d.,]*\d[^.\n]{{0,20}}?\bbut\b", re.I)
_NEAR = re.compile(
    r"(?:[\s:\"'(\[\x02\x03=~*]|\b(?:that|the|it|is|about|approximately|approx|roughly|around|"
    r"exactly|only|just|a|an|total|of|equal|to|therefore|thus|simply|now|then|clearly|indeed|"
    r"actually|x|y|n|half|almost|nearly|value|number|as|follows)\b\.?)*",
    re.IGNORECASE,
)


def extract_number(response: str) -> float | None:
    """Return the final number of a response, or None where there is none.

    A percentage is the number before the sign; a fraction is its quotient. ``####``, a box, and a
    sentence that states an answer win over other numbers, and among them the last one.
    """
    text = _NOT_BUT.sub(" ", plain_text(response))
    stated = max(_stated(text), default=None)
    if stated is not None:
        place, value = stated
        later = _CORRECTED.search(text, place)
        corrected = None if later is None else _last_result(text[later.end() :])
        return value if corrected is None else corrected
    bold = _BOLD.findall(conclusion(response))
    for span in reversed(bold):
        value_in_bold = _first_number(plain_text(span))
        if value_in_bold is not None:
            return value_in_bold
    return _last_result(text)


def _last_result(text: str) -> float | None:
    """The number that the last sentence with a number comes to."""
    for sentence in reversed(_SENTENCE_END.split(text)):
        numbers = _in_digits(sentence)
        if numbers:
            results = _in_digits(sentence.rpartition("=")[2]) if "=" in sentence else []
            return results[0][1] if results else numbers[-1][1]
    words = _in_words(text)
    return words[-1][1] if words else None


def _stated(text: str) -> Iterator[tuple[int, float]]:
    """Each number given as an answer, with its place."""
    for mark in _MARK.finditer(text):
        value = _first_number(text[mark.end() : mark.end() + 60])
        if value is not None:
            yield mark.end(), value
    for box in re.finditer(f"{OPEN}([^{OPEN}{CLOSE}]{{0,300}}){CLOSE}", text):
        value = _of_sentence(box.group(1))
        if value is not None:
            yield box.end(), value
    for statement in _STATEMENT.finditer(text):
        tail = text[statement.end() : statement.end() + 300].lstrip()
        cut = _SENTENCE_END.search(tail)
        sentence = tail[: cut.start()] if cut else tail
        value = _of_sentence(sentence)
        if value is not None:
            yield statement.end(), value


def _of_sentence(sentence: str) -> float | None:
    """The number a statement ends on.

    After an equals sign; else the one that comes at once; else the last one.
    """
    sentence = re.sub(r"^(\s*)([-+]) (?=\d)", r"\1\2", sentence)
    _, equals, right = sentence.rpartition("=")
    if equals:
        found = _first_number(right)
        if found is not None:
            return found
    near = _NEAR.match(sentence)
    start = near.end() if near else 0
    numbers = _numbers(sentence)
    if not numbers:
        return None
    if numbers[0][0] <= start + 2 or len(numbers) == 1:
        return numbers[0][1]
    return numbers[-1][1]


def _first_number(text: str) -> float | None:
    numbers = _numbers(text)
    return numbers[0][1] if numbers else None


def _numbers(text: str) -> list[tuple[int, float]]:
    """Every number with its place: in digits, or in words where no digits are."""
    return _in_digits(text) or _in_words(text)


def _in_words(text: str) -> list[tuple[int, float]]:
    return [(match.start(), _value_in_words(match)) for match in _IN_WORDS.finditer(text)]


def _in_digits(text: str) -> list[tuple[int, float]]:
    return [
        (match.start(), _value(match))
        for match in _NUMBER.finditer(text)
        if not (
            re.match(r"[.)]\s", text[match.end() : match.end() + 2]) and _opens_line(text, match)
        )
    ]


def _opens_line(text: str, match: re.Match[str]) -> bool:
    """Whether a number numbers a step: it opens a line and more follows on it."""
    line_start = text.rfind("\n", 0, match.start()) + 1
    line_end = text.find("\n", match.end())
    rest = text[match.end() + 1 : line_end if line_end >= 0 else len(text)]
    return not text[line_start : match.start()].strip(" #>*-") and bool(rest.strip())


def _value(match: re.Match[str]) -> float:
    number = _plain_number(match["number"])
    if match["part"] and float(match["whole"]) != 0:
        number += float(match["part"]) / float(match["whole"])
    elif match["below"] and float(match["below"]) != 0:
        number /= float(match["below"])
    power = match["power"] or match["exponent"]
    if power and abs(int(power)) < 300:
        number *= 10.0 ** int(power)
    if match["scale"]:
        number *= _SCALES[match["scale"].lower()]
    sign = (match["minus"] or "") + (match["inner"] or "")
    return -number if re.search(r"-|minus|negative", sign, re.IGNORECASE) else number


def _plain_number(digits: str) -> float:
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d{1,2}|\d{1,3}(?:\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")
    return float(re.sub(r"[,'_ ]", "", digits))


def _value_in_words(match: re.Match[str]) -> float:
    total, current = 0, 0
    for word in re.findall(r"[a-z]+", match["words"].lower()):
        if word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred":
            current = max(1, current) * 100
        elif word in _MULTIPLES:
            total += max(1, current) * _MULTIPLES[word]
            current = 0
    value = float(total + current)
    return -value if match["minus"] else value
