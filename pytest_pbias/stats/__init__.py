"""Pure functions on arrays: rates, paired differences, personalization bias, tests."""

from pytest_pbias.stats.agreement import AgreementResult, cohen_kappa, krippendorff_alpha
from pytest_pbias.stats.arrays import item_means
from pytest_pbias.stats.bias import (
    PersonalizationBiasResult,
    joint_personalization_bias,
    personalization_bias,
)
from pytest_pbias.stats.bias_power import BiasPowerPlan, plan_bias_power
from pytest_pbias.stats.compare import (
    ChangeResult,
    ItemMatch,
    bias_change,
    difference_in_differences,
    interaction_contrast,
    match_items,
    paired_bias_change,
)
from pytest_pbias.stats.cues import (
    CueEffectResult,
    EffectCorrelation,
    cue_contrast,
    cue_effect,
    effect_correlation,
    heterogeneity_pvalue,
)
from pytest_pbias.stats.drift import (
    Contrast,
    DriftResult,
    bias_drift,
    cell_drift,
    contrast_level,
    contrasts,
    value_drift,
)
from pytest_pbias.stats.gaps import GapResult, contributions, gap
from pytest_pbias.stats.hypothesis_tests import (
    TestResult,
    UnparsableResult,
    benjamini_hochberg,
    holm,
    items_to_settle,
    omnibus_permutation,
    unparsable_difference,
)
from pytest_pbias.stats.judge_error import CorrectedRate, JudgeAudit, corrected_bias, corrected_rate
from pytest_pbias.stats.looks import (
    AxisLook,
    Look,
    axis_looks,
    cell_looks,
    is_futile,
    predicted_verdict,
)
from pytest_pbias.stats.paired import (
    PairedDifferenceResult,
    mcnemar_midp,
    net_change_pvalue,
    paired_difference,
    tango_interval,
)
from pytest_pbias.stats.power import (
    PowerPlan,
    items_to_fail,
    minimum_detectable_effect,
    plan_power,
    required_items,
)
from pytest_pbias.stats.rates import Interval, RateResult, rate, wilson_interval
from pytest_pbias.stats.tradeoff import (
    CorrelationResult,
    Ellipse,
    confidence_ellipse,
    correlation,
    pareto_front,
)

__all__ = [
    "AgreementResult",
    "AxisLook",
    "BiasPowerPlan",
    "ChangeResult",
    "Contrast",
    "CorrectedRate",
    "CorrelationResult",
    "CueEffectResult",
    "DriftResult",
    "EffectCorrelation",
    "Ellipse",
    "GapResult",
    "Interval",
    "ItemMatch",
    "JudgeAudit",
    "Look",
    "PairedDifferenceResult",
    "PersonalizationBiasResult",
    "PowerPlan",
    "RateResult",
    "TestResult",
    "UnparsableResult",
    "axis_looks",
    "benjamini_hochberg",
    "bias_change",
    "bias_drift",
    "cell_drift",
    "cell_looks",
    "cohen_kappa",
    "confidence_ellipse",
    "contrast_level",
    "contrasts",
    "contributions",
    "corrected_bias",
    "corrected_rate",
    "correlation",
    "cue_contrast",
    "cue_effect",
    "difference_in_differences",
    "effect_correlation",
    "gap",
    "heterogeneity_pvalue",
    "holm",
    "interaction_contrast",
    "is_futile",
    "item_means",
    "items_to_fail",
    "items_to_settle",
    "joint_personalization_bias",
    "krippendorff_alpha",
    "match_items",
    "mcnemar_midp",
    "minimum_detectable_effect",
    "net_change_pvalue",
    "omnibus_permutation",
    "paired_bias_change",
    "paired_difference",
    "pareto_front",
    "personalization_bias",
    "plan_bias_power",
    "plan_power",
    "predicted_verdict",
    "rate",
    "required_items",
    "tango_interval",
    "unparsable_difference",
    "value_drift",
    "wilson_interval",
]
