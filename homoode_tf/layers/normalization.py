# SPDX-License-Identifier: Apache-2.0
"""Normalisation with all that stands around it, in as few passes over the memory as there can be.

A norm over positions is y s + t with a scale s and a shift t for each sample and channel, and these
come from the channel's mean and variance alone. So a bias and a dropout mask before it, the
activation and an addend after it cost no pass of their own: forward there is one pass for the
moments and one to apply all, backward one for two sums and one to write.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from homoode_tf.solvers import fusion

# Scale and shift, of shape (batch, channels), from (mean, variance, *parameters), of the same shape
# or less; the parameters are tensors.
Coefficients = Callable[..., tuple[tf.Tensor, tf.Tensor]]
# A compiled sum over rows is written out, row by row.
_MOST_ROWS = 32


def normalize(
    y: tf.Tensor,
    coefficients: Coefficients,
    parameters: list[tf.Tensor],
    addend: tf.Tensor | None = None,
    *,
    relu: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes act(y s + t) + addend with s, t = coefficients(mean, variance, *parameters).

    Args:
      y: Floating tensor of shape (batch, ..., channels).
      coefficients: Gives scale and shift, of shape (batch, channels), from the mean and variance of
        each sample's channels over the positions, of this shape too, and the parameters.
      parameters: Tensors that it uses beside; float32, or float64 where y is.
      addend: Of y's shape.
      relu: Whether the activation is a ReLU; there is none otherwise.

    Returns:
      The result, of y's shape and dtype, computed in float32 (float64); and the mean and variance,
      by which not to differentiate.
    """
    addends = [] if addend is None else [tf.cast(addend, y.dtype)]

    def plain(y, *tensors):
        return _plain(coefficients, relu, y, tensors[len(addends) :], tensors[: len(addends)])

    rows = _num_rows(y.shape) if fusion.pays(y) else 0
    if not rows:
        value, *moments = plain(y, *addends, *parameters)
    else:
        piece = _Piece(coefficients, relu, rows, len(addends))
        function = fusion.with_gradient(
            lambda *tensors: plain(*tensors)[0], piece.forward, piece.backward
        )
        value, *saved = function(y, *addends, *parameters)
        moments = piece.moments(*saved)
    return value, *moments


def _plain(coefficients, relu, y, parameters, addends):
    x = _wide(y)
    positions = tf.constant([*range(1, x.shape.rank - 1)], tf.int32)
    mean = tf.reduce_mean(x, positions)
    # Squares of the distance from the mean, so that no digits are lost where it is large. It counts
    # as a constant, and what that leaves out of the variance is zero, but has a second derivative.
    middle = tf.stop_gradient(mean)
    variance = tf.reduce_mean(tf.math.squared_difference(x, _spread(middle, x)), positions)
    variance -= tf.square(mean - middle)
    scale, shift = coefficients(mean, variance, *parameters)
    z = x * _spread(scale, x) + _spread(shift, x)
    z = tf.nn.relu(z) if relu else z
    for addend in addends:
        z += _wide(addend)
    return tf.cast(z, y.dtype), mean, variance


def _wide(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)


