"""Answers of BIG-Bench Hard: options, words of a pair, numbers, brackets, sorted words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from pytest_pbias.grading.answers.choice import extract_choice
from pytest_pbias.grading.answers.number import extract_number
from pytest_pbias.grading.answers.plain_text import conclusion, plain_text
from pytest_pbias.grading.answers.turns import until_next_question

_OPTION = re.compile(r"\([A-Z]\)")
_WHOLE = re.compile(r"-?\d+(?:\.\d+)?")
_BRACKETS = re.compile(r"[\s()\[\]{}<>]+")
_PAIRS = (("yes", "no"), ("true", "false"), ("valid", "invalid"))
_MOST_OPTIONS = 18  # reasoning_about_colored_objects has (A) to (R)

_STATEMENT = re.compile(
    r"(?<![A-Za-z])(?:answer|conclusion|result|verdict|output|sequence|completion|order|list|words|"
    r"sorted(?: (?:list|words|order))?|alphabetically|argument|statement|sentence)(?![A-Za-z])"
    r"[^.\n:=?]{0,60}?(?:(?<![A-Za-z])(?:is|are|be|would be)(?![A-Za-z'])|[:=]|->|=>)[\s:]{0,4}"
    r"|\x02",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"(?<![A-Za-z])(?:answer|final (?:result|output|list|sequence|verdict)|conclusion)(?![A-Za-z])"
    r"[^.\n:=?]{0,60}?(?:(?<![A-Za-z])(?:is|are|be)(?![A-Za-z'])|[:=]|->|=>)[\s:]{0,4}|\x02",
    re.IGNORECASE,
)


def extract_freeform(
    response: str, target: str, choices: Sequence[str] | None = None
) -> str | None:
    """Return the answer in the form of ``target``, normalized, or None where there is none.

    Only the form of the target is used, never its value: an option ``(A)``, yes/no, true/false,
    valid/invalid, a number, a bracket sequence, or words (for sorted words: which words there are,
    not their order). ``choices`` are the texts of the question's options.
    """
    wanted = target.strip()
    if _OPTION.fullmatch(wanted):
        letter = extract_choice(response, len(choices or ()) or _MOST_OPTIONS, choices)
        return None if letter is None else f"({letter})"
    for pair in _PAIRS:
        if wanted.casefold() in pair:
            return _one_of(response, pair)
    if _WHOLE.fullmatch(wanted):
        number = extract_number(response)
        return None if number is None else f"{number:g}"
    if _BRACKETS.fullmatch(wanted):
        return _brackets(response)
    return _words(response, wanted)


def matches_target(answer: str, target: str) -> bool:
    """Whether a normalized answer says what the target says."""
    wanted = target.strip()
    if _WHOLE.fullmatch(wanted):
        return answer == f"{float(wanted):g}"
    if _BRACKETS.fullmatch(wanted):
        return answer == "".join(wanted.split())
    return answer == _folded(wanted) or answer == wanted


def _folded(words: str) -> str:
    return " ".join(re.sub(r"[,;]", " ", words.casefold()).split())


def _one_of(response: str, pair: tuple[str, str]) -> str | None:
    """The word of a pair that the response ends on."""
    positive, negative = pair
    both = rf"\b(?:{positive}|{negative})\s?(?:\bor\b|\band\b|/|,)\s?(?:{positive}|{negative})\b"
    text = re.sub(both, " ", plain_text(response), flags=re.IGNORECASE)
    text = until_next_question(text, [match.end() + 12 for match in _ANSWER.finditer(text)])
    said = _said_of_pair(text, pair)
    if not said:
        return None
    for start, end in reversed([match.span() for match in _ANSWER.finditer(text)]):
        cut = re.search(r"\n\s*\n|(?<=\w)[.!](?:\s|$)", text[end:])
        stop = end + cut.start() if cut else len(text)
        within = [word for place, word in said if end <= place < stop]
        if within:
            sentence = text[start:stop]
            return within[-1] if re.search(r"=|\bis\b", sentence[end - start :]) else within[0]
    opening = re.match(rf"[\W_]*({positive}|{negative})\b", text, re.IGNORECASE)
    last_line = text.rstrip().rsplit("\n", 1)[-1]
    ending = re.fullmatch(rf"[\W_]*({positive}|{negative})[\W_]*", last_line, re.IGNORECASE)
    if ending or not opening:
        return said[-1][1]
    return said[0][1]


def _said_of_pair(text: str, pair: tuple[str, str]) -> list[tuple[int, str]]:
    """Each mention of a word of the pair with its place; "not valid" is "invalid"."""
    positive, negative = pair
    found = []
    for match in re.finditer(rf"\b({positive}|{negative})\b", text, re.IGNORECASE):
        word = match.group(1).casefold()
        before = text[max(0, match.start() - 24) : match.start()]
        if pair == ("yes", "no"):
            # "no" is an answer only where it stands alone, not in "there is no reason".
            if word == "no" and not re.match(
                r"[^\w\s]|\s*$|\s*\n|\s*\x03", text[match.end() :][:4]
            ):
                continue
        elif pair == ("valid", "invalid") and re.search(
            r"(?:\bnot|n't)\s(?:\w+ly\s|be\s|a\s|an\s|logically\s){0,2}$", before
        ):
            word = negative if word == positive else positive
        found.append((match.start(), word))
    return found or _in_other_words(text, pair)


def _in_other_words(text: str, pair: tuple[str, str]) -> list[tuple[int, str]]:
    """``plausible`` for yes, ``does not follow`` for invalid, where the pair is not used."""
    phrases = {
        ("yes", "no"): (
            r"\bis plausible\b|\bdo(?:es)? return\b|\btells the truth\b",
            r"\bimplausible\b|\bnot plausible\b|n't plausible\b|\bnot return\b|n't return\b|"
            r"\blies\b|\bnot tell the truth\b|n't tell the truth\b",
        ),
        ("valid", "invalid"): (r"\bdoes follow\b", r"\bnot follow\b|n't follow\b|\bfallac"),
    }.get(pair)
    if phrases is None:
        return []
    found = [
        (match.start(), word)
        for phrase, word in zip(phrases, pair, strict=True)
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]
    return sorted(found)


_RUN = re.compile(r"[()\[\]{}<>](?:[\s,;\"']{0,4}[()\[\]{}<>])*")
_WORD_OF_MARKUP = re.compile(r"</?(?:s|answer|b|i|p|br|code|pre|think|end)/?>", re.IGNORECASE)


def _brackets(response: str) -> str | None:
    """The last bracket sequence a statement gives, else the last line's, else the last."""
    text = _WORD_OF_MARKUP.sub(" ", conclusion(response))
    box = text.rfind("\\boxed{")
    if box >= 0:
        line = text[box + 7 :].split("\n", 1)[0]
        inside = _joined_runs(line[: line.rfind("}")])
        if inside:
            return inside
    text = re.sub(r"\\text(?:tt|bf)?\{([^{}\n]*)\}", r"\1", text)
    text = re.sub(r"[`$*]|\\(?=[{}()\[\]])|\\[,;]", " ", text).replace("\\rangle", ">")
    text = text.replace("\\langle", "<").replace("&gt;", ">").replace("&lt;", "<")
    for match in reversed(list(_STATEMENT.finditer(text))):
        tail = text[match.end() : match.end() + 300]
        run = _RUN.search(tail)
        if run and not re.search(r"\w[^.:]{60}", tail[: run.start()]):
            return "".join(re.findall(r"[()\[\]{}<>]", run.group(0)))
    for part in (text.rstrip().rsplit("\n", 1)[-1], text):
        runs = [run.group(0) for run in _RUN.finditer(part)]
        if runs:
            return "".join(re.findall(r"[()\[\]{}<>]", runs[-1]))
    return None


