"""Pure functions on arrays: rates, paired differences, personalization bias, tests."""

from pytest_pbias.stats.bias import (
    PersonalizationBiasResult,
    joint_personalization_bias,
    personalization_bias,
)
from pytest_pbias.stats.paired import (
    PairedDifferenceResult,
    mcnemar_midp,
    paired_difference,
    tango_interval,
)
from pytest_pbias.stats.rates import Interval, RateResult, rate, wilson_interval
from pytest_pbias.stats.tests import (
    TestResult,
    benjamini_hochberg,
    cochran_q,
    holm,
    items_to_settle,
    omnibus_permutation,
)

__all__ = [
    "Interval",
    "PairedDifferenceResult",
    "PersonalizationBiasResult",
    "RateResult",
    "TestResult",
    "benjamini_hochberg",
    "cochran_q",
    "holm",
    "items_to_settle",
    "joint_personalization_bias",
    "mcnemar_midp",
    "omnibus_permutation",
    "paired_difference",
    "personalization_bias",
    "rate",
    "tango_interval",
    "wilson_interval",
]