def _spread(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """(batch, channels), or less, to be multiplied with a large tensor."""
    if x.shape.rank < 2:
        return x
    return tf.reshape(x, [-1, *[1] * (like.shape.rank - 2), x.shape[-1]])


def _num_rows(shape: tf.TensorShape) -> int:
    """Into how many rows the positions are folded: their largest divisor that is allowed, or 0."""
    positions = shape[1:-1].num_elements()
    if positions is None:
        return 0
    return max(n for n in range(1, _MOST_ROWS + 1) if positions % n == 0)


class _Piece:
    """The fast way of `normalize`."""

    def __init__(self, coefficients: Coefficients, relu: bool, rows: int, num_addends: int):
        self._coefficients = coefficients
        self._relu = relu
        self._rows = rows
        self._num_addends = num_addends

    def forward(self, y: tf.Tensor, *tensors: tf.Tensor) -> tuple[tf.Tensor, Any]:
        folded, positions = self._fold(y)
        # Moments of the distance from one of the values: no digits are lost where that is small.
        pivot = _wide(folded[:, 0, 0])
        sums, squares = _moments(folded, pivot)
        first = tf.reduce_sum(sums, 1) / positions
        second = tf.reduce_sum(squares, 1) / positions
        parameters = tensors[self._num_addends :]
        scale, shift = self._scale_and_shift(first, second, pivot, parameters)
        addends = [self._fold(a)[0] for a in tensors[: self._num_addends]]
        z = _apply(folded, pivot, scale, shift, *addends, relu=self._relu)
        return tf.reshape(z, tf.shape(y)), (pivot, first, second, scale, shift)

    def backward(self, saved, cotangent, y, *tensors):
        pivot, first, second, scale, shift = saved
        folded, positions = self._fold(y)
        dz = self._fold(cotangent)[0]
        parameters = tensors[self._num_addends :]
        by_scale, by_shift = _sums(dz, folded, pivot, scale, shift, relu=self._relu)
        with tf.GradientTape() as tape:
            sources = [first, second, *parameters]
            tape.watch(sources)
            small = self._scale_and_shift(first, second, pivot, parameters)
        by_first, by_second, *by_parameters = tape.gradient(
            small,
            sources,
            [tf.reduce_sum(by_scale, 1), tf.reduce_sum(by_shift, 1)],
            unconnected_gradients="zero",
        )
        constant, slope = by_first / positions, 2.0 * by_second / positions
        dy = _pull_back(dz, folded, pivot, scale, shift, constant, slope, relu=self._relu)
        return (
            tf.reshape(dy, tf.shape(y)),
            *[cotangent] * self._num_addends,
            *by_parameters,
        )

    @staticmethod
    def moments(pivot, first, second, *_):
        """Mean and variance, from what was saved."""
        return pivot + first, tf.maximum(second - tf.square(first), 0.0)

    def _scale_and_shift(self, first, second, pivot, parameters):
        """For the distance from the pivot."""
        mean, variance = self.moments(pivot, first, second)
        scale, shift = self._coefficients(mean, variance, *parameters)
        scale, shift = scale + tf.zeros_like(first), shift + tf.zeros_like(first)
        return scale, shift + scale * pivot

    def _fold(self, x: tf.Tensor) -> tuple[tf.Tensor, float]:
        """Shape (batch, rows, rest, channels), and the number of positions."""
        positions = x.shape[1:-1].num_elements()
        shape = [-1, self._rows, positions // self._rows, x.shape[-1]]
        return tf.ensure_shape(tf.reshape(x, shape), [x.shape[0], *shape[1:]]), float(positions)


def _distance(y, pivot):
    return _wide(y) - pivot[:, tf.newaxis, tf.newaxis]


def _sum_rows(x: tf.Tensor) -> tf.Tensor:
    """Of (batch, rows, ...) over the rows: written out, it stays elementwise and fast."""
    return tf.add_n(tf.unstack(x, axis=1))


@fusion.fused
def _moments(y, pivot):
    distance = _distance(y, pivot)
    return _sum_rows(distance), _sum_rows(tf.square(distance))


def _normalized(y, pivot, scale, shift):
    return _distance(y, pivot) * scale[:, tf.newaxis, tf.newaxis] + shift[:, tf.newaxis, tf.newaxis]


@fusion.fused
def _apply(y, pivot, scale, shift, *addends, relu):
    z = _normalized(y, pivot, scale, shift)
    z = tf.nn.relu(z) if relu else z
    for addend in addends:
        z += _wide(addend)
    return tf.cast(z, y.dtype)


def _gated(dz, y, pivot, scale, shift, relu):
    """The cotangent before the activation."""
    dz = _wide(dz)
    if not relu:
        return dz
    return tf.where(_normalized(y, pivot, scale, shift) > 0.0, dz, tf.zeros_like(dz))


@fusion.fused
def _sums(dz, y, pivot, scale, shift, *, relu):
    gated = _gated(dz, y, pivot, scale, shift, relu)
    return _sum_rows(gated * _distance(y, pivot)), _sum_rows(gated)


@fusion.fused
def _pull_back(dz, y, pivot, scale, shift, constant, slope, *, relu):
    gated = _gated(dz, y, pivot, scale, shift, relu)
    dy = gated * scale[:, tf.newaxis, tf.newaxis] + constant[:, tf.newaxis, tf.newaxis]
    return tf.cast(dy + slope[:, tf.newaxis, tf.newaxis] * _distance(y, pivot), y.dtype)
