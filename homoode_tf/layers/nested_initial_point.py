# SPDX-License-Identifier: Apache-2.0
"""Initial points of a state of several tensors: one of a kind for each."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.layers import structure
from homoode_tf.layers.initial_point import InitialPoint


def fitting(point: keras.layers.Layer, shapes: Any) -> keras.layers.Layer:
    """The point or, where it is a shared one and the shapes are a nest, one such for each."""
    shared = isinstance(point, InitialPoint) and not isinstance(point, NestedInitialPoint)
    return NestedInitialPoint(point) if shared and structure.is_nest_of_shapes(shapes) else point


@keras.saving.register_keras_serializable(package="homoode_tf")
class NestedInitialPoint(InitialPoint):
    """For each tensor of a nested condition an initial point of its own, all of one kind.

    `HomoODE` and `DEQ` make it of what they are given, where their condition is a nest.

    Args:
        point: The `InitialPoint` of which each is a copy.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Example:
        >>> from homoode_tf.layers import ZerosInitialPoint
        >>> z = NestedInitialPoint(ZerosInitialPoint())([tf.ones([2, 3]), tf.ones([2, 4, 5])])
        >>> [y.shape.as_list() for y in z]
        [[2, 3], [2, 4, 5]]
    """

    def __init__(self, point: InitialPoint, **kwargs):
        super().__init__(**kwargs)
        self.config = point.get_config()
        self.kind = type(point)
        self.points = []

    def build(self, input_shape):
        for index, shape in enumerate(structure.flat_shapes(input_shape)):
            each = self.kind.from_config({**self.config, "name": f"{self.config['name']}_{index}"})
            each.build(shape)
            self.points.append(each)

    def call(self, x):
        flat = tf.nest.flatten(x)
        states = [point(y) for point, y in zip(self.points, flat, strict=True)]
        return tf.nest.pack_sequence_as(x, states)

    def observe(self, solutions):
        pairs = zip(self.points, tf.nest.flatten(solutions), strict=True)
        losses = [point.observe(z) for point, z in pairs]
        return None if None in losses else tf.add_n(losses)

    def get_config(self):
        point = self.kind.from_config(self.config)
        return {**super().get_config(), "point": keras.saving.serialize_keras_object(point)}

    @classmethod
    def from_config(cls, config):
        point = keras.saving.deserialize_keras_object(config["point"])
        return cls(**{**config, "point": point})
