# SPDX-License-Identifier: Apache-2.0
"""Proportional-integral control of the step size."""

import dataclasses
import math

import tensorflow as tf

from homoode_tf.checks import check_number

_SMALLEST_RATIO = 1e-10


@dataclasses.dataclass(frozen=True)
class PIController:
    """Proportional-integral control of the step size.

    factor = safety * ratio^(-alpha) * previous_ratio^beta with alpha = 1/(q+1) - 0.75 beta,
    beta = 0.2/(q+1), q the order of the embedded solution; after a rejection beta's term is left
    out. The factor stays within [min_factor, max_factor], and is at most 1 after a rejection.

    Reference: Gustafsson (1991), doi:10.1145/210232.210242; Hairer and Wanner, II, IV.2.
    """

    error_order: int
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0

    def __post_init__(self) -> None:
        """Checks the factors."""
        for name, value in {
            "safety_factor": self.safety,
            "min_step_size_factor": self.min_factor,
        }.items():
            check_number(name, value, above=0, below=1)
        if not (isinstance(self.max_factor, float) and self.max_factor == math.inf):
            check_number("max_step_size_factor", self.max_factor, above=1)

    def factor(
        self, ratio: tf.Tensor, previous_ratio: tf.Tensor, after_rejection: tf.Tensor
    ) -> tf.Tensor:
        """Factor by which the size of the step just tried is to change."""
        exponent = 1.0 / (self.error_order + 1)
        beta = 0.2 * exponent
        # What is no number shrinks the step as much as an infinite ratio does.
        infinity = tf.constant(math.inf, ratio.dtype)
        ratio = tf.where(tf.math.is_nan(ratio), infinity, tf.maximum(ratio, _SMALLEST_RATIO))
        accepted = ratio <= 1.0
        factor = self.safety * tf.where(
            accepted,
            ratio ** (0.75 * beta - exponent) * previous_ratio**beta,
            ratio**-exponent,
        )
        ceiling = tf.where(
            after_rejection | ~accepted,
            tf.ones_like(factor),
            tf.constant(self.max_factor, factor.dtype),
        )
        return tf.clip_by_value(factor, self.min_factor, ceiling)

    def propose(self, step_size: tf.Tensor, taken: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        """Next step size, after a step of length `taken` that the end time may have cut short.

        A step cut so short that its factor reaches the limit says nothing against the
        suggestion that was cut.
        """
        return tf.where(
            (factor >= self.max_factor) & (taken < step_size),
            tf.maximum(step_size, taken * factor),
            taken * factor,
        )
