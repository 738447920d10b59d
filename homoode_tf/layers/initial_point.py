# SPDX-License-Identifier: Apache-2.0
"""Initial points z(0) of a HomoODE: shared by all inputs and all positions, but for one."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from homoode_tf import identifiers
from homoode_tf.checks import check_number
from homoode_tf.errors import InvalidValueError


def _alternating(shape, dtype=None):
    """-1, +1, -1, ... along the channels; -1 where there are none."""
    values = 2.0 * (np.arange(np.prod(shape, dtype=int)) % 2) - 1.0
    return values.reshape(shape).astype(dtype or "float32")


def channels(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """The shape of one value per channel, for a batch of this shape: () where it is (batch,)."""
    return tuple(shape[1:][-1:])


class InitialPoint(keras.layers.Layer):
    """Base of the shared initial points: one value per channel, broadcast to the condition.

    A subclass has `value`, of shape (channels,), from `build` on, and says in `observe` what it
    learns from the solutions of a training batch. Being one value per channel it serves any image
    size. It enters the solve under a stop-gradient: the task's loss never moves it.

    Call arguments:
        x: Condition, float tensor of shape (batch, ..., channels); only its shape is used.

    Returns:
        z(0), of x's shape and dtype.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Only the shape of x is used: its dtype decides the dtype of z(0), so leave it alone.
        self._convert_input_args = False

    def call(self, x):
        value = tf.cast(tf.stop_gradient(tf.convert_to_tensor(self.value)), x.dtype)
        return tf.broadcast_to(value, tf.shape(x))

    def observe(self, solutions: tf.Tensor) -> tf.Tensor | None:
        """Learns from z(T) of a training batch, of shape (batch, ..., channels).

        Returns:
            A scalar loss to be added to the model's, or None.
        """
        del solutions
        return None

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="homoode_tf")
class ZerosInitialPoint(InitialPoint):
    """z(0) = 0, as most deep equilibrium models start.

    Example:
        >>> float(tf.reduce_max(ZerosInitialPoint()(tf.ones([1, 4]))))
        0.0
    """

    def build(self, input_shape):
        self.value = np.zeros(channels(input_shape), np.float32)


@keras.saving.register_keras_serializable(package="homoode_tf")
class AlternatingInitialPoint(InitialPoint):
    """z(0) = -1, +1, -1, ... along the channels, where the authors' learned point starts.

    Theirs is a convolution of ones with weights -1, +1, -1, ..., normalised.

    Args:
        first: Of the first channel: -1, or +1 for the other order.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Example:
        >>> AlternatingInitialPoint()(tf.zeros([1, 4])).numpy().tolist()
        [[-1.0, 1.0, -1.0, 1.0]]
    """

    def __init__(self, first: int = -1, **kwargs):
        super().__init__(**kwargs)
        if first not in (-1, 1):
            raise InvalidValueError(f"first must be -1 or 1, got {first!r}.")
        self.first = first

    def build(self, input_shape):
        self.value = -self.first * _alternating(channels(input_shape))

    def get_config(self):
        return {**super().get_config(), "first": self.first}

    @classmethod
    def from_config(cls, config):
        # A file that does not say it is from when the order began with +1.
        return cls(**{"first": 1, **config})


