"""Statistics + margins -> verdict: pass, fail, or one of two kinds of inconclusive."""

from pytest_pbias.gate.axes import (
    AxisOutcomes,
    chance_of_axis,
    chance_of_signal,
    decide_axis,
    decide_axis_at_looks,
    is_at_ceiling,
    is_axis_futile,
)
from pytest_pbias.gate.baseline import can_fall, decide_baseline
from pytest_pbias.gate.cells import (
    compared_with,
    decide_by_policy,
    decide_cell,
    decide_cell_at_looks,
    share_of_controls,
)
from pytest_pbias.gate.policy import (
    DEFAULT_MARGIN,
    DEFAULT_TOLERANCE,
    GatePolicy,
    Mode,
    require_cues,
)
from pytest_pbias.gate.verdict import (
    MOST_CUT_OFF,
    WORST_FIRST,
    AxisVerdict,
    BaselineVerdict,
    CellVerdict,
    NoVerdict,
    Verdict,
    is_settled,
    why_no_verdict,
)
from pytest_pbias.gate.words import cluster_notes, reference_words, strata_claim

__all__ = [
    "DEFAULT_MARGIN",
    "DEFAULT_TOLERANCE",
    "MOST_CUT_OFF",
    "WORST_FIRST",
    "AxisOutcomes",
    "AxisVerdict",
    "BaselineVerdict",
    "CellVerdict",
    "GatePolicy",
    "Mode",
    "NoVerdict",
    "Verdict",
    "can_fall",
    "chance_of_axis",
    "chance_of_signal",
    "cluster_notes",
    "compared_with",
    "decide_axis",
    "decide_axis_at_looks",
    "decide_baseline",
    "decide_by_policy",
    "decide_cell",
    "decide_cell_at_looks",
    "is_at_ceiling",
    "is_axis_futile",
    "is_settled",
    "reference_words",
    "require_cues",
    "share_of_controls",
    "strata_claim",
    "why_no_verdict",
]
