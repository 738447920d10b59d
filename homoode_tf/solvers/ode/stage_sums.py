# SPDX-License-Identifier: Apache-2.0
"""The sums y + sum_j w_ij k_j of a step, and the way of automatic differentiation through them."""

from collections.abc import Sequence

import tensorflow as tf

from homoode_tf.solvers import fusion, tracing
from homoode_tf.solvers.ode.flat import (
    Tensors,
    align,
    combine,
    sum_like,
    total,
    weighted_sum,
    wide_dtype,
)


class StageSums:
    """The sums of one step, each from the slopes found so far.

    Differentiated one by one, they would make a tensor of every product w_ij dL/dy_i, and the sums
    over i after that. So each sum gets a copy of a slope of its own, to which it hands dL/dy_i as
    it is, and the weights count where the copies were made: there all come together in one pass.

    Args:
      base: y, components.
      rows: The weights w_ij of the sums, None where there is none.
      differentiated: Whether automatic differentiation is to go through.
    """

    def __init__(
        self, base: Tensors, rows: Sequence[Sequence[tf.Tensor | None]], differentiated: bool
    ):
        self._rows, self._slopes = rows, []
        self._spreads = differentiated and base[0].dtype.is_floating and fusion.pays(base[0])
        self._base, self._copies = base, []
        if self._spreads:
            copies = [_copy(y, len(rows)) for y in base]
            self._bases = [list(parts) for parts in zip(*copies, strict=True)]

    def take(self, slope: Tensors) -> None:
        """Takes the next slope."""
        column = len(self._slopes)
        self._slopes.append(slope)
        if not self._spreads:
            return
        users = [
            i for i, row in enumerate(self._rows) if len(row) > column and row[column] is not None
        ]
        copies = (
            [_spread(k, [self._rows[i][column] for i in users]) for k in slope] if users else []
        )
        self._copies.append({i: [c[n] for c in copies] for n, i in enumerate(users)})

    def sum(self, number: int, dtype: tf.DType | None = None) -> Tensors:
        """The sum of one row, in the dtype of y if none is given."""
        row = self._rows[number]
        if not self._spreads:
            return combine(self._base, row, self._slopes, dtype)
        columns = [j for j, w in enumerate(row[: len(self._slopes)]) if w is not None]
        return [
            _sum(
                base,
                [row[j] for j in columns],
                [self._slopes[j][part] for j in columns],
                [self._copies[j][number][part] for j in columns],
                dtype,
            )
            for part, base in enumerate(self._bases[number])
        ]


def _copy(x: tf.Tensor, number: int) -> Tensors:
    """Copies of x, whose cotangents are added in one pass."""

    @tf.custom_gradient
    def copies(x):
        return [tf.identity(x)] * number, lambda *parts: total(*parts, dtype=x.dtype.name)

    return copies(x)


def _spread(x: tf.Tensor, weights: Sequence[tf.Tensor]) -> Tensors:
    """Copies of x, whose cotangents count by their weights."""

    @tf.custom_gradient
    def copies(x, *weights):
        def grad(*cotangents):
            # How the sums depend on the weights is theirs to say.
            nothing = [tf.zeros_like(w) for w in weights]
            return weighted_sum(None, tracing.local(list(weights)), cotangents, x.dtype), *nothing

        return [tf.identity(x) for _ in weights], grad

    return copies(x, *weights)


def _sum(base, weights, slopes, copies, dtype) -> tf.Tensor:
    """Returns base + sum_j weights_j slopes_j, with the copies' cotangents yet to be weighted."""
    number = len(weights)

    @tf.custom_gradient
    def summed(base, *tensors):
        weights = tensors[:number]

        def grad(cotangent):
            wide = tf.cast(cotangent, wide_dtype(cotangent.dtype))
            by_weights = [
                tf.reshape(
                    sum_like(wide * tf.cast(k, wide.dtype), align(tf.cast(w, wide.dtype), k)),
                    tf.shape(w),
                )
                for w, k in zip(weights, slopes, strict=True)
            ]
            by_copies = [tf.cast(cotangent, k.dtype) for k in slopes]
            return tf.cast(cotangent, base.dtype), *by_weights, *by_copies

        return weighted_sum(base, weights, slopes, dtype), grad

    return summed(base, *weights, *copies)
