"""Reading the final answer off a response: a choice, a number, a short free form, a program.

The last statement of an answer wins, because models change their mind while they reason; a
response that gives no answer, or two at once, has none. Every pattern is linear in the length of
the response, of which the last 20,000 characters are read.
"""

from __future__ import annotations

from pytest_pbias.grading.answers.choice import extract_choice
from pytest_pbias.grading.answers.freeform import extract_freeform, matches_target
from pytest_pbias.grading.answers.number import extract_number

__all__ = ["extract_choice", "extract_freeform", "extract_number", "matches_target"]
