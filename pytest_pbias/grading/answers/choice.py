"""Which option a response chooses.

Every mention of an option's letter is found first; sentences that choose ("the answer is B",
"B is correct", "I would go with B") then point at mentions. The last one wins, because models
change their mind while they reason; a sentence that chooses two options chooses none.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pytest_pbias.grading.answers.choice_words import (
    CHOOSING,
    CLOSING,
    CONCLUDING,
    COPULA,
    CORRECTED,
    DISTRACTING,
    EQUATED,
    FILLER,
    GRANTED,
    HEDGE,
    LABELLED_ANSWER,
    NOT_AVAILABLE,
    NOUN,
    SUPPOSED,
    TAKEN_BACK,
    WOULD,
)
from pytest_pbias.grading.answers.letters import (
    JOINED,
    NEGATED_BEFORE,
    NEGATIVE,
    POSITIVE,
    SENTENCE_END,
    Mention,
    find_mentions,
    is_denied,
    said_of,
)
from pytest_pbias.grading.answers.options import named_option, restated_options, said_options
from pytest_pbias.grading.answers.plain_text import plain_text
from pytest_pbias.grading.answers.turns import until_next_question

_LONGEST_ALONE = 60  # characters of a letter with all its brackets, quotes and dots


@dataclass(frozen=True, slots=True)
class _Choice:
    """A sentence that chooses ``letter`` (empty: more than one option) at ``place``."""

    place: int
    letter: str


def extract_choice(
    response: str, n_choices: int = 4, choices: Sequence[str] | None = None
) -> str | None:
    """Return the letter of the final choice (``A`` ...), or None where there is none.

    ``choices`` are the options' texts; with them an answer in an option's words is understood.
    Without them, options that the response itself lists serve.
    """
    return _extracted(response, n_choices, tuple(choices or ()))


# Under greedy sampling many identities get the same answer to an item.
@lru_cache(maxsize=4096)
def _extracted(response: str, n_choices: int, choices: tuple[str, ...]) -> str | None:
    text = LABELLED_ANSWER.sub(r"\1Answer: ", NOT_AVAILABLE.sub(" ", plain_text(response)))
    options: Sequence[str] = choices or restated_options(text, n_choices)
    reader = _Reader(text, n_choices, options)
    own = until_next_question(text, *reader.announced())
    if own != text:
        reader = _Reader(own, n_choices, options)
    return reader.final_choice() or None


class _Reader:
    """One response under examination."""

    def __init__(self, text: str, n_choices: int, options: Sequence[str]) -> None:
        self.text = text
        self.letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:n_choices]
        self.options = options
        self.mentions = find_mentions(text, self.letters)
        self._known_denied: dict[int, bool] = {}

    def _is_denied(self, mention: Mention) -> bool:
        """Whether the text denies a mention; asked of each several times."""
        known = self._known_denied.get(mention.number)
        if known is None:
            known = is_denied(self.text, mention, self.mentions)
            self._known_denied[mention.number] = known
        return known

    def announced(self) -> tuple[list[int], list[int]]:
        """The places of answers in a closing form or set apart, and of other announced ones."""
        sure = [choice.place for choice in self._closing + self._boxed]
        return sure, [choice.place for choice in self._stated]

    def final_choice(self) -> str:
        """The letter chosen last, or nothing."""
        alone = self._alone(self.text)
        if alone:
            return alone
        stated = self._boxed + self._stated + self._first_line()
        closing = self._closing
        called = self._meant(self._called_correct())
        last = self._last(closing) or self._last(stated) or self._last(called)
        concluded = self._concluded()
        chosen = self._chosen() + self._equated()
        if last is not None:
            announced = last in closing or last in stated
            if concluded and not announced and concluded.place > last.place:
                return concluded.letter
            if announced:
                chosen += stated + called
            return self._unless_taken_back(last, chosen, announced=announced).letter
        final = max(chosen, key=lambda choice: choice.place, default=None)
        if concluded and (final is None or concluded.place > final.place):
            return concluded.letter
        return final.letter if final else self._unannounced()

    def _last(self, choices: Sequence[_Choice]) -> _Choice | None:
        """The last choice, but for those of another case than the question's."""
        meant = [choice for choice in choices if not self._is_aside(choice)] or choices
        return max(meant, key=lambda choice: choice.place, default=None)

    def _is_aside(self, choice: _Choice) -> bool:
        """Whether a sentence says what *would* be chosen if, or what others choose."""
        before, after = self._sentence(choice.place)
        if DISTRACTING.search(before):
            return True
        return bool(WOULD.search(before) and SUPPOSED.search(before + " " + after))

    def _sentence_start(self, place: int) -> int:
        first = max(0, place - 200)
        ends = SENTENCE_END.finditer(self.text, first, place)
        return max((end.end() for end in ends), default=first)

    def _sentence(self, place: int) -> tuple[str, str]:
        """The sentence around a place: what of it stands before, and what follows."""
        end = SENTENCE_END.search(self.text, place, place + 200)
        return self.text[self._sentence_start(place) : place], self.text[
            place : end.start() if end else place + 200
        ]

    def _unless_taken_back(
        self, last: _Choice, others: Sequence[_Choice], *, announced: bool
    ) -> _Choice:
        """The choice, or the one that a later sentence puts in its place."""
        sign = TAKEN_BACK if announced else CORRECTED
        taken = last
        for choice in sorted(others, key=lambda choice: choice.place):
            if choice.place <= taken.place or self._is_aside(choice):
                continue
            if not taken.letter or sign.search(self.text, taken.place, choice.place):
                taken = choice
        return taken

    def _first_line(self) -> list[_Choice]:
        """A letter alone on the first line, with an explanation after it."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        if len(lines) < 2 or self._alone(lines[1]):
            return []
        letter = self._alone(HEDGE.sub("", lines[0], count=1))
        return [_Choice(0, letter)] if letter else []

    @cached_property
    def _closing(self) -> list[_Choice]:
        """Answers in the closing form that the prompts ask for."""
        found = (self._after_noun(form.end()) for form in CLOSING.finditer(self.text))
        return [choice for choice in found if choice is not None]

    def _meant(self, called: Sequence[_Choice]) -> list[_Choice]:
        """Options called correct, less those to which it is only granted; all where that is all."""
        return [
            one for one in called if not GRANTED.search(" ".join(self._sentence(one.place)))
        ] or list(called)

    def _concluded(self) -> _Choice | None:
        """``So it must be blue.``: a last sentence that concludes in an option's words."""
        text = self.text.rstrip()
        start = max(
            (end.end() for end in SENTENCE_END.finditer(text, 0, max(0, len(text) - 2))), default=0
        )
        sentence = text[start:]
        if not CONCLUDING.match(sentence) or self._mentioned(start, len(text)):
            return None
        if NEGATIVE.search(sentence):
            return None
        said = said_options(sentence, self.options)
        return _Choice(start, said[0]) if len(said) == 1 else None

    def _alone(self, text: str) -> str:
        """The letter of a text that is nothing but a letter."""
        text = text.strip()
        if len(text) > _LONGEST_ALONE:  # the pattern's time grows with the square of the length
            return ""
        found = re.fullmatch(
            r"(?:A:|Q\d*:|\d+[.):])?[\s(\[\"'\x02]*([A-Za-z])[\s)\]\"'\x03.:,!;]*", text
        )
        letter = found.group(1).upper() if found else ""
        return letter if letter in self.letters else ""

    @cached_property
    def _boxed(self) -> list[_Choice]:
        """Answers that the response sets apart."""
        found = []
        for box in re.finditer(r"\x02([^\x02\x03]{0,500})\x03", self.text):
            inside = box.group(1)
            letter = self._alone(inside) or self._one_of(box.start(), box.end())
            letter = letter or named_option(inside, self.options)
            if letter or self._mentioned(box.start(), box.end()):
                found.append(_Choice(box.start(), letter))
        return found

    def _one_of(self, start: int, end: int) -> str:
        letters = self._mentioned(start, end)
        return letters.pop() if len(letters) == 1 else ""

    def _mentioned(self, start: int, end: int) -> set[str]:
        return {m.letter for m in self.mentions if start <= m.start < end}

    @cached_property
    def _stated(self) -> list[_Choice]:
        """``The answer is B`` in its many forms."""
        found = []
        for noun in NOUN.finditer(self.text):
            if re.match(r"[\"')]{0,2}[.!]\s", self.text[noun.end() : noun.end() + 4]):
                start = self._sentence_start(noun.start())
                if self._mentioned(start, noun.start()):
                    continue  # "C is the correct option." ends here
            choice = self._after_noun(noun.end())
            if choice is not None:
                found.append(choice)
        return found

    def _after_noun(self, end: int) -> _Choice | None:
        window = self.text[end : end + 160]
        heads = [0, *(copula.end() for copula in COPULA.finditer(window))][:8]
        for head in heads:
            if NEGATIVE.search(window[:head]) or re.search(r"\.\s", window[:head]):
                break
            choice = self._at(end + head, lower=head > 0)
            if choice is not None:
                return choice
        for head in heads[1:3]:
            choice = self._in_sentence(end + head)
            if choice is not None:
                return choice
        return None

    def _at(self, place: int, *, lower: bool) -> _Choice | None:
        """The choice that stands at ``place``, filler words aside."""
        filler = FILLER.match(self.text, place, place + 120)
        stop = filler.end() if filler else place
        first = bisect.bisect_left(self.mentions, place, key=lambda mention: mention.start)
        for mention in self.mentions[first : first + 20]:
            if place <= mention.start <= stop <= mention.end or (
                place <= mention.start and mention.end <= stop
            ):
                if self._is_denied(mention):
                    return None
                return _Choice(mention.start, self._group(mention))
        if not lower:
            return None
        small = re.match(
            r"([a-z])(?:[).,;:!\"'\]]|\s*$|\s*\n|\s(?:because|since|as|-|\u2014))",
            self.text[stop : stop + 12],
        )
        if small and small.group(1).upper() in self.letters:
            return _Choice(stop, small.group(1).upper())
        return None

    def _group(self, mention: Mention) -> str:
        """The letter of a mention, or nothing where others are joined to it."""
        here = mention.number
        previous = mention
        for other in self.mentions[here + 1 : here + 20]:
            if not JOINED.fullmatch(self.text, previous.end, other.start):
                break
            between = self.text[previous.end : other.start]
            if "\n" in between.strip(" ") or self._opens_note(other):
                break
            if re.match(
                r"\s(?:is|was|would|can|has|does|describes)\b", self.text[other.end :][:12]
            ):
                break
            if self._is_denied(other):
                break
            if other.letter != mention.letter:
                return ""
            previous = other
        return mention.letter

    def _opens_note(self, mention: Mention) -> bool:
        """``B (A and C are wrong)``: a bracket opens before the letter and holds more than it."""
        before, after = self.text[: mention.start].rstrip()[-1:], self.text[mention.end :][:1]
        return before in ("(", "[") and after not in (")", "]")

    def _in_sentence(self, place: int) -> _Choice | None:
        """A choice further into the sentence, in an option's words or with its letter."""
        sentence = self.text[place : place + 300].lstrip()
        start = self.text.find(sentence[:1], place) if sentence else place
        cut = SENTENCE_END.search(sentence)
        end = start + (cut.start() if cut else len(sentence))
        sure = [
            m for m in self.mentions if start <= m.start < end and m.sure and not self._is_denied(m)
        ]
        letters = {m.letter for m in sure}
        if len(letters) == 1:
            return _Choice(sure[0].start, sure[0].letter)
        if re.match(r"(?:not|n't|never)\b", self.text[start:end]):
            return None
        named = named_option(self.text[start:end], self.options)
        if not named and not letters:
            said = said_options(self.text[start:end], self.options)
            named = said[0] if len(said) == 1 else ""
        return _Choice(start, named) if named else None

    def _called_correct(self) -> list[_Choice]:
        """``B is correct`` in its many forms."""
        found = []
        for mention, verdict in self._verdicts():
            if verdict > 0:
                here = mention.number
                before = self.mentions[here - 1] if here else None
                joined = (
                    before is not None
                    and before.letter != mention.letter
                    and JOINED.fullmatch(self.text, before.end, mention.start)
                    and "\n" not in self.text[before.end : mention.start]
                    and "," not in self.text[before.end : mention.start]
                )
                found.append(_Choice(mention.start, "" if joined else mention.letter))
        return found

    def _verdicts(self) -> Iterator[tuple[Mention, int]]:
        """Each mention with what is said of it: 1 correct, -1 wrong, 0 nothing."""
        for number, mention in enumerate(self.mentions):
            following = self.mentions[number + 1 : number + 2]
            limit = following[0].start if following else len(self.text)
            stop = min(limit, mention.end + 160)
            said = said_of(self.text, mention, stop)
            if self._is_denied(mention):
                yield mention, -1
            elif POSITIVE.search(said):
                yield mention, 1
            else:
                yield mention, 0

    def _chosen(self) -> list[_Choice]:
        """``I would go with B``, ``so B``, ``actually, B`` and the like."""
        found = []
        for head in CHOOSING.finditer(self.text):
            if NEGATED_BEFORE.search(self.text[max(0, head.start() - 40) : head.start()]):
                continue
            choice = self._at(head.end(), lower=False)
            if choice is None:
                continue
            turns = head.group().lower() in ("but", "no", "actually", "wait", "only", "so")
            if turns and "\n" in self.text[head.end() : choice.place]:
                continue  # it ends one line, and the letter opens another
            found.append(choice)
        return found

    def _equated(self) -> list[_Choice]:
        """``The one that fits is C.``: the letter ends a sentence, after a verb or a colon."""
        found = []
        for match in EQUATED.finditer(self.text):
            choice = self._at(match.end(), lower=False)
            if choice and re.match(
                r"[)\]\"']?(?:\s*$|[.!]?\s*\n|[.!](?:\s|$))", self._past(choice)
            ):
                found.append(choice)
        return found

    def _past(self, choice: _Choice) -> str:
        return self.text[choice.place + 1 :].removeprefix(choice.letter)[:12]

    def _unannounced(self) -> str:
        """A choice that no sentence announces."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        if not lines:
            return ""
        for line in (lines[-1], lines[0]):
            if self._alone(HEDGE.sub("", line, count=1)):
                return self._alone(HEDGE.sub("", line, count=1))
        verdicts = list(self._verdicts())
        left = set(self.letters) - {m.letter for m, verdict in verdicts if verdict < 0}
        if len(left) == 1:
            return left.pop()
        opening = self._opening(lines)
        if opening:
            return opening
        open_letters = {m.letter for m, verdict in verdicts if verdict == 0 and m.sure}
        if len(open_letters) == 1:
            return open_letters.pop()
        if open_letters:
            return ""
        for part in (self.text, lines[-1]):  # earlier lines may weigh the other options
            said = said_options(part, self.options)
            if len(said) == 1:
                return said[0]
        return ""

    def _opening(self, lines: Sequence[str]) -> str:
        """The letter that one line, and only one, opens with."""
        found = set()
        for line in lines:
            opened = re.match(
                r"[\s>#*-]*(?:[(\[\"']?([A-Z])[)\]\"']|([A-Z])(?=[.:,](?:\s|$)|\s(?:because|"
                r"since)\b|\s[-\u2014\u2013]|\s*$)"
                r"|([a-hj-z])(?=[.):]\s|\s-\s))",
                line,
            )
            letter = next(filter(None, opened.groups()), "").upper() if opened else ""
            if letter and letter in self.letters:
                found.add(letter)
        if len(found) == 1:
            first = next((m for m in self.mentions if m.letter in found), None)
            return self._group(first) if first else found.pop()
        return ""
