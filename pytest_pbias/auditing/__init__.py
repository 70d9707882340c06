"""Audits of a run's judge: a sample for people to label, and what their labels say of the run."""

from pytest_pbias.auditing.correction import TaskAudit, evaluate
from pytest_pbias.auditing.population import LABELS, Answer, answers, draw_sample, questions_of
from pytest_pbias.auditing.sheet import COLUMNS, read_labels, to_csv

__all__ = [
    "COLUMNS",
    "LABELS",
    "Answer",
    "TaskAudit",
    "answers",
    "draw_sample",
    "evaluate",
    "questions_of",
    "read_labels",
    "to_csv",
]
