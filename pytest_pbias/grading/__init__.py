"""Judging answers: choices, numbers, free forms, code in a sandbox, refusals."""

from pytest_pbias.grading.answers import extract_choice, extract_freeform, extract_number
from pytest_pbias.grading.base import Grade, Grader
from pytest_pbias.grading.graders import cannot_grade, extract_code, grader_for
from pytest_pbias.grading.refusal import is_refusal
from pytest_pbias.grading.sandbox import SandboxStatus, probe

__all__ = [
    "Grade",
    "Grader",
    "SandboxStatus",
    "cannot_grade",
    "extract_choice",
    "extract_code",
    "extract_freeform",
    "extract_number",
    "grader_for",
    "is_refusal",
    "probe",
]
