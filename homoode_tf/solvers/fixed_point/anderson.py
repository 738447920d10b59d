# SPDX-License-Identifier: Apache-2.0
"""Anderson acceleration."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer, check_number
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver, empty_history, put_row

# Relative to the normalised columns; what the normal equations need to stay regular.
_REGULARISATION = {tf.float64: 1e-11, tf.float32: 1e-6}


@keras.saving.register_keras_serializable(package="homoode_tf")
class Anderson(FixedPointSolver):
    """Mixes the last iterates so that their linear model of the residual is smallest.

    With f = g(z) - z, the differences dZ and dF of the last `memory` + 1 iterates and residuals,
    and

        gamma = argmin ||f - dF gamma||,

    the next iterate is z + damping f - (dZ + damping dF) gamma. For linear g this is equivalent to
    GMRES. One evaluation an iteration, 2 `memory` stored states.

    Args:
      memory: How many differences are kept.
      damping: Weight of the residual; positive.
      **options: Arguments of `FixedPointSolver`.

    Example:
      >>> Anderson(memory=5, rtol=1e-6).solve(tf.cos, tf.zeros([1, 1])).state.numpy()
      array([[0.73908...]], dtype=float32)

    Reference: Walker and Ni (2011), Anderson Acceleration for Fixed-Point Iterations,
    doi:10.1137/10078356X.
    """

    def __init__(self, memory: int = 5, damping: float = 1.0, **options: Any):
        super().__init__(**options)
        check_integer("memory", memory, at_least=1)
        check_number("damping", damping, above=0)
        self.memory = int(memory)
        self.damping = float(damping)

    def begin(self, state):
        return empty_history(state, self.memory)

    def step(self, fn, iterate, memory):
        number, state, residual = iterate
        last_state, last_residual, changes, residuals = memory
        # The first iteration has no difference yet, and stores zeros, which weigh nothing.
        seen = tf.cast(number > 0, state.dtype)
        slot = tf.math.floormod(number - 1, self.memory)
        change = seen * (residual - last_residual)
        residuals = put_row(residuals, slot, change)
        # dZ + damping dF is all that is asked of dZ.
        change = seen * (state - last_state) + self.damping * change
        changes = put_row(changes, slot, change)
        weights = _least_squares(residuals, residual)
        mixed = tf.linalg.matvec(changes, weights, transpose_a=True)
        following = state + self.damping * residual - mixed
        return following, (state, residual, changes, residuals), tf.constant(0)


def _least_squares(rows: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """The g that minimises |target - rows^T g|, for (batch, m, n) rows; zero rows get zero."""
    identity = tf.eye(rows.shape[1], dtype=rows.dtype)
    gram = tf.matmul(rows, rows, transpose_b=True)
    # The normal equations of rows of length one.
    lengths = tf.sqrt(tf.linalg.diag_part(gram))
    scale = tf.math.divide_no_nan(tf.ones_like(lengths), lengths)[..., tf.newaxis]
    gram = scale * gram * tf.linalg.matrix_transpose(scale)
    gram += _REGULARISATION.get(rows.dtype, 1e-6) * identity
    # A sample that overflows must not end the factorisation of all others.
    gram = tf.where(tf.reduce_all(tf.math.is_finite(gram), [1, 2], keepdims=True), gram, identity)
    right = scale * tf.linalg.matvec(rows, target)[..., tf.newaxis]
    solution = tf.linalg.cholesky_solve(tf.linalg.cholesky(gram), right)
    return (scale * solution)[..., 0]
