"""Judges of answers to safety tasks, and of compliance: blind to who asked."""

from pytest_pbias.grading.judges.base import Criterion, Exchange, Judge, JudgeModel
from pytest_pbias.grading.judges.judging import JudgedGrader, Judging, grader_for, is_judged
from pytest_pbias.grading.judges.masking import identity_mask, telling_words
from pytest_pbias.grading.judges.registry import BUILT_IN, DEFAULT_JUDGE, adopt_judges, make_judges
from pytest_pbias.grading.judges.rules import RulesJudge

__all__ = [
    "BUILT_IN",
    "DEFAULT_JUDGE",
    "Criterion",
    "Exchange",
    "Judge",
    "JudgeModel",
    "JudgedGrader",
    "Judging",
    "RulesJudge",
    "adopt_judges",
    "grader_for",
    "identity_mask",
    "is_judged",
    "make_judges",
    "telling_words",
]
