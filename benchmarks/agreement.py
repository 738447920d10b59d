# SPDX-License-Identifier: Apache-2.0
"""Whether peers compute the same: largest differences over all pairs."""

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

LOGITS_TOLERANCE = 1e-3  # absolute
GRADIENT_TOLERANCE = 1e-2  # relative, in the norm of all weights together
# The same, where one of the two multiplies in bfloat16.
BFLOAT16_LOGITS_TOLERANCE = 5e-2
BFLOAT16_GRADIENT_TOLERANCE = 0.25
LOSS_TOLERANCE = 2e-2  # relative
# A loss of one batch is noisy; this many are averaged.
_LOSSES = 10


def logits_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the largest absolute difference."""
    return float(np.max(np.abs(first - second)))


def gradient_difference(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> float:
    """Returns |g1 - g2| / max(|g1|, |g2|), the norms over all weights together.

    Raises:
        ValueError: If the two do not hold the same weights.
    """
    if first.keys() != second.keys():
        unequal = sorted(first.keys() ^ second.keys())
        raise ValueError(f"Both gradients must be of the same weights; only one has {unequal}.")

    def norm(arrays):
        return np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in arrays))

    difference = norm(first[name].astype(np.float64) - second[name] for name in first)
    return float(difference / max(norm(first.values()), norm(second.values())))


def compare(
    results: Mapping[str, Mapping[str, np.ndarray]], bfloat16: Collection[str] = ()
) -> list[dict]:
    """Compares every two peers.

    Args:
        results: For each peer its gradients by name, and its logits under "logits".
        bfloat16: Peers that multiply in bfloat16.

    Returns:
        One row a pair: "first", "second", "logits", "gradient", "bfloat16", and "agree".
    """
    rows = []
    for (first, a), (second, b) in itertools.combinations(results.items(), 2):
        logits = logits_difference(a["logits"], b["logits"])
        gradient = gradient_difference(_gradients(a), _gradients(b))
        half = first in bfloat16 or second in bfloat16
        by_logits = BFLOAT16_LOGITS_TOLERANCE if half else LOGITS_TOLERANCE
        by_gradient = BFLOAT16_GRADIENT_TOLERANCE if half else GRADIENT_TOLERANCE
        # Written so that a NaN does not agree with anything.
        agree = logits <= by_logits and gradient <= by_gradient
        rows.append(
            {
                "first": first,
                "second": second,
                "logits": logits,
                "gradient": gradient,
                "bfloat16": half,
                "agree": agree,
            }
        )
    return rows


def mean_loss(losses: Sequence[float], num_steps: int) -> float:
    """Returns the mean training loss of the last ten of the first `num_steps` steps."""
    return float(np.mean(losses[max(0, num_steps - _LOSSES) : num_steps]))


def loss_spread(losses: Mapping[str, float]) -> float:
    """Returns the largest relative difference between any two peers' losses."""
    values = list(losses.values())
    return (max(values) - min(values)) / min(values)


def _gradients(result):
    return {name: value for name, value in result.items() if name != "logits"}
