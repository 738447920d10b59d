# SPDX-License-Identifier: Apache-2.0
"""Dropout whose mask is held while an implicit layer evaluates its dynamics many times."""

import keras
import tensorflow as tf

from homoode_tf.checks import check_number


@keras.saving.register_keras_serializable(package="homoode_tf")
class VariationalDropout(keras.layers.Layer):
    """Drops whole channels of each sample with one mask for all evaluations of a solve.

    One mask for each sample and channel. An implicit layer holds it, as all randomness of its
    dynamics, through the integration and its backward pass (`HeldState`); elsewhere every call
    draws a mask of its own, as `keras.layers.SpatialDropout2D` does. Kept channels are scaled by
    1 / (1 - rate).

    Args:
        rate: Probability of dropping a channel, in [0, 1).
        seed: Optional integer; the same seed gives the same sequence of masks.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: Float tensor of shape (batch, ..., channels).
        training: Only when true is anything dropped.

    Returns:
        Tensor of the inputs' shape and dtype.

    Raises:
        ValueError: If `rate` is outside [0, 1).

    Example:
        >>> VariationalDropout(0.5)(tf.ones([2, 4, 4, 8]), training=True).shape
        TensorShape([2, 4, 4, 8])

    Reference:
        Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
        Networks", NeurIPS 2016, https://arxiv.org/abs/1512.05287
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        check_number("rate", rate, at_least=0, below=1)
        self.rate = float(rate)
        self.seed = seed
        if self.rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        mask = self.mask(inputs, training)
        if mask is None:
            return inputs
        shape = [-1] + [1] * (inputs.shape.rank - 2) + [inputs.shape[-1]]
        return inputs * tf.cast(tf.reshape(mask, shape), inputs.dtype)

    def mask(self, inputs: tf.Tensor, training: bool) -> tf.Tensor | None:
        """Returns factors for the inputs, float32 of shape (batch, channels); None for ones."""
        if not training or self.rate == 0:
            return None
        shape = (tf.shape(inputs)[0], inputs.shape[-1])
        uniform = keras.random.uniform(shape, seed=self.seed_generator)
        return tf.cast(tf.convert_to_tensor(uniform) >= self.rate, tf.float32) / (1.0 - self.rate)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
