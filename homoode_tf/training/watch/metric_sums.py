# SPDX-License-Identifier: Apache-2.0
"""Sums of metrics that stay on the device until somebody asks."""

from collections.abc import Mapping

import tensorflow as tf

FIELDS = (
    "steps",
    "examples",
    "loss",
    "correct",
    "initial_point_loss",
    "nfe_forward",
    "nfe_backward",
)


class Totals:
    """Adds up what each step yields; reading them is the only wait for the device.

    Attributes:
        variable: float32 tensor of shape (len(FIELDS),), for checkpoints.
    """

    def __init__(self, name: str):
        self.variable = tf.Variable(tf.zeros(len(FIELDS)), trainable=False, name=name)

    def add(self, sums: tf.Tensor) -> None:
        """Adds one step's sums over the global batch, in the order of `FIELDS`."""
        self.variable.assign_add(sums)

    def reset(self) -> None:
        """Starts again from zero."""
        self.variable.assign(tf.zeros(len(FIELDS)))

    def read(self) -> Mapping[str, float]:
        """Returns the means: of loss and accuracy over examples, of the others over steps."""
        sums = dict(zip(FIELDS, map(float, self.variable.numpy()), strict=True))
        examples, steps = max(sums["examples"], 1.0), max(sums["steps"], 1.0)
        return {
            "steps": int(sums["steps"]),
            "examples": int(sums["examples"]),
            "loss": sums["loss"] / examples,
            "accuracy": sums["correct"] / examples,
            "initial_point_loss": sums["initial_point_loss"] / steps,
            "nfe_forward": sums["nfe_forward"] / steps,
            "nfe_backward": sums["nfe_backward"] / steps,
        }
