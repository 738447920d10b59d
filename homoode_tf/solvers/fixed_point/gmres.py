# SPDX-License-Identifier: Apache-2.0
"""GMRES for a batch of linear systems that are known by their products with vectors."""

from collections.abc import Callable

import tensorflow as tf

from homoode_tf.solvers.fixed_point.iteration import empty_rows, put_row


def gmres(
    apply: Callable[[tf.Tensor], tf.Tensor], right: tf.Tensor, rtol: float, max_dimension: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Solves A x = b for each sample, with the smallest residual over a Krylov space.

    One cycle from x = 0 without restart. A sample whose residual is at most rtol |b| stands still,
    so its answer does not depend on the others. TensorFlow has no such solver (2.21: conjugate
    gradients only).

    Args:
      apply: v -> A v, of shape (batch, n), each sample by its own matrix.
      right: b, floating tensor of shape (batch, n).
      rtol: Relative tolerance.
      max_dimension: Largest dimension of the Krylov space, and number of products.

    Returns:
      x, of shape (batch, n), and the number of products, an int32 scalar.

    Reference: Saad and Schultz (1986), doi:10.1137/0907058; orthogonalised twice, which is enough.
    The residual is |b| / |q|, with q of q_0 = 1 orthogonal to the columns of the Hessenberg matrix.
    """
    dtype, size = right.dtype, max_dimension
    batch = tf.shape(right)[0]
    length = tf.norm(right, axis=1)
    first = tf.math.divide_no_nan(right, length[:, tf.newaxis])
    basis = put_row(empty_rows(right, size + 1), tf.constant(0), first)
    null = tf.tile(tf.one_hot([0], size + 1, dtype=dtype), [batch, 1])
    null = tf.ensure_shape(null, [right.shape[0], size + 1])
    hessenberg = empty_rows(null, size)  # a row a column of the matrix
    positions = tf.range(size + 1)
    smallest = tf.constant(1e-14 if dtype == tf.float64 else 1e-6, dtype)

    def body(number, basis, hessenberg, null, active):
        vector = apply(basis[:, number])
        scale = tf.norm(vector, axis=1)
        column = tf.zeros_like(null)
        for _ in range(2):
            # Rows not made yet are zero, and give and take nothing.
            part = tf.linalg.matvec(basis, vector)
            vector -= tf.linalg.matvec(basis, part, transpose_a=True)
            column += part
        rest = tf.norm(vector, axis=1)
        # What is left of the vector by rounding is no new direction: the solution is found.
        rest = tf.where(rest > smallest * scale, rest, tf.zeros_like(rest))
        following = tf.math.divide_no_nan(vector, rest[:, tf.newaxis])
        below = tf.cast(positions == number + 1, dtype)
        column = tf.where(active[:, tf.newaxis], column + rest[:, tf.newaxis] * below, 0.0)
        basis = put_row(basis, number + 1, tf.where(active[:, tf.newaxis], following, 0.0))
        hessenberg = put_row(hessenberg, number, column)
        inner = tf.reduce_sum(null * column, axis=1)
        entry = tf.where(active & (rest > 0.0), -inner / rest, tf.zeros_like(rest))
        null += entry[:, tf.newaxis] * below
        active &= (rest > 0.0) & (rtol * tf.norm(null, axis=1) < 1.0)
        return number + 1, basis, hessenberg, null, active

    active = tf.math.is_finite(length) & (length > 0.0)
    number, basis, hessenberg, _, _ = tf.while_loop(
        lambda number, basis, hessenberg, null, active: tf.reduce_any(active),
        body,
        (tf.constant(0), basis, hessenberg, null, active),
        parallel_iterations=1,
        maximum_iterations=size,
    )
    finite = tf.reduce_all(tf.math.is_finite(hessenberg), [1, 2], keepdims=True)
    hessenberg = tf.where(finite, hessenberg, tf.zeros_like(hessenberg))
    # The columns of samples that stood still are zero; the pseudo-inverse gives these no weight.
    inverse = tf.linalg.pinv(tf.linalg.matrix_transpose(hessenberg))
    weights = length[:, tf.newaxis] * inverse[:, :, 0]
    return tf.linalg.matvec(basis[:, :size], weights, transpose_a=True), number
