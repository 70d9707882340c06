"""Judging answers: choices, numbers, free forms, code in a sandbox, refusals."""

from pytest_pbias.grading.answers.choice import extract_choice
from pytest_pbias.grading.answers.freeform import extract_freeform
from pytest_pbias.grading.answers.number import extract_number
from pytest_pbias.grading.answers.programs import extract_code
from pytest_pbias.grading.base import Graded, Grader, Ungraded, require_grades
from pytest_pbias.grading.graders import cannot_grade
from pytest_pbias.grading.judges import Judging, grader_for, needs_judge
from pytest_pbias.grading.refusal import is_refusal
from pytest_pbias.grading.sandbox import SandboxStatus, probe
from pytest_pbias.tasks.base import Grade

__all__ = [
    "Grade",
    "Graded",
    "Grader",
    "Judging",
    "SandboxStatus",
    "Ungraded",
    "cannot_grade",
    "extract_choice",
    "extract_code",
    "extract_freeform",
    "extract_number",
    "grader_for",
    "is_refusal",
    "needs_judge",
    "probe",
    "require_grades",
]