@keras.saving.register_keras_serializable(package="homoode_tf")
class LearnedInitialPoint(InitialPoint):
    """A trainable z(0) drawn towards the solutions.

    While training it adds the loss ::

        mean over batch, positions and channels of smooth_l1(z(0) - stop_gradient(z(T)))

    whose gradient reaches this layer's `value` and nothing else. So a plain `model.fit` trains
    it, and a loop of one's own may give `trainable_variables` of this layer an optimiser, a
    learning rate and a period of their own, as the paper does. The paper's parametrisation (a
    convolution of ones, normalised to +-1, then scaled and shifted) is the same vector written
    with three times the parameters.

    Args:
        initializer: Initializer of the (channels,) vector; any Keras identifier, or
            "alternating" for the authors' -1, +1, -1, ...
        loss_weight: Factor of the added loss.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Raises:
        ValueError: If `loss_weight` is not positive.

    Example:
        >>> LearnedInitialPoint("zeros")(tf.ones([2, 8, 8, 64])).shape
        TensorShape([2, 8, 8, 64])

    Reference:
        Ding et al., NeurIPS 2023, section on the shared initial point,
        https://arxiv.org/abs/2310.09583
    """

    def __init__(self, initializer="alternating", loss_weight: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        check_number("loss_weight", loss_weight, above=0)
        self.initializer = (
            initializer if initializer == "alternating" else keras.initializers.get(initializer)
        )
        self.loss_weight = float(loss_weight)

    def build(self, input_shape):
        initializer = _alternating if self.initializer == "alternating" else self.initializer
        self.value = self.add_weight(
            shape=channels(input_shape), initializer=initializer, name="value"
        )

    def observe(self, solutions):
        target = tf.stop_gradient(solutions)
        distance = tf.abs(tf.cast(tf.convert_to_tensor(self.value), target.dtype) - target)
        smooth_l1 = tf.where(distance < 1.0, 0.5 * tf.square(distance), distance - 0.5)
        # Of an empty batch the mean is not a number, and there is nothing to learn.
        loss = tf.where(tf.size(smooth_l1) > 0, tf.reduce_mean(smooth_l1), 0.0)
        # Keras adds all losses up in this dtype, float64 layers' too.
        return self.loss_weight * tf.cast(loss, keras.config.floatx())

    def get_config(self):
        initializer = self.initializer
        if initializer != "alternating":
            initializer = keras.initializers.serialize(initializer)
        return {
            **super().get_config(),
            "initializer": initializer,
            "loss_weight": self.loss_weight,
        }


@keras.saving.register_keras_serializable(package="homoode_tf")
class RunningMeanInitialPoint(InitialPoint):
    """z(0) = running mean of the solutions, the minimiser of E|z(0) - z(T)|^2; nothing to tune.

    ::

        value <- value + rate * (mean of z(T) over batch and positions - value)
        rate = max(1 / number of batches seen, 1 - momentum)

    so that the first batches are averaged plainly, and later ones with an exponential window,
    because the solutions move while the dynamics trains.

    Args:
        momentum: Weight of the past once the window is full, in [0, 1).
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Raises:
        ValueError: If `momentum` is outside [0, 1).

    Example:
        >>> RunningMeanInitialPoint(momentum=0.99)(tf.ones([2, 8, 8, 64])).shape
        TensorShape([2, 8, 8, 64])
    """

    def __init__(self, momentum: float = 0.99, **kwargs):
        super().__init__(**kwargs)
        check_number("momentum", momentum, at_least=0, below=1)
        self.momentum = float(momentum)

    def build(self, input_shape):
        self.value = self.add_weight(
            shape=channels(input_shape),
            initializer=_alternating,
            trainable=False,
            aggregation="mean",
            name="value",
        )
        self.num_batches = self.add_weight(
            shape=(), initializer="zeros", trainable=False, aggregation="mean", name="num_batches"
        )

    def observe(self, solutions):
        dtype = self.value.dtype
        # An empty batch has no mean, and is none.
        counts = tf.size(solutions) > 0
        seen = tf.convert_to_tensor(self.num_batches) + 1.0
        rate = tf.maximum(1.0 / seen, tf.cast(1.0 - self.momentum, dtype))
        axes = list(range(solutions.shape.rank - len(self.value.shape)))
        mean = tf.reduce_mean(tf.cast(tf.stop_gradient(solutions), dtype), axes)
        value = tf.convert_to_tensor(self.value)
        self.value.assign(tf.where(counts, value + rate * (mean - value), value))
        self.num_batches.assign(tf.where(counts, seen, self.num_batches.value))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable(package="homoode_tf")
class InputInitialPoint(keras.layers.Layer):
    """z(0) = x, as a Neural ODE starts: not shared, and the task's gradient goes through it.

    Example:
        >>> InputInitialPoint()(tf.ones([1, 2])).numpy().tolist()
        [[1.0, 1.0]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._convert_input_args = False  # or a float64 x became float32

    def call(self, x):
        return x


_BY_NAME = {
    "learned": LearnedInitialPoint,
    "running_mean": RunningMeanInitialPoint,
    "zeros": ZerosInitialPoint,
    "alternating": AlternatingInitialPoint,
    "input": InputInitialPoint,
}


def names() -> tuple[str, ...]:
    """Names of the initial points."""
    return tuple(_BY_NAME)


def get(identifier: Any, **kwargs) -> keras.layers.Layer:
    """Returns an initial point from its name, its saved description, or itself.

    Args:
        identifier: One of `names()`, the name of a layer class registered with Keras, what
            `keras.saving.serialize_keras_object` makes of a layer, or any Keras layer that maps the
            condition x to z(0) of the same shape. Such a layer of one's own gets the task's
            gradient, unless it is an `InitialPoint`.
        **kwargs: Passed to the constructor when a name is given.

    Returns:
        A Keras layer.

    Raises:
        ValueError: If there is no such initial point.

    Example:
        >>> get("running_mean", momentum=0.9).momentum
        0.9
    """
    return identifiers.resolve("initial_point", identifier, keras.layers.Layer, _BY_NAME, kwargs)
