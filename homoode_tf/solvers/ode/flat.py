# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on flat lists of tensors, the form in which every state is integrated."""

from collections.abc import Sequence

import tensorflow as tf

Tensors = list[tf.Tensor]


def align(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes (batch,) to (batch, 1, ..., 1) with the rank of `like`; () stays ()."""
    if values.shape.rank == 0 or like.shape.rank == 1:
        return values
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))


def expand(scalars: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Aligns scalars with `like` and casts them to its dtype, to multiply it."""
    return align(tf.cast(scalars, like.dtype), like)


def combine(
    base: Sequence[tf.Tensor] | None,
    weights: Sequence[tf.Tensor | None],
    rows: Sequence[Sequence[tf.Tensor]],
) -> Tensors:
    """Returns base + sum_i weights_i rows_i for each component, leaving out weights of None.

    Rows may be longer than the base, which then says how many components there are.
    """
    pairs = [(w, row) for w, row in zip(weights, rows, strict=False) if w is not None]
    result = []
    for i in range(len(pairs[0][1] if base is None else base)):
        terms = [expand(w, row[i]) * row[i] for w, row in pairs]
        if base is not None:
            terms.insert(0, base[i])
        result.append(tf.add_n(terms) if len(terms) > 1 else terms[0])
    return result


def scale(step_size: tf.Tensor, rows: Sequence[Sequence[float]]) -> list[list[tf.Tensor | None]]:
    """step_size times every coefficient that is not zero, by a single multiplication."""
    flat = [w for row in rows for w in row if w]
    shape = [len(flat)] + [1] * step_size.shape.rank
    products = iter(tf.unstack(step_size * tf.reshape(tf.constant(flat, step_size.dtype), shape)))
    return [[next(products) if w else None for w in row] for row in rows]


def add(xs: Tensors, ys: Tensors) -> Tensors:
    """Sums of the components."""
    return [x + y for x, y in zip(xs, ys, strict=True)]


def dot(xs: Tensors, ys: Tensors) -> tf.Tensor:
    """Inner product over all components."""
    return tf.add_n([tf.reduce_sum(x * y) for x, y in zip(xs, ys, strict=True)])


def gather(tensors: Tensors, index: tf.Tensor) -> Tensors:
    """Entry `index` of every component."""
    return [tf.gather(x, index) for x in tensors]
