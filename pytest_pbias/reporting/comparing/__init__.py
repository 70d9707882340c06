"""Two runs side by side: is the new one better or worse, question by question?"""

from pytest_pbias.reporting.comparing.beside import ComparedRun, compare_beside
from pytest_pbias.reporting.comparing.compare import compare_runs
from pytest_pbias.reporting.comparing.expression import (
    ConditionOutcome,
    GateOutcome,
    judge_comparison,
    judge_expression,
    parse_expression,
)
from pytest_pbias.reporting.comparing.html import (
    comparison_page,
    comparison_section,
    comparison_tables,
)
from pytest_pbias.reporting.comparing.pairing import (
    PairedRuns,
    PairedTask,
    of_one_defense,
    pair_runs,
)
from pytest_pbias.reporting.comparing.render import (
    comparison_json,
    comparison_markdown,
    comparison_terminal,
)
from pytest_pbias.reporting.comparing.result import (
    AxisComparison,
    CellChange,
    Comparison,
    Direction,
    RateChange,
    TaskComparison,
)
from pytest_pbias.reporting.comparing.setup import SetupDifference

__all__ = [
    "AxisComparison",
    "CellChange",
    "ComparedRun",
    "Comparison",
    "ConditionOutcome",
    "Direction",
    "GateOutcome",
    "PairedRuns",
    "PairedTask",
    "RateChange",
    "SetupDifference",
    "TaskComparison",
    "compare_beside",
    "compare_runs",
    "comparison_json",
    "comparison_markdown",
    "comparison_page",
    "comparison_section",
    "comparison_tables",
    "comparison_terminal",
    "judge_comparison",
    "judge_expression",
    "of_one_defense",
    "pair_runs",
    "parse_expression",
]
