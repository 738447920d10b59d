# SPDX-License-Identifier: Apache-2.0
"""Damped fixed-point iteration."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_number
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver


@keras.saving.register_keras_serializable(package="homoode_tf")
class Damped(FixedPointSolver):
    """z <- z + damping (g(z) - z): Picard's iteration, under-relaxed where damping is below one.

    Converges linearly where damping g + (1 - damping) id contracts, one evaluation an iteration and
    no memory. It is explicit Euler's method for the flow z' = g(z) - z, with steps of length
    `damping`. Not for maps whose Jacobian has eigenvalues near or beyond 1: use Anderson or
    Newton-Krylov there.

    Args:
      damping: In (0, 1]; or larger, to over-relax.
      **options: Arguments of `FixedPointSolver`.

    Example:
      >>> Damped(damping=0.5, rtol=1e-6).solve(tf.cos, tf.zeros([1, 1])).state.numpy()
      array([[0.73908...]], dtype=float32)

    Reference: Kelley, Iterative Methods for Linear and Nonlinear Equations, SIAM 1995, chapter 4.
    """

    def __init__(self, damping: float = 1.0, **options: Any):
        super().__init__(**options)
        check_number("damping", damping, above=0)
        self.damping = float(damping)

    def begin(self, state):
        return ()

    def step(self, fn, iterate, memory):
        return iterate.state + self.damping * iterate.residual, memory, tf.constant(0)
