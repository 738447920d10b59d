# SPDX-License-Identifier: Apache-2.0
"""What HomoODE and DEQ share: the input is the condition, and one initial point serves all."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.layers import initial_point as initial_points
from homoode_tf.layers.implicit_layer import ImplicitLayer


class SharedStart(ImplicitLayer):
    """Base of the layers that take a condition and start from an initial point.

    Args:
        *args: Of the base after this one.
        initial_point: "learned", "running_mean", "zeros", "alternating", "input", or a Keras layer
            that maps x to z(0) of the same shape.
        **kwargs: Of the base after this one.

    Attributes:
        initial_point: The layer that makes z(0).
    """

    def __init__(self, *args, initial_point: Any, **kwargs):
        super().__init__(*args, **kwargs)
        self.initial_point = initial_points.get(initial_point)

    def build(self, input_shape):
        super().build(input_shape)
        self.build_dynamics(state_shape=input_shape, condition_shape=input_shape)
        if not self.initial_point.built:
            self.initial_point.build(input_shape)
        self.fix_channels(input_shape)

    def initial_state(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns z(0), of the inputs' shape and of `state_dtype`."""
        (condition,) = self.condition(inputs)
        return tf.cast(self.initial_point(condition), self.state_dtype)

    def observe(self, solution: Any, training: bool) -> list[tf.Tensor]:
        """Lets the initial point learn from the solutions of a training batch, too."""
        losses = super().observe(solution, training)
        point = self.initial_point
        if training and isinstance(point, initial_points.InitialPoint) and point.trainable:
            loss = self.initial_point.observe(solution.final_state)
            return losses if loss is None else [*losses, loss]
        return losses

    def get_config(self):
        return {
            **super().get_config(),
            "initial_point": keras.saving.serialize_keras_object(self.initial_point),
        }
