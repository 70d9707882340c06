"""The letters of options that a response mentions, and what it says of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_NOT_IN_WORD = r"(?<![^\W\d_\u0400-\U0010ffff])(?<![\d_'\u2019&.])(?<![A-Za-z]-)"
_WORD_GOES_ON = r"(?![A-Za-z\u00c0-\u024f0-9_+#*]|['&-][A-Za-z]|\.[A-Za-z])"
_MENTION = re.compile(
    r"(?P<label>\b(?:[Oo]ption|OPTION|[Cc]hoice|CHOICE|[Ll]etter|[Aa]lternative|[Oo]pci\u00f3n)"
    rf"\s{{0,2}}[:#]?\s{{0,2}}[(\[\"']?(?P<labelled>[A-Za-z])[)\]\"']?{_WORD_GOES_ON})"
    r"|(?P<bracket>[(\[\"'\x02]\s?(?P<bracketed>[A-Z])\s?[)\]\"'\x03])"
    r"|(?P<lower>(?<![A-Za-z])[(\[\"'\x02](?P<small>[a-z])[)\]\"'\x03])"
    rf"|(?P<bare>{_NOT_IN_WORD}(?P<letter>[A-Z]){_WORD_GOES_ON})",
)
_AFTER_LETTER = re.compile(
    r"\s(?:is|was|isn't|nor|no|yes|are|as|because|since|for|due|which|and|or|but|so|with|given|"
    r"would|must|"
    r"should|could|can|cannot|can't|seems|looks|appears|fits|makes|matches|has|it|in|on|by|from|"
    r"rather|over|not|instead|then|here|to|that|if|based|describes|states|says|contains|sounds|"
    r"correctly|best|works|does|doesn't|also|remains|may|might|will|being|after|when|while)\b"
)
NEGATED_BEFORE = re.compile(
    r"(?:\bnot|n't|\bnever|\bcannot|\brather than|\binstead of|\bno longer|\bneither|\bnor|"
    r"\bunlike|\bexcept|\bwithout|\brul(?:e|ed|ing) out|\beliminat\w{1,4}|\bdiscard\w{0,3}|"
    r"\bexclud\w{1,4})\s{1,2}(?:the |be |to be |option |choice |answer |it is |it's |by |even |"
    r"just |both |either ){0,3}[(\[\"']?$",
    re.IGNORECASE,
)
NEGATIVE = re.compile(
    r"\b(?:wrong|incorrect|false|inaccurate|not|cannot|never|isn't|can't|doesn't|don't|wasn't|"
    r"aren't|won't|wouldn't|fails?|invalid|irrelevant|(?:ruled|rule) out|eliminat\w+|discard\w*|"
    r"excluded?|impossible|unlikely|contradicts?|nope)\b|^\W{0,4}no\b|"
    r"[\u2717\u2718\u274c\u2716\u00d7]",
    re.IGNORECASE,
)
POSITIVE = re.compile(
    r"\b(?:is|are|seems?|looks?|sounds?|appears?|was|would|must|should|has|be|to|as|remains?|being"
    r"|states?|makes?)\b[^.;\n]{0,24}?\b(?:correct|right|best|accurate|true|answer|appropriate|"
    r"suitable|valid|sense|one|closest|likely|winner|choice|pick|preferable|better)\b"
    r"|\b(?:it is|fits best|works best|is it|fits|correctly)\b"
    r"|[\u2713\u2714\u2705\u2611]|^\W{0,4}(?:correct|right|true|yes)\b"
    r"|[:\u2014\u2013-]\s(?:this is )?(?:correct|right|true|yes)\b",
    re.IGNORECASE,
)
JOINED = re.compile(
    r"[\s\"'()\[\]]*(?:(?:,|/|&|\+|and|or|und|oder|y|o|et|ou|e|and/or|as well as|plus|"
    r"\u548c|\u6216)[\s\"'()\[\]]*)*(?:maybe |possibly |perhaps |also |both |option |choice |"
    r"the )*[\s\"'(\[]*",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"\n|(?<=[\w)\]\"'])[.!?;](?=\s|$)")
_MOST_OPTIONS = 18


@dataclass(frozen=True, slots=True)
class Mention:
    """A letter of an option at [start, end); ``sure`` where it can be nothing but a letter."""

    letter: str
    start: int
    end: int
    sure: bool
    number: int = 0


def find_mentions(text: str, letters: str) -> tuple[Mention, ...]:
    """Every mention of one of ``letters``, in order, numbered."""
    found = (mention for mention in _all_mentions(text) if mention.letter in letters)
    return tuple(replace(mention, number=number) for number, mention in enumerate(found))


def _all_mentions(text: str) -> Iterator[Mention]:
    for match in _MENTION.finditer(text):
        letter = next(
            group
            for group in (match["labelled"], match["bracketed"], match["small"], match["letter"])
            if group
        )
        if match["label"]:
            following = text[match.end() : match.end() + 14]
            if letter.islower() and re.match(r" [a-z]", following) and letter in "ai":
                continue
            yield Mention(letter.upper(), match.start(), match.end(), sure=True)
        elif match["bracket"] or match["lower"]:
            if match["lower"] and match.group(0)[0] in "\"'" and letter in "ai":
                continue
            yield Mention(letter.upper(), match.start(), match.end(), sure=True)
        elif _is_letter(text, letter, match.end()):
            yield Mention(letter, match.start(), match.end(), sure=False)


def _is_letter(text: str, letter: str, end: int) -> bool:
    """Whether a bare capital is an option's letter, not the article or the pronoun."""
    following = text[end : end + 14]
    if letter == "I":
        return re.match(r"\s*$|[).:,;]|\s(?:is|isn't|was|because)\b", following) is not None
    if letter != "A" or not re.match(r"[ \t]+[a-z]", following):
        return True
    return _AFTER_LETTER.match(following) is not None


