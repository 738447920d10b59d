# SPDX-License-Identifier: Apache-2.0
"""From an image to the condition."""

from collections.abc import Sequence
from typing import Any

import keras

from homoode_tf.checks import check_integer, check_number
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import BatchNormalization
from homoode_tf.models.initializers import BATCH_NORM_EPSILON, kernel_initializer

STRIDES = "one to eight numbers, each 1 or 2"


def check_strides(name: str, value: Any) -> None:
    """Refuses, with an `InvalidValueError`, what are no strides of a stem."""
    if not (
        isinstance(value, list | tuple)
        and 1 <= len(value) <= 8
        and all(stride in (1, 2) for stride in value)
    ):
        raise InvalidValueError(f"{name} must be {STRIDES}, got {value!r}.")


@keras.saving.register_keras_serializable(package="homoode_tf")
class Stem(keras.layers.Layer):
    """3x3 convolutions with batch norm and ReLU that turn an image into the condition x.

    Args:
        channels: Channels of each convolution.
        strides: Stride of each; (1, 2), the paper's two, halve the image once, (2, 2, 2) bring 224
            pixels to 28.
        batch_norm_momentum: Share of the past in the running moments, in Keras's sense.
        synchronized: Whether batch norm takes its moments over the batch of all replicas.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: Normalised images, float tensor of shape (batch, height, width, image channels).
        training: Whether batch norm uses the batch's moments.

    Returns:
        x, of shape (batch, ceil(height / s), ceil(width / s), channels), s the strides' product.

    Example:
        >>> Stem(8)(tf.zeros([2, 28, 28, 1])).shape
        TensorShape([2, 14, 14, 8])
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_strides("strides", strides)
        check_integer("channels", channels, at_least=1)
        check_number("batch_norm_momentum", batch_norm_momentum, at_least=0, at_most=1)
        self.channels = int(channels)
        self.strides = tuple(strides)
        self.batch_norm_momentum = float(batch_norm_momentum)
        self.synchronized = bool(synchronized)
        # Padding of 1 on every side; padding="same" would pad an even image on one side only.
        self.padding = keras.layers.ZeroPadding2D(1, "channels_last", dtype=self.dtype_policy)
        self.convolutions, self.norms = [], []
        for number, stride in enumerate(self.strides, start=1):
            self.convolutions.append(
                keras.layers.Conv2D(
                    self.channels,
                    3,
                    strides=stride,
                    data_format="channels_last",
                    kernel_initializer=kernel_initializer(),
                    dtype=self.dtype_policy,
                    name=f"conv{number}",
                )
            )
            self.norms.append(
                BatchNormalization(
                    momentum=self.batch_norm_momentum,
                    epsilon=BATCH_NORM_EPSILON,
                    synchronized=self.synchronized,
                    dtype=self.dtype_policy,
                    name=f"norm{number}",
                )
            )

    def build(self, input_shape):
        shape = tuple(input_shape)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            shape = self.padding.compute_output_shape(shape)
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build(shape)

    def call(self, inputs, training=False):
        x = inputs
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm.after(convolution, self.padding(x), training)
        return x

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        for stride in self.strides:
            sizes = [size and -(-size // stride) for size in sizes]
        return (batch, *sizes, self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "strides": self.strides,
            "batch_norm_momentum": self.batch_norm_momentum,
            "synchronized": self.synchronized,
        }
