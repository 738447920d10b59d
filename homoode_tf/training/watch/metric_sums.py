# SPDX-License-Identifier: Apache-2.0
"""Sums of metrics that stay on the device until somebody asks."""

from typing import Any

import tensorflow as tf

FIELDS = (
    "steps",
    "examples",
    "loss",
    "correct",
    "added_loss",
    "nfe_forward",
    "nfe_backward",
)


class MetricSums:
    """Adds up what each step yields; asking for the means is the only wait for the device.

    Attributes:
        variable: float32 variable of shape (len(FIELDS),), for checkpoints.
    """

    def __init__(self, name: str):
        self.variable = tf.Variable(tf.zeros(len(FIELDS)), trainable=False, name=name)

    def add(self, sums: tf.Tensor) -> None:
        """Adds one step's sums over the global batch, in the order of `FIELDS`."""
        self.variable.assign_add(sums)

    def reset(self) -> None:
        """Starts again from zero."""
        self.variable.assign(tf.zeros(len(FIELDS)))

    def means(self) -> dict[str, Any]:
        """Returns the means: of loss and accuracy over examples, of the others over steps.

        A mean of nothing is None.
        """
        steps, examples, loss, correct, *others = map(float, self.variable.numpy())
        return {
            "steps": int(steps),
            "examples": int(examples),
            "loss": _mean(loss, examples),
            "accuracy": _mean(correct, examples),
            **{name: _mean(total, steps) for name, total in zip(FIELDS[4:], others, strict=True)},
        }


def _mean(total: float, number: float) -> float | None:
    return total / number if number else None
