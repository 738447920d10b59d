# SPDX-License-Identifier: Apache-2.0
"""What HomoODE and DEQ share: the input is the condition, and one initial point serves all."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import initial_point as initial_points
from homoode_tf.layers import nested_initial_point, structure
from homoode_tf.layers.implicit_layer import ImplicitLayer


class SharedStart(ImplicitLayer):
    """Base of the layers that take a condition and start from an initial point.

    Args:
        *args: Of the base after this one.
        initial_point: "learned", "running_mean", "zeros", "alternating", "input", or a Keras layer
            that maps x to z(0). By name each tensor of a nested condition has one of its own; with
            a layer z is of the structure and the shapes that it returns.
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
        self.initial_point = nested_initial_point.fitting(self.initial_point, input_shape)
        shape = self.state_shape(input_shape)
        self.build_dynamics(state_shape=shape, condition_shape=input_shape)
        if not self.initial_point.built:
            shared = isinstance(self.initial_point, initial_points.InitialPoint)
            self.initial_point.build(shape if shared else input_shape)
        self.fix_channels(input_shape)

    def state_shape(self, input_shape: Any) -> Any:
        known = (initial_points.InitialPoint, initial_points.InputInitialPoint)
        if not isinstance(self.initial_point, known):
            inputs = structure.symbolic(input_shape, self.state_dtype.name)
            return self._check_channels(structure.shapes(self.initial_point(inputs)))
        if not self.state_channels:
            return super().state_shape(input_shape)
        if structure.is_nest_of_shapes(input_shape):
            raise InvalidValueError(
                "state_channels has no meaning where the condition is a nest of tensors: give as "
                "initial_point a Keras layer that maps it to z(0)."
            )
        structure.check_channels("state_channels", input_shape)
        return (*input_shape[:-1], self.state_channels)

    def _check_channels(self, shape: Any) -> Any:
        """The shape that the user's own initial point returns."""
        sizes = {each[-1] for each in structure.flat_shapes(shape)}
        if self.state_channels and sizes != {self.state_channels}:
            raise InvalidValueError(
                f"state_channels={self.state_channels}, but the initial point "
                f"{self.initial_point.name!r} returns {shape}: leave out one of them."
            )
        return shape

    def initial_state(self, inputs: Any) -> Any:
        """Returns z(0), of the state's structure and shape and of `state_dtype`."""
        condition = tf.nest.pack_sequence_as(inputs, self.condition(inputs))
        if self.state_channels and isinstance(self.initial_point, initial_points.InitialPoint):
            # One that all inputs share looks at the shape alone.
            condition = tf.repeat(condition[..., :1], self.state_channels, axis=-1)
        start = self.initial_point(condition)
        return tf.nest.map_structure(lambda y: tf.cast(y, self.state_dtype), start)

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
