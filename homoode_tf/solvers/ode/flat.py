# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on flat lists of tensors, the form in which every state is integrated."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from homoode_tf.solvers import fusion

Tensors = list[tf.Tensor]


def wide_dtype(dtype: tf.DType) -> tf.DType:
    """The dtype in which sums over tensors of a dtype are taken: at least single precision."""
    return dtype if dtype.is_complex or dtype == tf.float64 else tf.float32


def cast(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """`tf.cast`, which takes an eager step longer where there is nothing to cast."""
    return x if x.dtype == dtype else tf.cast(x, dtype)


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
    dtype: tf.DType | None = None,
) -> Tensors:
    """Returns base + sum_i weights_i rows_i for each component, leaving out weights of None.

    Rows may be longer than the base, which then says how many components there are. They may be of
    half a precision where the base is not; the result is of the base's dtype if none is given.
    """
    pairs = [(w, row) for w, row in zip(weights, rows, strict=False) if w is not None]
    number = len(pairs[0][1] if base is None else base)
    weights = [w for w, _ in pairs]
    return [
        weighted_sum(
            None if base is None else base[i], weights, [row[i] for _, row in pairs], dtype
        )
        for i in range(number)
    ]


def weighted_sum(
    base: tf.Tensor | None,
    weights: Sequence[tf.Tensor],
    terms: Sequence[tf.Tensor],
    dtype: tf.DType | None = None,
) -> tf.Tensor:
    """Returns base + sum_i weights_i terms_i, the weights being of shape () or (batch,)."""
    bases = [] if base is None else [base]
    result = dtype or (bases or terms)[0].dtype
    wide = wide_dtype(result)
    weights = [align(cast(w, wide), x) for w, x in zip(weights, terms, strict=True)]
    if terms[0].dtype.is_floating and fusion.pays(terms[0]):
        return _sum_in_one_pass(terms, weights, bases, result.name)
    summands = [cast(b, wide) for b in bases]
    summands += [w * cast(x, wide) for w, x in zip(weights, terms, strict=True)]
    return cast(tf.add_n(summands) if len(summands) > 1 else summands[0], result)


def _sum_in_one_pass(terms, weights, bases, dtype):
    number = len(terms)

    @tf.custom_gradient
    def weighted(*tensors):
        pairs = list(zip(tensors[:number], tensors[number : 2 * number], strict=True))

        def grad(cotangent):
            wide = tf.cast(cotangent, weights[0].dtype)
            return (
                *[tf.cast(w * wide, x.dtype) for x, w in pairs],
                *[sum_like(wide * tf.cast(x, wide.dtype), w) for x, w in pairs],
                *[tf.cast(cotangent, b.dtype) for b in bases],
            )

        return _fused_sum(*tensors, number=number, dtype=dtype), grad

    return weighted(*terms, *weights, *bases)


@fusion.fused
def _fused_sum(*tensors, number, dtype):
    terms, weights, bases = tensors[:number], tensors[number : 2 * number], tensors[2 * number :]
    products = [w * tf.cast(x, w.dtype) for x, w in zip(terms, weights, strict=True)]
    return tf.cast(tf.add_n([*[tf.cast(b, weights[0].dtype) for b in bases], *products]), dtype)


@fusion.fused
def total(*tensors: tf.Tensor, dtype: str) -> tf.Tensor:
    """The sum of tensors in at least single precision, in one pass."""
    wide = wide_dtype(tf.as_dtype(dtype))
    return tf.cast(tf.add_n([tf.cast(x, wide) for x in tensors]), dtype)


def sum_like(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """The sum over what an expanded weight was spread over."""
    axes = list(range(1, x.shape.rank)) if weight.shape.rank else None
    return tf.reshape(tf.reduce_sum(x, axes), tf.shape(weight))


def scale(step_size: tf.Tensor, rows: Sequence[Sequence[float]]) -> list[list[tf.Tensor | None]]:
    """step_size times every coefficient that is not zero, by a single multiplication."""
    flat = [w for row in rows for w in row if w]
    shape = [len(flat)] + [1] * step_size.shape.rank
    products = iter(tf.unstack(step_size * tf.reshape(tf.constant(flat, step_size.dtype), shape)))
    return [[next(products) if w else None for w in row] for row in rows]


def as_vector(
    like: Tensors,
) -> tuple[Callable[[Tensors], tf.Tensor], Callable[[tf.Tensor], Tensors]]:
    """What makes one vector of tensors like these, and tensors of such a one.

    The vectors may have leading axes.
    """
    first = like[0]
    if first.shape.is_fully_defined() and all(y.shape == first.shape for y in like):
        return _of_one_shape(like)
    sizes = [y.shape.num_elements() for y in like]
    sizes = [tf.size(y) if size is None else size for y, size in zip(like, sizes, strict=True)]

    def join(tensors: Tensors) -> tf.Tensor:
        parts = [cast(x, first.dtype) for x in tensors]
        return tf.concat([x if x.shape.rank == 1 else tf.reshape(x, [-1]) for x in parts], 0)

    def split(vector: tf.Tensor) -> Tensors:
        parts = []
        for part, y in zip(tf.split(vector, sizes, axis=-1), like, strict=True):
            if vector.shape.rank != 1:
                part = tf.reshape(part, tf.concat([tf.shape(vector)[:-1], tf.shape(y)], 0))
                part.set_shape(vector.shape[:-1] + y.shape)
            elif y.shape.rank != 1:
                part = tf.reshape(part, y.shape if y.shape.is_fully_defined() else tf.shape(y))
            parts.append(cast(part, y.dtype))
        return parts

    return join, split


def _of_one_shape(
    like: Tensors,
) -> tuple[Callable[[Tensors], tf.Tensor], Callable[[tf.Tensor], Tensors]]:
    """`as_vector` of tensors of one shape: an operation for all of them instead of one for each."""
    rank, shape = like[0].shape.rank, [len(like), *like[0].shape]

    def join(tensors: Tensors) -> tf.Tensor:
        stacked = tf.stack([cast(x, like[0].dtype) for x in tensors])
        return tf.reshape(stacked, [-1]) if rank else stacked

    def split(vector: tf.Tensor) -> Tensors:
        if rank:
            vector = tf.reshape(vector, tf.concat([tf.shape(vector)[:-1], shape], 0))
        parts = tf.unstack(vector, len(like), axis=-1 - rank)
        return [cast(part, y.dtype) for part, y in zip(parts, like, strict=True)]

    return join, split


def last(x: tf.Tensor) -> tf.Tensor:
    """x[-1]; of a single entry, the most frequent case, with fewer operations."""
    return tf.reshape(x, x.shape[1:]) if x.shape[0] == 1 and x.shape.rank == 1 else x[-1]


def add(xs: Tensors, ys: Tensors) -> Tensors:
    """Sums of the components."""
    return [x + y for x, y in zip(xs, ys, strict=True)]


def dot(xs: Tensors, ys: Tensors) -> tf.Tensor:
    """Inner product over all components."""
    return tf.add_n([tf.reduce_sum(x * y) for x, y in zip(xs, ys, strict=True)])


def gather(tensors: Tensors, index: tf.Tensor) -> Tensors:
    """Entry `index` of every component."""
    return [tf.gather(x, index) for x in tensors]
