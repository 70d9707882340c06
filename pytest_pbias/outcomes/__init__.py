"""The outcome table: one row per identity, task, item and run; every later step reads it.

Everything after collecting can be computed from this table offline. It is stored as Parquet with
a versioned schema; a table of a newer version is refused, never guessed at.
"""

from pytest_pbias.outcomes.arrays import Scores, TaskOutcomes
from pytest_pbias.outcomes.conversion import (
    numbers,
    row_numbers,
    scalar,
    system_memory_pool,
    text_array,
)
from pytest_pbias.outcomes.schema import SCHEMA, SCHEMA_VERSION, grade_to_plain
from pytest_pbias.outcomes.spool import Spool
from pytest_pbias.outcomes.table import OutcomeTable, concatenate, select_defense, stored_texts

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "OutcomeTable",
    "Scores",
    "Spool",
    "TaskOutcomes",
    "concatenate",
    "grade_to_plain",
    "numbers",
    "row_numbers",
    "scalar",
    "select_defense",
    "stored_texts",
    "system_memory_pool",
    "text_array",
]
