"""In which language and script a text is written, offline, where there is enough of it to tell."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_WORD = re.compile(r"[^\W\d_]+")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_READ = 4_000  # characters
_FEWEST_WORDS = 8
_FEWEST_ENGLISH = 3  # words of a short question
_PARTLY_ENGLISH = 2  # different words by which a question is, in part, in English
_SURE = 0.6  # probability below which a language is not told
# Without those that other languages write alike (a, in, on, so, was, ...).
_COMMONEST = (
    "the of and to it that you for i with be are this not can have from by your my they but if "
    "what how their when where who why which were has does did there these should would could"
)
_ENGLISH = frozenset(_COMMONEST.split())
_ENGLISH_SHARE = 0.15
_NOT = re.compile(r"n['\u2019]t\b", re.IGNORECASE)  # of "don't": no other language has it
# Latin, Greek, ... by the first word of a letter's Unicode name.
_ALIKE = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}
_FEWEST_LETTERS = 4
# The languages that are told apart: among more, names and loops pass for rare ones.
_LANGUAGES = {
    "ar": "arabic", "bn": "bengali", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french",
    "he": "hebrew", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "it": "italian",
    "ja": "japanese", "ko": "korean", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "sw": "swahili",
    "ta": "tamil", "th": "thai", "tl": "tagalog", "tr": "turkish", "uk": "ukrainian",
    "ur": "urdu", "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip
_ASKED_FOR = re.compile(
    rf"\b(?:translat\w*|languages?|{'|'.join(_LANGUAGES.values())})\b", re.IGNORECASE
)


@lru_cache(maxsize=8)  # asked by several, of one answer after the other
def in_another_language(question: str, answer: str) -> bool:
    """Whether the answer is in another language or script than the question.

    Not where the question names a language or asks for a translation, nor where either is too
    short to tell. An English answer to a question that is partly in English is in its language.
    """
    if _names_a_language(question):
        return False
    script = _script(answer)
    if script is not None and question and script not in _scripts(question):
        return True
    answered = language_of(answer)
    if answered is None or (answered == "en" and _partly_english(question)):
        return False
    asked = language_of(question)
    return asked is not None and answered != asked


@lru_cache(maxsize=4096)
def _names_a_language(question: str) -> bool:
    return _ASKED_FOR.search(question) is not None


@lru_cache(maxsize=4096)
def _partly_english(question: str) -> bool:
    """Whether a question has English words that other languages lack, be they few among names.

    The identifier, which takes a second and 120 MB to load, need not be asked of it then.
    """
    words = {word.lower() for word in _WORD.findall(question[:_READ])}
    return len(words & _ENGLISH) >= _PARTLY_ENGLISH or _NOT.search(question) is not None


@lru_cache(maxsize=4096)
def language_of(text: str) -> str | None:
    """The ISO 639 code of a text's language; None for a short one, code and figures.

    English is told by its commonest words, so that the identifier is asked about other texts only.
    """
    words = [word.lower() for word in _WORD.findall(_CODE.sub(" ", text[:_READ]))]
    english = sum(word in _ENGLISH for word in words)
    if english >= _ENGLISH_SHARE * len(words) and len(words) >= _FEWEST_ENGLISH:
        return "en"
    if len(words) < _FEWEST_WORDS:
        return None
    language, probability = _identifier().classify(" ".join(words))
    return str(language) if probability >= _SURE else None


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_LANGUAGES))
    return identifier


@lru_cache(maxsize=4096)
def _script(text: str) -> str | None:
    """The script of most of a text's letters, None where they are few."""
    letters = _scripts(text)
    total = sum(letters.values())
    if total < _FEWEST_LETTERS:
        return None
    script, count = letters.most_common(1)[0]
    return script if 2 * count > total else None


@lru_cache(maxsize=4096)
def _scripts(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    if text.isascii():
        return Counter(LATIN=sum(map(str.isalpha, text[:_READ])))
    return Counter(_script_of(letter) for letter in text[:_READ] if letter.isalpha())


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    first = unicodedata.name(letter, "?").partition(" ")[0]
    return _ALIKE.get(first, first)
