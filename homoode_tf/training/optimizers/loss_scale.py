# SPDX-License-Identifier: Apache-2.0
"""The factor that keeps gradients in half precision from underflowing."""

import tensorflow as tf

_INITIAL = 2.0**15
_LARGEST = 2.0**24


class LossScale:
    """A dynamic loss scale: halved where a gradient overflows, doubled after many that do not.

    Keras's `LossScaleOptimizer` does the same for one optimiser. Here a step that overflows must
    also leave the initial point, the average and batch norm's moments as they were, so the scale
    is decided upon for the step as a whole.

    Args:
        growth_steps: Number of finite steps in a row after which the scale is doubled.

    Attributes:
        value: float32 scalar variable, the scale; from 1 to 2^24.
        finite_steps: int64 scalar variable, finite steps since the scale last changed.

    Reference: Micikevicius et al., "Mixed Precision Training", ICLR 2018,
    https://arxiv.org/abs/1710.03740
    """

    def __init__(self, growth_steps: int = 2000):
        self._growth_steps = growth_steps
        self.value = tf.Variable(_INITIAL, trainable=False, name="loss_scale")
        self.finite_steps = tf.Variable(0, trainable=False, dtype=tf.int64)

    @property
    def is_smallest(self) -> tf.Tensor:
        """Boolean scalar, whether it cannot be halved."""
        return self.value <= 1.0

    def update(self, finite: tf.Tensor) -> None:
        """Takes note of a step.

        Args:
            finite: Boolean scalar, whether all of its gradients were finite.
        """
        steps = tf.where(finite, self.finite_steps + 1, 0)
        grows = steps >= self._growth_steps
        factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
        self.value.assign(tf.clip_by_value(self.value * factor, 1.0, _LARGEST))
        self.finite_steps.assign(tf.where(grows, tf.zeros_like(steps), steps))
