# SPDX-License-Identifier: Apache-2.0
"""Exponential moving average of a model's variables."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class WeightAverage:
    """Keeps a = m a + (1 - m) w for each variable w, from a given step on.

    Until `start_step` the average is the variable itself, so that it needs no correction for its
    first value: after n > s = start_step updates ::

        a(n) = m^(n - s) w(s) + (1 - m) sum over i = s + 1 .. n of m^(n - i) w(i)

    Keras's optimisers average from the first step on (`use_ema`), and not batch norm's moments.

    Args:
        variables: Floating-point variables, trainable or not: batch norm's running moments
            belong to the weights that made them, and are averaged with them.
        momentum: m, in [0, 1).
        start_step: s.

    Attributes:
        variables: The variables, as TensorFlow's.
        averages: Their averages, in the same order.
    """

    def __init__(self, variables: Sequence[keras.Variable], momentum: float, start_step: int = 0):
        self.variables = [variable.value for variable in variables]
        self._momentum = float(momentum)
        self._start_step = int(start_step)
        self.averages = [
            tf.Variable(variable, trainable=False, name=f"average_of_{variable.name.split(':')[0]}")
            for variable in self.variables
        ]

    def reset(self) -> None:
        """Makes the averages what the variables are, as they were when this was made."""
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(variable)

    def update(self, step: tf.Tensor) -> None:
        """Takes in the variables after update number `step`; called in replica context."""
        momentum = tf.where(step > self._start_step, self._momentum, 0.0)
        for average, variable in zip(self.averages, self.variables, strict=True):
            weight = tf.cast(momentum, average.dtype)
            average.assign(weight * average + (1.0 - weight) * variable)

    def exchange(self) -> None:
        """Swaps the variables' values and their averages; called in replica context."""
        for average, variable in zip(self.averages, self.variables, strict=True):
            kept = tf.identity(average)
            average.assign(variable)
            variable.assign(kept)
