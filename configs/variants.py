# SPDX-License-Identifier: Apache-2.0
"""Other HomoODEs than the paper's: where the condition enters, the norms, z(0), the final time.

`compare_variants.py` trains them; each has the paper's parameters but for less than one per cent.
"""

import keras
import tensorflow as tf

from homoode_tf.layers import ConvDynamics, GroupNormalization, HomoODE
from homoode_tf.layers.convolution import convolve
from homoode_tf.layers.initial_point import InitialPoint

_register = keras.saving.register_keras_serializable("variants")


class Variant(ConvDynamics):
    """The paper's F = GN(dropout(conv(relu(GN(conv(z))) + x))), in steps that can be changed."""

    def _evaluate(self, z, x, training, convolved):
        y = self.first(convolve(self.conv1, convolved(z)), x)
        y = convolve(self.conv2, convolved(y))
        return self.last(y, self.dropout.mask(y, training), z)

    def first(self, y, x):
        """What the second convolution sees."""
        return self.norm1.normalize(y, bias=self.conv1.bias, addend=x, relu=True)

    def last(self, y, mask, z):
        """What F is."""
        return self.norm2.normalize(y, bias=self.conv2.bias, mask=mask)


@_register
class Before(Variant):
    """x enters before the first norm, where it enters a residual block."""

    def first(self, y, x):
        return self.norm1.normalize(y + x, bias=self.conv1.bias, relu=True)


@_register
class Both(Variant):
    """x enters before the first norm and after it."""

    def first(self, y, x):
        return super().first(y + x, x)


@_register
class Normalized(Variant):
    """x is normalised before it enters."""

    def build(self, z_shape, x_shape=None):
        super().build(z_shape, x_shape)
        self.norm_of_x = GroupNormalization(self.groups, dtype=self.dtype_policy)
        self.norm_of_x.build(x_shape)

    def first(self, y, x):
        return super().first(y, self.norm_of_x(x))


@_register
class Gated(Variant):
    """x enters times a learned factor of each channel."""

    def build(self, z_shape, x_shape=None):
        super().build(z_shape, x_shape)
        self.gate = self.add_weight(shape=(self.filters,), initializer="ones", name="gate")

    def first(self, y, x):
        return super().first(y, x * tf.cast(self.gate, x.dtype))


@_register
class NoLastNorm(Variant):
    """The last group norm is left out: F is as large as it likes."""

    def last(self, y, mask, z):
        y += tf.cast(self.conv2.bias, y.dtype)
        return y if mask is None else y * tf.cast(mask, y.dtype)[:, None, None]


@_register
class Residual(Variant):
    """F(z; x) = g(z; x) - z, the homotopy's own form, with the paper's F as g."""

    def last(self, y, mask, z):
        return super().last(y, mask, z) - tf.cast(z, y.dtype)


@_register
class PreActivation(Variant):
    """Norm and ReLU come before each convolution; x is added in between."""

    def _evaluate(self, z, x, training, convolved):
        y = self.norm1.normalize(tf.convert_to_tensor(z), relu=True)
        y = convolve(self.conv1, convolved(y)) + x
        y = self.norm2.normalize(y, bias=self.conv1.bias, relu=True)
        y = convolve(self.conv2, convolved(y))
        return NoLastNorm.last(self, y, self.dropout.mask(y, training), z)


@_register
class Timed(Variant):
    """The last norm's scale and shift change with time: (1 + t a) GN(...) + t b."""

    def build(self, t_shape, z_shape, x_shape=None):
        super().build(z_shape, x_shape)
        self.by_time = [
            self.add_weight(shape=(self.filters,), initializer="zeros", name=name)
            for name in ("scale_by_time", "shift_by_time")
        ]

    def call(self, t, z, x=None, training=False):
        self._time = tf.cast(t, self.compute_dtype)
        return super().call(z, x, training)

    def last(self, y, mask, z):
        scale, shift = (self._time * tf.cast(w, y.dtype) for w in self.by_time)
        return super().last(y, mask, z) * (1.0 + scale) + shift

    def compute_output_shape(self, t_shape, z_shape, x_shape=None):
        return z_shape


@_register
class TaskTrained(InitialPoint):
    """z(0) is a weight like any other: the task's loss moves it."""

    def build(self, input_shape):
        self.value = self.add_weight(shape=self._shape(input_shape), initializer="ones", name="z0")

    def _shape(self, input_shape):
        return (input_shape[-1],)

    def call(self, x):
        signs = 2.0 * tf.cast(tf.range(x.shape[-1]) % 2, x.dtype) - 1.0
        return tf.broadcast_to(signs * tf.cast(self.value, x.dtype), tf.shape(x))


@_register
class PerPosition(TaskTrained):
    """The same, with a value of its own for each position."""

    def _shape(self, input_shape):
        return tuple(input_shape[1:])


@_register
class LearnedTime(HomoODE):
    """The final time is a weight."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"learn_final_time": True, **kwargs})
