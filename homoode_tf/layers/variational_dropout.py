# SPDX-License-Identifier: Apache-2.0
"""Dropout whose mask is held while an implicit layer evaluates its dynamics many times."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from homoode_tf.errors import InvalidValueError

Masks = list[tuple["VariationalDropout", tf.Tensor]]


@keras.saving.register_keras_serializable(package="homoode_tf")
class VariationalDropout(keras.layers.Layer):
    """Drops whole channels of each sample with one mask for all evaluations of a solve.

    An ODE is only defined if its right side does not change between evaluations, so an implicit
    layer draws the masks of its dynamics once per forward pass (`draw_masks`) and holds them
    through the integration and its backward pass (`hold_masks`). Outside of an implicit layer
    every call draws a mask of its own, as `keras.layers.SpatialDropout2D` does. Kept channels are
    scaled by 1 / (1 - rate).

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
        if not 0 <= rate < 1:
            raise InvalidValueError(f"rate must be in [0, 1), got {rate!r}.")
        self.rate = float(rate)
        self.seed = seed
        self._held_mask = None
        if self.rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        # The mask is drawn before the dynamics has seen a tensor, so its shape is noted here.
        self._mask_shape = (1,) * (len(input_shape) - 2) + (input_shape[-1],)

    def draw_mask(self, batch_size: int | tf.Tensor) -> tf.Tensor:
        """Returns a mask of shape (batch_size, 1, ..., 1, channels) with mean one."""
        keep = keras.random.uniform((batch_size, *self._mask_shape), seed=self.seed_generator)
        kept = tf.cast(tf.convert_to_tensor(keep) >= self.rate, tf.float32)
        return kept / (1.0 - self.rate)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        mask = self._held_mask
        if mask is None:
            mask = self.draw_mask(tf.shape(inputs)[0])
        return inputs * tf.cast(mask, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def draw_masks(layer: keras.layers.Layer, batch_size: int | tf.Tensor, training: bool) -> Masks:
    """Draws one mask for every active `VariationalDropout` within a built layer.

    Args:
        layer: The dynamics; its sublayers are searched.
        batch_size: Number of samples, an integer or a scalar integer tensor.
        training: Whether dropout is on.

    Returns:
        Pairs of dropout layer and mask, for `hold_masks`; empty when nothing is dropped.
    """
    if not training:
        return []
    found = [part for part in layer._flatten_layers() if isinstance(part, VariationalDropout)]
    return [(dropout, dropout.draw_mask(batch_size)) for dropout in found if dropout.rate > 0]


@contextlib.contextmanager
def hold_masks(masks: Masks) -> Iterator[None]:
    """Within this context the dropout layers apply the given masks and draw none.

    It is entered anew around each evaluation of the dynamics, because a backward pass evaluates
    it again after the forward pass has ended.
    """
    for dropout, mask in masks:
        dropout._held_mask = mask
    try:
        yield
    finally:
        for dropout, _ in masks:
            dropout._held_mask = None
