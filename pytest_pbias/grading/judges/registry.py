"""From the names that a user gives to judges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.grading.judges.base import Judge, JudgeModel
from pytest_pbias.grading.judges.plugins import PluginJudge
from pytest_pbias.grading.judges.rules import RulesJudge

DEFAULT_JUDGE = "rules"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")


Maker = Callable[[str, JudgeModel], Judge]


def _rules(argument: str, model: JudgeModel) -> Judge:
    if argument:
        raise ConfigurationError("the judge 'rules' takes nothing after its name")
    return RulesJudge()


def _llm(argument: str, model: JudgeModel) -> Judge:
    from pytest_pbias.grading.judges.llm import make_llm_judge

    return make_llm_judge(argument, model)


def _longformer(argument: str, model: JudgeModel) -> Judge:
    from pytest_pbias.grading.judges.longformer import make_longformer_judge

    return make_longformer_judge(argument, model)


_MAKERS: Mapping[str, Maker] = {"rules": _rules, "longformer": _longformer, "llm": _llm}
BUILT_IN = frozenset(_MAKERS)


def make_judges(wanted: str, model: JudgeModel, plugins: Sequence[Judge] = ()) -> tuple[Judge, ...]:
    """The judges named in ``wanted``, a list with commas such as ``llm:guard,rules``.

    The first gates. ``plugins`` are judges that plug-ins offer.

    Raises:
        ConfigurationError: a name is unknown or there twice, or a judge lacks what it needs.
    """
    names = [name.strip() for name in wanted.split(",")]
    if not all(names):
        raise ConfigurationError(
            f"no judge is named at one place of {quoted(wanted)}"
            if any(names)
            else "no judge is named"
        )
    judges = tuple(_make(name, model, {judge.name: judge for judge in plugins}) for name in names)
    seen: set[str] = set()
    for judge in judges:
        if judge.name in seen:
            raise ConfigurationError(f"the judge {judge.name!r} is named twice")
        seen.add(judge.name)
    return judges


def _make(name: str, model: JudgeModel, plugins: Mapping[str, Judge]) -> Judge:
    if name in plugins:
        return plugins[name]
    kind, colon, argument = name.partition(":")
    if colon and not argument.strip():
        raise ConfigurationError(
            f"the judge {quoted(name)} has nothing after its colon, as with an unset variable: "
            "say what, or leave the colon out"
        )
    if kind not in _MAKERS:
        known = [*_MAKERS, *plugins]
        raise ConfigurationError(f"unknown judge {quoted(name)}: {near_matches(name, known)}")
    return _MAKERS[kind](argument, model)


def validate_judges(offered: Iterable[Any]) -> tuple[Judge, ...]:
    """Judges of plug-ins, checked; what goes wrong in them later is one line.

    Raises:
        ConfigurationError: one is no judge, or has a name that is taken or cannot be given.
    """
    judges: dict[str, Judge] = {}
    for thing in offered:
        name, version = getattr(thing, "name", None), getattr(thing, "version", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"pytest_pbias_judges: {_shown(thing)} has no usable name: letters, digits, "
                f"'.', '-' and '_', not {name!r}"
            )
        if not isinstance(version, str) or not version.strip():
            raise ConfigurationError(
                f"pytest_pbias_judges: judge {name!r} has no version; give it a text that changes "
                "whenever its verdicts could"
            )
        if not callable(getattr(thing, "judge", None)):
            raise ConfigurationError(
                f"pytest_pbias_judges: judge {name!r} has no method judge(exchanges, criterion)"
            )
        if name in judges or name in _MAKERS:
            raise ConfigurationError(f"pytest_pbias_judges: the name {name!r} is taken")
        judges[name] = PluginJudge(cast("Judge", thing))
    return tuple(judges.values())


def _shown(thing: Any) -> str:
    return f"an object of class {type(thing).__name__}"
