"""Reading the final answer off a response: a choice, a number, or a short free form.

The last statement of an answer wins, because models change their mind while they reason. Every
pattern is linear in the length of the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_MARKUP = re.compile(r"\*\*|__|`|\$|\\\(|\\\)|\\\[|\\\]")
_BOXED = re.compile(r"\\(?:boxed|text|mathrm|textbf|mathbf)\s?\{([^{}]{0,200})\}")
_STATEMENT = re.compile(
    r"(?:final |correct |best |right |my )?(?:answer|option|choice|result)\b"
    r"(?: choice| option)?(?: to (?:the|this) (?:question|problem))?"
    r" {0,3}(?:is|would be|should be|must be|will be|are|=|:|-|->|=>)[ :]{0,4}",
    re.IGNORECASE,
)
_TAIL = 20_000  # characters at the end of a response in which an answer is looked for


def _plain(response: str) -> str:
    """The end of the response without Markdown and LaTeX wrapping."""
    text = response[-_TAIL:]
    for _ in range(3):
        text, count = _BOXED.subn(r" \1 ", text)
        if not count:
            break
    return _MARKUP.sub("", text).replace("\u2019", "'").replace("\u2212", "-")


def _after_statements(text: str) -> Iterator[str]:
    """What follows each statement of an answer, the last statement first."""
    for match in reversed(list(_STATEMENT.finditer(text))):
        yield text[match.end() : match.end() + 300]


def _boxed(response: str) -> list[str]:
    return [
        match.group(1)
        for match in _BOXED.finditer(response[-_TAIL:])
        if "box" in match.group(0)[:6]
    ]


def extract_choice(
    response: str, n_choices: int = 4, choices: Sequence[str] | None = None
) -> str | None:
    """Return the letter of the final choice (``A`` ...), or None where there is none.

    ``choices`` are the options' texts; with them an answer in an option's words is understood.
    """
    last = chr(ord("A") + n_choices - 1)
    letter = rf"(?:[(\[]\s?([A-{last}])\s?[)\]]|([A-{last}])(?![\w'+-]| [a-z]))"
    plain = _plain(response)
    for boxed in reversed(_boxed(response)):
        found = re.match(rf"\s*{letter}", f"{boxed} ") or re.match(
            rf"\s*([a-{last.lower()}])()\s*$", boxed
        )
        if found:
            return str(found.group(1) or found.group(2)).upper()
    first = re.compile(rf"\s{{0,3}}(?:(?:option|choice|letter)\s)?{letter}", re.IGNORECASE)
    for tail in _after_statements(plain):
        found = first.match(tail)
        if found and (found.group(1) or (found.group(2) or "").isupper()):
            return str(found.group(1) or found.group(2)).upper()
        named = _named_option(tail, choices, at_start=True)
        if named:
            return named
    return _loose_choice(plain, last, letter, choices)


def _loose_choice(plain: str, last: str, letter: str, choices: Sequence[str] | None) -> str | None:
    """A choice that no sentence announces: a bare letter, a line that opens with one, or words."""
    stripped = plain.strip()
    if re.fullmatch(rf"\(?([A-{last}a-{last.lower()}])\)?[.:]?", stripped):
        return stripped.strip("().: ").upper()
    bare = rf"(?:[(\[]\s?([A-{last}])\s?[)\]]|\b([A-{last}])(?![\w'+-]))"
    verb = rf"(?:(?:choose|select|pick|go with|going with|chose)\s(?:option\s|choice\s)?{bare})"
    announced = list(re.finditer(verb, plain))
    lines = list(re.finditer(rf"(?m)^\s{{0,3}}(?:option\s)?{letter}(?=[).:,\s]|$)", plain))
    correct = list(
        re.finditer(rf"{bare}[^.\n]{{0,60}}?\bis (?:the )?(?:correct|right|best)", plain)
    )
    for matches in (announced, correct):
        if matches:
            return str(next(group for group in matches[-1].groups() if group))
    letters = {next(group for group in match.groups() if group) for match in lines}
    if len(letters) == 1:
        return letters.pop()
    inside = {a or b for a, b in re.findall(rf"\(([A-{last}])\)|\b([A-{last}])\)", plain)}
    if len(inside) == 1:
        return str(inside.pop())
    return _named_option(plain, choices, at_start=False)


def _named_option(text: str, choices: Sequence[str] | None, *, at_start: bool) -> str | None:
    """The one option whose words the text says (at its start: the longest that fits)."""
    if not choices:
        return None
    folded = " ".join(text.casefold().split())
    options = {
        chr(ord("A") + number): " ".join(choice.casefold().split()).strip(" .")
        for number, choice in enumerate(choices)
    }
    if at_start:
        lead = re.sub(r"^(?:the|a|an|that|it is|it's)\s", "", folded)
        fits = {
            key: option
            for key, option in options.items()
            if option and (folded.startswith(option) or lead.startswith(option))
        }
        return max(fits, key=lambda key: len(fits[key])) if fits else None
    said = [
        key
        for key, option in options.items()
        if option and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", folded)
    ]
    return said[0] if len(said) == 1 else None


_NUMBER = re.compile(
    r"(?<![\w.])([-+]?)\s?[$\u20ac\u00a3]?\s?([-+]?)(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:\s?/\s?(\d+(?:\.\d+)?))?"
)
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+(?:\.\d+)?)\}\{(\d+(?:\.\d+)?)\}")


def extract_number(response: str) -> float | None:
    """Return the final number of a response, or None where there is none.

    Thousands separators, currency, units, percent signs and fractions are understood; ``####``,
    a box, and the last sentence that states an answer win over other numbers.
    """
    text = _FRACTION.sub(r"\1/\2", response[-_TAIL:])
    _, mark, rest = text.rpartition("####")
    if mark:
        found = _first_number(_plain(rest))
        if found is not None:
            return found
    for boxed in reversed(_boxed(text)):
        found = _first_number(_plain(boxed))
        if found is not None:
            return found
    plain = _plain(text)
    for tail in _after_statements(plain):
        sentence = re.split(r"\n|(?<=[^\d])\.\s|(?<=\d)\.\s", tail, maxsplit=1)[0]
        found = _stated_number(sentence)
        if found is not None:
            return found
    numbers = list(_NUMBER.finditer(plain))
    return _value(numbers[-1]) if numbers else None


def _stated_number(sentence: str) -> float | None:
    """The number a statement ends on: the last after an equals sign, else the first."""
    left, equals, right = sentence.rpartition("=")
    if equals:
        found = _first_number(right)
        if found is not None:
            return found
        sentence = left
    return _first_number(sentence)


def _first_number(text: str) -> float | None:
    match = _NUMBER.search(text)
    return _value(match) if match else None


def _value(match: re.Match[str]) -> float:
    number = float(match.group(3).replace(",", ""))
    if match.group(4) and float(match.group(4)) != 0:
        number /= float(match.group(4))
    return -number if "-" in (match.group(1) + match.group(2)) else number


_WORDS = {
    "yes": ("yes",),
    "no": ("no",),
    "true": ("true",),
    "false": ("false",),
    "valid": ("valid",),
    "invalid": ("invalid",),
}
_PAIRS = (("yes", "no"), ("true", "false"), ("valid", "invalid"))


def extract_freeform(response: str, target: str) -> str | None:
    """Return the answer in the form of ``target``, normalized, or None where there is none.

    Forms (BIG-Bench Hard): an option ``(A)``, yes/no, true/false, valid/invalid, a number, a
    bracket sequence, or words. Only the form of the target is used, never its value.
    """
    wanted = target.strip()
    if re.fullmatch(r"\([A-Z]\)", wanted):
        letter = extract_choice(response, 18)
        return None if letter is None else f"({letter})"
    for pair in _PAIRS:
        if wanted.casefold() in pair:
            return _one_of(response, pair)
    if re.fullmatch(r"-?\d+(?:\.\d+)?", wanted):
        number = extract_number(response)
        return None if number is None else f"{number:g}"
    if re.fullmatch(r"[\s()\[\]{}<>]+", wanted):
        return _brackets(response)
    return _words(response)


def matches_target(answer: str, target: str) -> bool:
    """Whether a normalized answer says what the target says."""
    wanted = target.strip()
    if re.fullmatch(r"-?\d+(?:\.\d+)?", wanted):
        return answer == f"{float(wanted):g}"
    if re.fullmatch(r"[\s()\[\]{}<>]+", wanted):
        return answer == "".join(wanted.split())
    return answer == " ".join(wanted.casefold().split()) or answer == wanted


def _one_of(response: str, pair: tuple[str, str]) -> str | None:
    plain = _plain(response)
    pattern = re.compile(rf"\b({pair[0]}|{pair[1]})\b", re.IGNORECASE)
    for tail in _after_statements(plain):
        found = pattern.search(tail.split("\n", 1)[0])
        if found:
            return found.group(1).casefold()
    opening = pattern.match(plain.strip())
    said = pattern.findall(plain)
    if opening and len({word.casefold() for word in said}) > 1:
        return opening.group(1).casefold()
    return said[-1].casefold() if said else None


def _brackets(response: str) -> str | None:
    text = response[-_TAIL:].replace("`", " ")
    tails = [*_after_statements(text), text.rstrip().rsplit("\n", 1)[-1], text]
    for tail in tails:
        runs = re.findall(r"[()\[\]{}<>](?:\s{0,3}[()\[\]{}<>])*", tail)
        if runs:
            return "".join(runs[0 if tail is not text else -1].split())
    return None


def _words(response: str) -> str | None:
    plain = _plain(response).strip()
    if not plain:
        return None
    tails = list(_after_statements(plain))
    line = tails[0].strip() if tails else plain.rsplit("\n", 1)[-1]
    line = line.split("\n", 1)[0]
    folded = re.sub(r"[,;]", " ", line.casefold()).strip(" .\"'")
    return " ".join(folded.split()) or None