def is_denied(text: str, mention: Mention, mentions: Sequence[Mention]) -> bool:
    """Whether the option is said to be wrong: ``not B``, ``B is wrong``, ``B cannot be``."""
    if NEGATED_BEFORE.search(text[max(0, mention.start - 40) : mention.start]):
        return True
    following = None
    for following in mentions[mention.number + 1 : mention.number + 2 + _MOST_OPTIONS]:
        if not _listed_together(text, mention, following):
            break
        mention = following  # "A, B and C are wrong": what is said of the last holds for each
    following = None if following is mention else following
    limit = len(text) if following is None else following.start
    stop = min(limit, mention.end + 120)
    rest = text[mention.end : stop]
    said = said_of(text, mention, stop)
    if following is not None and len(said) == len(rest) and mention.end + 120 >= limit:
        said = NEGATED_BEFORE.sub("", said)  # "B, not A": that is said of A
    negative = NEGATIVE.search(said)
    if negative is None:
        return False
    clause = re.search(r"\b(?:because|since|as|but|so|while|whereas|,|although)\b|,", said)
    positive = POSITIVE.search(said)
    if clause and clause.start() < negative.start():
        return False
    return positive is None or negative.start() < positive.end()


def said_of(text: str, mention: Mention, stop: int) -> str:
    """What follows a mention in its sentence, up to ``stop``; ``A.`` that opens a line goes on."""
    line = text[text.rfind("\n", 0, mention.start) + 1 : mention.start]
    labelled = text[mention.end : mention.end + 1] == "." and not line.strip(" \t>*-#([\"'")
    cut = SENTENCE_END.search(text, mention.end + labelled, max(stop, mention.end + labelled))
    return text[mention.end : cut.start() if cut else stop]


def _listed_together(text: str, mention: Mention, following: Mention) -> bool:
    """Whether two mentions stand side by side in one list: ``A and B``, ``A, B``."""
    if not JOINED.fullmatch(text, mention.end, following.start):
        return False
    between = text[mention.end : following.start]
    return "\n" not in between and re.search(r"and|or|,|/|&", between) is not None
