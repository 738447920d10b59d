# SPDX-License-Identifier: Apache-2.0
"""How far models are from one of them, and how sure that is."""

import math
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow_probability as tfp

from homoode_tf.checks import check_choice

_QUANTILE = np.float64(0.975)


class Difference(NamedTuple):
    """A mean of differences, and how far the true one may be from it.

    Attributes:
        mean: Of the test accuracies' differences over the seeds that both models have.
        half_width: Of the 95 % confidence interval by Student's t; None for less than two seeds.
    """

    mean: float
    half_width: float | None


def against(results: Mapping[str, Any], name: str) -> dict[str, Difference | None]:
    """Compares each model's test accuracy with that of one of them, seed by seed.

    A seed decides the order of the data, which models share, so that pairs vary less than runs do.

    Args:
        results: What `results.summarise` returns.
        name: The model with which the others are compared.

    Returns:
        For each model how much higher its accuracy is; None for the model itself, and where no seed
        has ended with both.

    Raises:
        InvalidValueError: If there is no such model.

    Example:
        >>> models = {"a": {"by_seed": {0: 0.90, 1: 0.92}}, "b": {"by_seed": {0: 0.91, 1: 0.94}}}
        >>> found = against({"models": models}, "a")
        >>> round(found["b"].mean, 3), round(found["b"].half_width, 3)
        (0.015, 0.064)
    """
    models = results["models"]
    check_choice("--against", name, list(models))
    base = models[name]["by_seed"]
    found: dict[str, Difference | None] = {}
    for other, row in models.items():
        pairs = [row["by_seed"][seed] - base[seed] for seed in base if seed in row["by_seed"]]
        found[other] = _difference(pairs) if pairs and other != name else None
    return found


def _difference(pairs: list[float]) -> Difference:
    freedom = len(pairs) - 1
    if not freedom:
        return Difference(pairs[0], None)
    error = statistics.stdev(pairs) / math.sqrt(len(pairs))
    student = tfp.distributions.StudentT(np.float64(freedom), np.float64(0), np.float64(1))
    return Difference(statistics.fmean(pairs), float(student.quantile(_QUANTILE)) * error)
