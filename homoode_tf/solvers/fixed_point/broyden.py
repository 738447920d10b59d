# SPDX-License-Identifier: Apache-2.0
"""Broyden's method with limited memory."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_choice, check_integer
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver, dot, empty_history, put_row

UPDATES = ("good", "bad")


@keras.saving.register_keras_serializable(package="homoode_tf")
class Broyden(FixedPointSolver):
    """Newton's method with an inverse Jacobian that is learnt from the steps taken.

    With f = g(z) - z, the inverse H of its Jacobian starts as -I, and after each step dz that
    changed the residual by df it becomes

        H + (dz - H df) v^T / (v^T df),    v = H^T dz ("good") or df ("bad"),

    which is the smallest change of the Jacobian (of its inverse) that explains the step. H is kept
    as -I + U V^T with `memory` pairs, and starts anew when these are used up. One evaluation an
    iteration. Without a line search: from afar use Newton-Krylov or a homotopy.

    Args:
      update: "good" or "bad", Broyden's own names.
      memory: How many pairs are kept.
      **options: Arguments of `FixedPointSolver`.

    Example:
      >>> Broyden(rtol=1e-6).solve(tf.cos, tf.zeros([1, 1])).state.numpy()
      array([[0.73908...]], dtype=float32)

    Reference: Broyden (1965), doi:10.1090/S0025-5718-1965-0198670-6; the limited memory as in
    Bai, Kolter and Koltun (2019), arXiv:1909.01377.
    """

    def __init__(self, update: str = "good", memory: int = 20, **options: Any):
        super().__init__(**options)
        check_choice("update", update, UPDATES)
        check_integer("memory", memory, at_least=1)
        self.update = update
        self.memory = int(memory)

    def begin(self, state):
        return empty_history(state, self.memory)

    def step(self, fn, iterate, memory):
        number, state, residual = iterate
        last_state, last_residual, left, right = memory
        slot = tf.math.floormod(number - 1, self.memory)
        # The rows of H; there are none where it starts anew.
        kept = (tf.range(self.memory) < slot) & (number > 0)
        moved, changed = state - last_state, residual - last_residual
        product = _apply(left, right, residual, kept)
        # H df is H f less what H gave for the residual before: the step that was taken, negated.
        predicted = tf.where(tf.reduce_any(kept), product + moved, -changed)
        direction = _apply(right, left, moved, kept) if self.update == "good" else changed
        curvature = dot(direction, changed)
        # A step that teaches nothing (none was taken, or the sample stands still) is left out.
        usable = (tf.abs(curvature) > 1e-30) & (number > 0)
        pair = tf.where(usable, (moved - predicted) / curvature, tf.zeros_like(state))
        left, right = put_row(left, slot, pair), put_row(right, slot, direction)
        following = state - product - pair * dot(direction, residual)
        return following, (state, residual, left, right), tf.constant(0)


def _apply(left: tf.Tensor, right: tf.Tensor, vector: tf.Tensor, used: tf.Tensor) -> tf.Tensor:
    """(-I + left^T right) vector, for (batch, m, n) factors of which the rows `used` (m,) count."""
    weights = tf.where(used, tf.linalg.matvec(right, vector), tf.zeros([], vector.dtype))
    return tf.linalg.matvec(left, weights, transpose_a=True) - vector