def _joined_runs(text: str) -> str:
    return "".join(re.findall(r"[()\[\]<>{}]", re.sub(r"\\text(?:tt|bf)?", "", text)))


@lru_cache(maxsize=4096)  # under greedy sampling many identities get the same answer
def _words(response: str, wanted: str) -> str | None:
    """The words a response ends on: the last run of the question's words, else the last line."""
    text = plain_text(response).replace("\x02", " ").replace("\x03", "\n").casefold()
    vocabulary = _folded(wanted).split()
    if len(vocabulary) > 1:
        run = _last_run(text, vocabulary)
        if run:
            return run
    stripped = text.strip()
    if not stripped:
        return None
    statements = list(_ANSWER.finditer(stripped))
    line = stripped[statements[-1].end() :].strip() if statements else ""
    line = (line or stripped.rsplit("\n", 1)[-1]).split("\n", 1)[0]
    return " ".join(re.sub(r"[,;]", " ", line).strip(" .\"'").split()) or None


_TOKEN = re.compile(r"[^\s,;<>|]+")
_NUMBERING = re.compile(r"\(?\d{1,3}[.):]?|[-*\u2022.:=]+|->|\u2192|and|then")


def _last_run(text: str, vocabulary: Sequence[str]) -> str:
    """The last unbroken run of words from ``vocabulary`` that is as long, numbering aside."""
    known = set(vocabulary)
    run: list[str] = []
    last: list[str] = []
    for token in _TOKEN.findall(text):
        word = token if token in known else token.strip(".:\"'()[]*`")
        if word in known:
            run.append(word)
            if len(run) >= len(vocabulary):
                last = run[-len(vocabulary) :]
        elif not _NUMBERING.fullmatch(token):
            run = []
    return " ".join(last)
