"""Which number a response gives as its answer.

Thousands separators, currency, units, percent signs, fractions, mixed numbers, scale words,
number words and the digits of every script are read; the last statement of an answer wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pytest_pbias.grading.answers.plain_text import CLOSE, OPEN, conclusion, plain_text
from pytest_pbias.grading.answers.turns import until_next_question

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
    rf"(?<![A-Za-z\d_^])(?<!\d[.,])(?<!\d:)(?P<number>(?>{_DIGITS}))"
    # 5:30 is a time and no 5; 5:00 is 5 o'clock
    r"(?!:(?!00)[0-5]\d(?!\d))"
    rf"(?:\s?(?:\u00d7|x|\*)\s?10\s?\^\s?\(?\{{?(?P<power>[-+]?\d{{1,3}})|"
    rf"[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w))?"
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
_MOST_IN_WORDS = 10**18  # what names more repeats itself: it counts as this, which no answer is
_WORD = "|".join(sorted([*_WORDS, *_MULTIPLES], key=len, reverse=True))
_IN_WORDS = re.compile(
    r"\b(?P<dozen>(?:half\s)?an?\sdozen)\b|\b(?P<part>(?:one|an?)[\s-]half)\b|"
    rf"\b(?:(?P<minus>minus|negative)\s)?(?P<words>(?:{_WORD})(?:[\s-](?:and\s)?(?:{_WORD}))*)"
    r"(?P<half>\sand\s(?:an?|one)[\s-]half)?\b",
    re.IGNORECASE,
)
_MARK = re.compile(
    rf"####\s*(?:(?:the\s)?(?:final\s)?answer\s?(?:is)?\s?[:=]?\s*)?(?=[-+.(]?\s?(?:{_CURRENCY})?\s?[-+]?\.?\d)",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"(?<![A-Za-z])(?:answers?|ans|final (?:result|total|value|number|count|amount|price|cost|"
    r"output|solution|figure)|solution|respuesta|r\u00e9ponse|reponse|antwort|risposta|resposta|"
    r"odpowied\u017a|svar|\u043e\u0442\u0432\u0435\u0442|\u7b54\u6848|\u7b54\u3048|\uc815\ub2f5|"
    r"\ub2f5|"
    r"\u0909\u0924\u094d\u0924\u0930|\u0627\u0644\u0625\u062c\u0627\u0628\u0629)(?![A-Za-z])"
    r"[^.\n:=?\d]{0,60}?(?:(?<![A-Za-z])(?:is|are|was|be|equals|comes to|es|est|ist|\u00e8|\u00e9)"
    r"(?![A-Za-z'])|'s\b|->|=>|[:=\u2192\u21d2\u662f\u306f\u4e3a\u70ba\u2014\u2013]| - |\s*\n"
    r"|\uc740|\u0939\u0948|\s(?=[-+$]?\d))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<!\bRs)[.!?;](?=\s|$|\x03)|\n")
# The head of a sentence that takes back a number, and how it gives another one.
_CORRECTED = re.compile(
    r"(?:^|[.!?\n(\u2014\u2026;]|\s[-\u2013]\s)[\s\"'*_(]{0,6}(?:but |and |oh,? |ah,? |"
    r"ok(?:ay)?,? )?"
    r"(?:(?:wait|hold on|hmm+|oops|whoops|scratch that|correction|on (?:second thoughts?|"
    r"reflection)|"
    r"my (?:mistake|bad|apologies)|apologies|sorry|actually|no|in fact|"
    r"i mean)(?=[\s]{0,2}[,.:;!\u2014\u2013\u2026]|"
    r" -| (?:it|that|this|the (?:answer|total|result)|i (?:made|forgot|miscounted|misread|"
    r"meant))\b)|"
    r"i (?:mean|meant)\b|let me (?:correct|fix|redo|recalculate|recheck|re-?\w+|revise)|"
    r"let's (?:correct|redo|recheck|re-?\w+)|i (?:made an? (?:\w+ )?(?:mistake|error|slip)|"
    r"miscounted|misread|"
    r"forgot|need to correct|must correct|have to correct|overlooked)|that(?:'s| is| was) (?:wrong|"
    r"not right|incorrect|a mistake))",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"=|\b(?:it|that|this|answer|total|result|number|sum)(?:'s| is| are| was|"
    r" should(?: have)? be(?:en)?| must be|"
    r" comes? to| makes?| would be| equals)|\b(?:i (?:mean|meant)|should(?: have)? be(?:en)?|"
    r"comes? to|"
    r"makes|gives|equals|leaves|we get|i get)\b",
    re.IGNORECASE,
)
# What a sentence tells of a number that is no answer any more, or confirms.
_PAST = re.compile(
    r"\b(?:at first|first (?:wrote|said|got|had|thought)|initially|originally|earlier|previously|"
    r"before|"
    r"would(?:n't| not)|could(?:n't| not)|above|if|had (?:written|said|got))\b",
    re.IGNORECASE,
)
_CONFIRMED = re.compile(
    r"\b(?:holds|stands|still|indeed|confirm\w*|checks? out|is (?:correct|right|fine)|"
    r"was (?:correct|"
    r"right)|that(?:'s| is) (?:right|correct)|matches|same|as before|no change)\b",
    re.IGNORECASE,
)
# Where a note begins after a number: "2 hours (1 hour = 60 minutes)", "6 feet, where ...".
_NOTE = re.compile(
    r"(?<=[\w%)\u20ac\u00a3\u00a5\"'\x03])[\s\x03]{0,3}(?:\s[(\[{]|[;\u2014\u2013|]|"
    r"\s-{1,2}\s(?=[A-Za-z(])|"
    r"\[|,\s(?=[A-Za-z(])|:\s|\s(?:where|when|because|since|as|which|with|that is|i\.e\.|namely|"
    r"so|for|given|if|"
    r"assuming|using|note|check|verif\w+|remember|recall|by|from|(?:and|"
    r"but)(?! an? half)(?= (?:\d|each|every|"
    r"one|a|"
    r"the|there)\b))\b)",
    re.IGNORECASE,
)
_OPERATOR = re.compile(r"[-+*/^\u00d7\u00f7\u2212=~]|\b(?:x|times|plus|minus|of|per|by|over)\s*$")
_AND_A_HALF = re.compile(r"(?<![\d.,/])(\d{1,9}) and (?:an?|one)[ -]half\b", re.IGNORECASE)
_SECOND = re.compile(
    r"(?<![A-Za-z])(?:final (?:result|total|value|number|count|amount|price|cost|output|solution|"
    r"figure)|solution)(?![A-Za-z])",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"\b(?:therefore|thus|hence|so|consequently),? (?:the|my) (?:final |correct )?answer (?:is|"
    r"would be)",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|had|were|suppos\w+|unless|instead)\b[^.!?\n]{0,160}\b(?:would|might|could)\b|"
    r"\b(?:would|might|could)\b[^.!?\n]{0,160}\b(?:if|had|were|unless|instead)\b",
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


@lru_cache(maxsize=4096)  # under greedy sampling many identities get the same answer
def extract_number(response: str) -> float | None:
    """Return the final number of a response, or None where there is none.

    A percentage is the number before the sign; a fraction is its quotient. ``####``, a box, and a
    sentence that states an answer win over other numbers, and among them the last one.
    """
    text = _NOT_BUT.sub(" ", _AND_A_HALF.sub(r"\1 1/2", plain_text(response)))
    announced = list(_stated(text))
    whole, text = (
        text,
        until_next_question(
            text,
            (one.place for one in announced if one.rank == 2),
            (one.place for one in announced if one.rank == 1),
        ),
    )
    stated = _final_of(announced if text == whole else list(_stated(text)), text)
    if stated is not None:
        corrected = _corrected(text, stated.place)
        return stated.value if corrected is None else corrected
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


@dataclass(frozen=True, slots=True, order=True)
class _Stated:
    """A number given as the answer, in words in [start, place).

    ``rank`` is 2 for the closing forms that prompts ask for, 0 where it may be a step's result.
    """

    place: int
    value: float
    rank: int = 1
    start: int = 0


def _final_of(stated: Sequence[_Stated], text: str) -> _Stated | None:
    """The last answer in a closing form, or the last one that is announced."""
    meant = [one for one in stated if not _is_supposed(one, text)] or list(stated)
    best = max((one.rank for one in meant), default=0)
    last = max(meant, default=None)
    if last is None or last.rank == best:
        return last
    return max(one for one in meant if one.rank == best)


def _is_supposed(stated: _Stated, text: str) -> bool:
    """Whether the sentence says what the answer would be in another case."""
    before = text[max(0, stated.start - 160) : stated.start]
    start = max((end.end() for end in _SENTENCE_END.finditer(before)), default=0)
    end = _SENTENCE_END.search(text, stated.place, stated.place + 160)
    stop = end.start() if end else stated.place + 160
    return bool(_SUPPOSED.search(before[start:] + text[stated.start : stop]))


def _corrected(text: str, place: int) -> float | None:
    """The number that later sentences put in the place of the one before ``place``."""
    found = None
    for head in _CORRECTED.finditer(text, place):
        rest = text[head.end() :]
        if _CONFIRMED.search(rest[:300]):
            continue
        sentences = [one for one in _SENTENCE_END.split(rest) if one and not _PAST.search(one)]
        short = [one for one in sentences[:3] if re.match(r"[\s,.:;!\u2026-]*[$\d]", one)]
        if short or any(_RESULT.search(one) for one in sentences[:8]):
            value = _last_result("\n".join(sentences))
            found = found if value is None else value
        break
    return found


def _stated(text: str) -> Iterator[_Stated]:
    """Each number given as an answer, with its place."""
    for mark in _MARK.finditer(text):
        value = _first_number(text[mark.end() : mark.end() + 60])
        if value is not None:
            yield _Stated(mark.end(), value, 2, mark.start())
    for box in re.finditer(f"{OPEN}([^{OPEN}{CLOSE}]{{0,300}}){CLOSE}", text):
        value = _of_sentence(box.group(1))
        if value is not None:
            yield _Stated(box.end(), value, 2, box.start())
    for statement in _STATEMENT.finditer(text):
        tail = text[statement.end() : statement.end() + 300].lstrip()
        cut = _SENTENCE_END.search(tail)
        sentence = tail[: cut.start()] if cut else tail
        value = _of_sentence(sentence)
        if value is not None:
            rank = 0 if _SECOND.match(text, statement.start()) else 1
            opening = text[max(0, statement.start() - 40) : statement.end()]
            rank = 2 if _CLOSING.search(opening) else rank
            yield _Stated(statement.end(), value, rank, statement.start())


def _of_sentence(sentence: str) -> float | None:
    """The number a statement ends on, notes aside.

    After an equals sign; else the one that comes at once; else the last one.
    """
    sentence = _without_note(re.sub(r"^(\s*)([-+]) (?=\d)", r"\1\2", sentence))
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


def _without_note(sentence: str) -> str:
    """A statement up to the note that explains its number, where it begins with one."""
    near = _NEAR.match(sentence)
    numbers = _numbers(sentence)
    if not numbers or numbers[0][0] > (near.end() if near else 0) + 2:
        return sentence
    for note in _NOTE.finditer(sentence, numbers[0][0]):
        before = sentence[: note.start() + 1].rstrip(" \x03")
        if not _numbers(before) or _OPERATOR.search(before[-6:].rstrip()[-1:]):
            continue
        return sentence[: note.start() + 1]
    return sentence


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
    if match["dozen"]:
        return 6.0 if match["dozen"].lower().startswith("half") else 12.0
    if match["part"]:
        return 0.5
    total, current = 0, 0
    for word in re.findall(r"[a-z]+", match["words"].lower()):
        if word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred":
            current = max(1, current) * 100
        elif word in _MULTIPLES:
            total += max(1, current) * _MULTIPLES[word]
            current = 0
        if total + current >= _MOST_IN_WORDS:
            total, current = _MOST_IN_WORDS, 0
            break
    value = float(total + current) + (0.5 if match["half"] else 0.0)
    return -value if match["minus"] else value
