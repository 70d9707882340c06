"""Does it depend on the identity whether an answer can be read at all?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Labels, table_means
from pytest_pbias.stats.hypothesis_tests import omnibus_permutation


@dataclass(frozen=True, slots=True)
class UnparsableResult:
    """Unparsable rates, percentage points, shape (identities,), and whether they differ.

    ``worst`` is the row with the highest rate.
    """

    rates: tuple[float, ...]
    worst: int
    pvalue: float


def unparsable_difference(
    unparsable: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    n_permutations: int = 9999,
    clusters: Labels | None = None,
) -> UnparsableResult:
    """Test that identities' answers are equally often unreadable.

    ``unparsable`` has shape (identities, items[, repeats]): 1 where an answer could not be parsed,
    NaN where it is missing. The test is :func:`omnibus_permutation`: a grader that fails more often
    under one identity is a bias of the instrument, or of the model's manner of answering.

    Raises:
        ValueError: wrong shape, values outside [0, 1], or an identity without any answer.
    """
    means = table_means(unparsable)
    if not (~np.isnan(means)).any(axis=1).all():
        raise ValueError("every identity needs at least one answer")
    rates = 100 * np.nanmean(means, axis=1)
    test = omnibus_permutation(
        unparsable, rng=rng, n_permutations=n_permutations, clusters=clusters
    )
    return UnparsableResult(tuple(rates.tolist()), int(rates.argmax()), test.pvalue)
