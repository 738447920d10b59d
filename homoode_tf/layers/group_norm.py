# SPDX-License-Identifier: Apache-2.0
"""Group normalisation by per-channel moments mixed over the groups."""

import functools

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.checks import check_integer, check_number
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers.normalization import normalize


@keras.saving.register_keras_serializable(package="homoode_tf")
class GroupNormalization(keras.layers.Layer):
    """Group normalisation whose moments are per-channel sums mixed by a small constant matrix.

    For sample n, group G and every channel c in G::

        y[n, ..., c] = gamma[c] * (x[n, ..., c] - mean[n, G]) / sqrt(var[n, G] + epsilon) + beta[c]

    `keras.layers.GroupNormalization` computes the same by reshaping to five dimensions. Here the
    moments are first taken over the positions, channel by channel, which leaves two matrices of
    shape (batch, channels), and only these are averaged over the groups (`normalize`). No digits
    are lost where the mean is large.

    Args:
        groups: Number of groups; must divide the number of channels. 1 is layer normalisation
            over positions and channels, `channels` is instance normalisation.
        epsilon: Added to the variance.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: Float tensor of shape (batch, ..., channels).

    Returns:
        Tensor of the inputs' shape in the layer's compute dtype. The moments of half-precision
        inputs are taken in float32.

    Raises:
        ValueError: If `groups` or `epsilon` is not positive, or `groups` does not divide the
            number of channels.

    Example:
        >>> GroupNormalization(groups=32)(tf.random.normal([2, 16, 16, 64])).shape
        TensorShape([2, 16, 16, 64])

    Reference:
        Wu and He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494
    """

    def __init__(self, groups: int = 32, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        check_integer("groups", groups, at_least=1)
        check_number("epsilon", epsilon, above=0)
        self.groups = int(groups)
        self.epsilon = float(epsilon)

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels is None or channels % self.groups:
            raise InvalidValueError(
                f"groups={self.groups} must divide the number of channels, got inputs of shape "
                f"{tuple(input_shape)}."
            )
        # Not cast to half a precision: what is made of them is small, and computed in full.
        weight = functools.partial(self.add_weight, shape=(channels,), autocast=False)
        self.gamma = weight(initializer="ones", name="gamma")
        self.beta = weight(initializer="zeros", name="beta")
        size = channels // self.groups
        self._mixing = np.kron(np.eye(self.groups), np.full((size, size), 1.0 / size))

    def call(self, inputs):
        return self.normalize(tf.convert_to_tensor(inputs))

    def normalize(
        self,
        inputs: tf.Tensor,
        *,
        bias: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        addend: tf.Tensor | None = None,
        relu: bool = False,
    ) -> tf.Tensor:
        """Returns act(norm(mask (inputs + bias))) + addend, for little more than the norm alone.

        Args:
            inputs: Float tensor of shape (batch, ..., channels).
            bias: Of shape (channels,).
            mask: Of shape (batch, channels).
            addend: Of the inputs' shape.
            relu: Whether the activation is a ReLU; there is none otherwise.
        """
        dtype = tf.float64 if inputs.dtype == tf.float64 else tf.float32
        mixing = tf.constant(self._mixing, dtype)
        given = [tensor is not None for tensor in (bias, mask)]
        parameters = [self.gamma, self.beta, *(p for p in (bias, mask) if p is not None)]

        def coefficients(mean, variance, gamma, beta, *optional):
            optional = iter(optional)
            bias, mask = (next(optional) if is_given else None for is_given in given)
            if bias is not None:
                mean += bias
            if mask is not None:
                mean, variance = mask * mean, tf.square(mask) * variance
            group = tf.matmul(mean, mixing)
            spread = tf.matmul(variance + tf.math.squared_difference(mean, group), mixing)
            scale = gamma * tf.math.rsqrt(spread + self.epsilon)
            if bias is not None:
                group -= bias if mask is None else mask * bias
            return scale if mask is None else scale * mask, beta - group * scale

        parameters = [tf.cast(p, dtype) for p in parameters]
        output, *_ = normalize(inputs, coefficients, parameters, addend, relu=relu)
        return tf.cast(output, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}
