"""Judges of answers to safety tasks, and of compliance: blind to who asked."""

from pytest_pbias.grading.judges.base import Criterion, Exchange, Judge, JudgeModel
from pytest_pbias.grading.judges.judging import JudgedGrader, Judging, grader_for, needs_judge
from pytest_pbias.grading.judges.masking import identity_mask, identity_terms
from pytest_pbias.grading.judges.registry import (
    BUILT_IN,
    DEFAULT_JUDGE,
    make_judges,
    validate_judges,
)
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
    "grader_for",
    "identity_mask",
    "identity_terms",
    "make_judges",
    "needs_judge",
    "validate_judges",
]
