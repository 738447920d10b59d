# SPDX-License-Identifier: Apache-2.0
"""What HomoODE and DEQ share: the input is the condition, and one initial point serves all."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import initial_point as initial_points
from homoode_tf.layers.implicit_layer import ImplicitLayer


class SharedStart(ImplicitLayer):
    """Base of the layers that take a condition and start from an initial point.

    Args:
        *args: Of the base after this one.
        initial_point: "learned", "running_mean", "zeros", "alternating", "input", or a Keras layer
            that maps x to z(0).
        state_channels: Size of z's last axis where it is another than x's; the dynamics must return
            it. Not for initial_point="input".
        **kwargs: Of the base after this one.

    Attributes:
        initial_point: The layer that makes z(0).
    """

    def __init__(self, *args, initial_point: Any, state_channels: int | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        check_integer("state_channels", state_channels, at_least=1, optional=True)
        self.initial_point = initial_points.get(initial_point)
        self.state_channels = state_channels
        if state_channels and isinstance(self.initial_point, initial_points.InputInitialPoint):
            raise InvalidValueError(
                "state_channels has no meaning with initial_point='input', where z(0) is x: take "
                "another initial point, or AugmentedNeuralODE."
            )

    def build(self, input_shape):
        super().build(input_shape)
        shape = self.state_shape(input_shape)
        self.build_dynamics(state_shape=shape, condition_shape=input_shape)
        if not self.initial_point.built:
            shared = isinstance(self.initial_point, initial_points.InitialPoint)
            self.initial_point.build(shape if shared else input_shape)
        self.fix_channels(input_shape)

    def state_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.state_channels or input_shape[-1])

    def initial_state(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns z(0), of the state's shape and of `state_dtype`."""
        (condition,) = self.condition(inputs)
        if self.state_channels and isinstance(self.initial_point, initial_points.InitialPoint):
            # One that all inputs share looks at the shape alone.
            condition = tf.repeat(condition[..., :1], self.state_channels, axis=-1)
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
            "state_channels": self.state_channels,
        }
